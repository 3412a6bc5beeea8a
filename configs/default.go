package configs

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/lpseal/lpseal/jobs"
)

// Default is the configuration of somebody who decided nothing.
func Default() Config {
	p := jobs.DefaultPolicy()
	return Config{
		Redis: Redis{URL: "redis://127.0.0.1:6379/0"},
		Chain: Chain{Aggregate: "auto", MaxFeePreCommit: milliFIL(25), MaxFeeCommit: milliFIL(50), MaxFeeMessage: milliFIL(5000), ReplaceAfter: 10, MaxReplacements: 8, Confidence: 5},
		Policy: Policy{
			TicketLookback: p.TicketLookback, TicketWindow: p.TicketWindow, TicketMargin: p.TicketMargin, TicketFresh: p.TicketFresh,
			SeedConfidence: p.SeedConfidence, MaxRetickets: p.MaxRetickets, MaxRollbacks: p.MaxRollbacks,
			BackoffBase: p.BackoffBase, BackoffMax: p.BackoffMax, BusyWait: p.BusyWait, Look: p.Look, ReleaseLayers: p.ReleaseLayers,
			PreCommits: Batch{Max: p.PreCommits.Max, Wait: p.PreCommits.Wait, Slack: p.PreCommits.Slack},
			Commits:    Batch{Max: p.Commits.Max, Wait: p.Commits.Wait, Slack: p.Commits.Slack},
			PackWait:   p.PackWait, PackSlack: p.PackSlack,
		},
		Host:      Host{StateDir: "/var/lib/lpseal"},
		Worker:    Worker{Instance: "main", Drain: 30 * time.Second},
		Scheduler: Scheduler{Instance: "scheduler", Period: 10 * time.Second},
		Web:       Web{Listen: "127.0.0.1:8645"},
		Log:       Log{Level: "info", Format: "text"},
		Handover:  Handover{To: jobs.HandoverNone},
	}
}

// WriteDefault prints the default configuration as a file with comments.
func WriteDefault(w io.Writer) error {
	c := Default()
	var b bytes.Buffer
	b.WriteString("# lpseal's configuration. Every key may also be given as a variable, such as LPSEAL_REDIS_URL\n")
	b.WriteString("# for redis.url, or as --set redis.url=…; secrets by a file: LPSEAL_REDIS_PASSWORD_FILE.\n")
	for _, f := range fields(&c) {
		pad := strings.Repeat("  ", f.depth)
		name := f.key[strings.LastIndexByte(f.key, '.')+1:]
		if f.depth == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s# %s\n", pad, f.doc)
		if f.example != "" {
			fmt.Fprintf(&b, "%s# %s: %s\n", pad, name, f.example)
		}
		if f.section {
			fmt.Fprintf(&b, "%s%s:\n", pad, name)
			continue
		}
		text, err := inline(f.value.Interface())
		if err != nil {
			return fmt.Errorf("default of %s: %w", f.key, err)
		}
		fmt.Fprintf(&b, "%s%s: %s\n", pad, name, text)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Write prints the configuration in force, secrets hidden, and with origin where
// each value came from.
func (l *Loaded) Write(w io.Writer, origin bool) error {
	var b bytes.Buffer
	for _, f := range fields(&l.Config) {
		pad := strings.Repeat("  ", f.depth)
		name := f.key[strings.LastIndexByte(f.key, '.')+1:]
		if f.section {
			fmt.Fprintf(&b, "%s%s:\n", pad, name)
			continue
		}
		text, err := inline(f.value.Interface())
		if err != nil {
			return fmt.Errorf("%s: %w", f.key, err)
		}
		fmt.Fprintf(&b, "%s%s: %s", pad, name, text)
		if origin {
			fmt.Fprintf(&b, "  # %s", l.Origin(f.key))
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Map gives the configuration in force by dotted key, secrets hidden, for JSON.
func (l *Loaded) Map() (map[string]any, error) {
	out := map[string]any{}
	for _, f := range values(&l.Config) {
		text, err := inline(f.value.Interface())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.key, err)
		}
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			return nil, fmt.Errorf("%s: %w", f.key, err)
		}
		out[f.key] = v
	}
	return out, nil
}

// inline writes a value as YAML on one line.
func inline(v any) (string, error) {
	var n yaml.Node
	if err := n.Encode(plain(v)); err != nil {
		return "", err
	}
	flow(&n)
	b, err := yaml.Marshal(&n)
	// The YAML printer breaks long lists into lines; one value is one line here.
	return strings.Join(strings.Fields(string(b)), " "), err
}

func flow(n *yaml.Node) {
	if n.Kind == yaml.SequenceNode || n.Kind == yaml.MappingNode {
		n.Style = yaml.FlowStyle
	}
	for _, c := range n.Content {
		flow(c)
	}
}
