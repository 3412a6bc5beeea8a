package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/jobs"
)

// What a finding says. Only a failed one keeps sectors from being sealed.
const (
	fine   = "ok"
	warned = "warn"
	failed = "fail"
)

// finding is one thing that was looked at.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warn or fail
	Text   string `json:"text"`
	Fix    string `json:"fix,omitempty"` // a command, or what to change
}

// doctor looks at everything that lpseal needs on this host, and changes nothing.
type doctor struct {
	*cluster
	diagnosis
	// senders of messages that lotus-miner must not send from, by miner.
	senders map[configs.MinerID]chain.Wallet
}

type diagnosis struct {
	OK       bool      `json:"ok"`
	Findings []finding `json:"findings"`
}

func (a *app) doctorCmd() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "doctor",
		Short: "Look at all that sealing needs on this host, and say what to mend",
		Long: `Look at Redis, the node, the sender's key and funds, this host's processor, GPUs and
storage paths, who proves what is stored there, and whether every queue has a live worker. Each line is ok, warn or fail, and what is
not ok has the remedy under it. Nothing is changed. The exit code is 1 if something failed.`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.load()
			if err != nil {
				return err
			}
			d, err := a.examine(cmd.Context(), &l.Config)
			if err != nil {
				return err
			}
			if err := a.emit(d.diagnosis, d.print); err != nil {
				return err
			}
			if !d.OK {
				return &codedError{code: exitFailure, err: fmt.Errorf("%d of %d checks failed", d.count(failed), len(d.Findings))}
			}
			return nil
		},
	})
}

// doctorPatience bounds each part: doctor is called when something hangs.
const doctorPatience = 10 * time.Second

func (a *app) examine(ctx context.Context, cfg *configs.Config) (*doctor, error) {
	quiet := *cfg
	quiet.Log = configs.Log{Level: "error", Format: "nocolor"} // what is wrong becomes a finding
	logs, err := newLogs(quiet.Log, a.err)
	if err != nil {
		return nil, err
	}
	d := &doctor{cluster: &cluster{cfg: &quiet, logs: logs}, senders: map[configs.MinerID]chain.Wallet{}}
	part := func(look func(context.Context)) {
		ctx, cancel := context.WithTimeout(ctx, doctorPatience)
		defer cancel()
		look(ctx)
	}
	joinCtx, cancel := context.WithTimeout(ctx, doctorPatience)
	c, err := a.joinAs(joinCtx, &quiet)
	cancel()
	if err != nil {
		d.fail("redis", strings.Join(hints(err), "; "), "%w", err)
	} else {
		defer c.close()
		d.cluster = c
		part(d.redis)
	}
	var around surroundings
	part(func(ctx context.Context) { around = d.chain(ctx) })
	d.cpu()
	d.lanes(around)
	d.aggregation(around)
	d.state()
	d.paths(around)
	part(d.handover)
	if d.store != nil {
		part(d.servers)
	}
	d.OK = d.count(failed) == 0
	return d, nil
}

func (d *diagnosis) ok(check, format string, args ...any) {
	d.Findings = append(d.Findings, finding{check, fine, fmt.Sprintf(format, args...), ""})
}

func (d *diagnosis) warn(check, fix, format string, args ...any) {
	d.Findings = append(d.Findings, finding{check, warned, jobs.TextOf(fmt.Errorf(format, args...)), fix})
}

func (d *diagnosis) fail(check, fix, format string, args ...any) {
	d.Findings = append(d.Findings, finding{check, failed, jobs.TextOf(fmt.Errorf(format, args...)), fix})
}

func (d *diagnosis) count(status string) (n int) {
	for _, f := range d.Findings {
		if f.Status == status {
			n++
		}
	}
	return n
}

func (d *diagnosis) print(w io.Writer) error {
	for _, f := range d.Findings {
		fmt.Fprintf(w, "%-4s  %-7s  %s\n", f.Status, f.Check, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(w, "               %s\n", f.Fix)
		}
	}
	return nil
}
