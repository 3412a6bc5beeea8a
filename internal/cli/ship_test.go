package cli

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
)

// What ships beside the program cannot be started here, but all that it says of the program can
// be checked.

func shipped(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(top, "configs", "ship", name))
	require.NoError(t, err)
	return string(b)
}

// usable sees that the program has the command and its flags.
func usable(t *testing.T, args []string) {
	t.Helper()
	root := (&app{in: strings.NewReader(""), out: io.Discard, err: io.Discard, flags: map[string]string{}}).root()
	cmd, rest, err := root.Find(args)
	require.NoError(t, err, args)
	require.True(t, cmd.Runnable() && cmd != root, args)
	require.NoError(t, cmd.ParseFlags(rest), args)
	require.NoError(t, cmd.ValidateArgs(cmd.Flags().Args()), args)
}

// variables sees that the program reads every LPSEAL_ variable in a text.
func variables(t *testing.T, text string) {
	t.Helper()
	var known strings.Builder
	require.NoError(t, writeConfig(&known))
	for _, name := range regexp.MustCompile(`LPSEAL_\w+`).FindAllString(text, -1) {
		require.Contains(t, known.String(), "`"+strings.TrimSuffix(name, "_FILE")+"`", "no such variable")
	}
}

// unit is a systemd unit: section, key, values.
type unit map[string]map[string][]string

func parseUnit(t *testing.T, text string) unit {
	t.Helper()
	u, section := unit{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch key, value, ok := strings.Cut(line, "="); {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
			u[section] = map[string][]string{}
		default:
			require.True(t, ok && section != "", "%q", line)
			u[section][key] = append(u[section][key], value)
		}
	}
	return u
}

func TestShippedUnits(t *testing.T) {
	t.Parallel()
	units := map[string]unit{}
	for _, name := range []string{"lpseal-scheduler.service", "lpseal-worker@.service", "lpseal-web.service"} {
		u := parseUnit(t, shipped(t, "systemd/"+name))
		units[name] = u
		service := u["Service"]
		require.NotEmpty(t, u["Unit"]["Description"], name)
		require.Equal(t, []string{"multi-user.target"}, u["Install"]["WantedBy"], name)
		require.Equal(t, []string{"/etc/lpseal/lpseal.env"}, service["EnvironmentFile"], name)
		require.Equal(t, []string{"2"}, service["RestartPreventExitStatus"], "exit code of a wrong configuration")
		for _, line := range append(service["ExecStart"], service["ExecStartPre"]...) {
			words := strings.Fields(strings.ReplaceAll(line, "%i", "gpu0"))
			require.Equal(t, "/usr/local/bin/lpseal", words[0], name)
			usable(t, words[1:])
			require.Contains(t, words[1:], "--config", name)
			file := filepath.Base(words[slices.Index(words, "--config")+1])
			require.FileExists(t, filepath.Join(top, "configs", "ship", file), name)
		}
	}
	worker := units["lpseal-worker@.service"]["Service"]
	require.Equal(t, []string{"process"}, worker["KillMode"], "design rule 7: proofs outlive a restart")
	require.Equal(t, []string{"continue"}, worker["OOMPolicy"])
	patience, err := time.ParseDuration(strings.TrimSuffix(worker["TimeoutStopSec"][0], "in"))
	require.NoError(t, err)
	require.Greater(t, patience, configs.Default().Worker.Drain)
	variables(t, shipped(t, "systemd/lpseal.env"))
}

func TestShippedConfigurations(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"lpseal.yaml", "worker-main.yaml", "worker-gpu0.yaml", "compose/lpseal.yaml"} {
		_, err := configs.Load(configs.Source{File: filepath.Join(top, "configs", "ship", name), Alone: true, Flags: map[string]string{
			"worker.file_service.secret": strings.Repeat("s", 32), // lpseal.env and compose.yaml name its file
			"host.id":                    "h1",
		}})
		require.NoError(t, err, name)
	}
}

func TestShippedRedis(t *testing.T) {
	t.Parallel()
	var args []string
	for line := range strings.Lines(shipped(t, "redis.conf")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && key != "#" {
			args = append(args, "--"+key, value)
		}
	}
	require.NotEmpty(t, args)
	require.NoError(t, sectors.New(redistest.StartServer(t, args...).Client).Check(t.Context()), "neither errors nor warnings")
}

func TestShippedCompose(t *testing.T) {
	t.Parallel()
	text := shipped(t, "compose/compose.yaml")
	var file struct {
		Services map[string]struct {
			Command     []string
			Environment map[string]string
			Secrets     []string
			Volumes     []string
			Build       struct{ Context, Dockerfile string }
			StopGrace   string `yaml:"stop_grace_period"`
		}
		Secrets map[string]any
		Volumes map[string]any
	}
	require.NoError(t, yaml.Unmarshal([]byte(text), &file))
	variables(t, text)
	for name, s := range file.Services {
		for _, secret := range s.Secrets {
			require.Contains(t, file.Secrets, secret)
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(source, ".") {
				require.FileExists(t, filepath.Join(top, "configs", "ship", "compose", source))
			} else {
				require.Contains(t, file.Volumes, source)
			}
		}
		if name == "redis" {
			continue
		}
		usable(t, s.Command)
		require.FileExists(t, filepath.Join(top, "configs", "ship", "compose", s.Build.Context, s.Build.Dockerfile))
		require.Contains(t, s.Environment["FULLNODE_API_INFO"], "${FULLNODE_API_INFO:?")
	}
	for _, name := range []string{"redis", "scheduler", "web", "worker", "devnet"} {
		require.Contains(t, file.Services, name)
	}
	worker := file.Services["worker"]
	drain, err := time.ParseDuration(worker.Environment["LPSEAL_WORKER_DRAIN"])
	require.NoError(t, err)
	grace, err := time.ParseDuration(worker.StopGrace)
	require.NoError(t, err)
	require.Greater(t, grace, drain)
	endpoints, err := chain.ParseAPIInfo("/dns4/devnet/tcp/1234/http")
	require.NoError(t, err)
	require.Contains(t, endpoints[0].URL, "devnet:1234")
}

// queries sees that expressions use metrics that there are, with labels that these have.
func queries(t *testing.T, expressions []string) {
	t.Helper()
	served, scheduler, own, err := allMetrics(t.Context())
	require.NoError(t, err)
	labels := map[string][]string{}
	for _, m := range slices.Concat(served, scheduler, own) {
		if m.kind != "histogram" {
			labels[m.name] = m.labels
			continue
		}
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			labels[m.name+suffix] = m.labels
		}
	}
	metric := regexp.MustCompile(`(lpseal_\w+)(?:\{([^}]*)\})?`)
	matcher := regexp.MustCompile(`(\w+)(?:=|!=|=~|!~)"`)
	for _, e := range expressions {
		found := metric.FindAllStringSubmatch(e, -1)
		require.NotEmpty(t, found, e)
		for _, m := range found {
			require.Contains(t, labels, m[1], e)
			for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
				require.Contains(t, labels[m[1]], l[1], e)
			}
		}
	}
}

func TestShippedAlerts(t *testing.T) {
	t.Parallel()
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(shipped(t, "prometheus/alerts.yaml")), &file))
	require.Len(t, file.Groups, 1)
	var expressions []string
	command := regexp.MustCompile(`lpseal ((?:sectors|machines|messages|wallet) [a-z]+(?: --\w+ \w+)?)`)
	for _, r := range file.Groups[0].Rules {
		expressions = append(expressions, r.Expr)
		require.Regexp(t, `^Lpseal[A-Z]\w+$`, r.Alert)
		require.Contains(t, []string{"info", "warning", "critical"}, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		for _, m := range command.FindAllStringSubmatch(r.Annotations["description"], -1) {
			args := strings.Fields(m[1])
			if slices.Contains([]string{"explain", "resume"}, args[1]) {
				args = append(args, "NAME")
			}
			usable(t, args)
		}
	}
	require.NotEmpty(t, expressions)
	queries(t, expressions)
}

func TestShippedScrapes(t *testing.T) {
	t.Parallel()
	text := shipped(t, "prometheus/scrape.yaml")
	var jobs []map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &jobs))
	require.Contains(t, text, `"`+configs.Default().Web.Listen+`"`)
	for _, name := range []string{"lpseal.yaml", "worker-main.yaml", "worker-gpu0.yaml"} {
		var file struct{ Metrics struct{ Listen string } }
		require.NoError(t, yaml.Unmarshal([]byte(shipped(t, name)), &file))
		require.Contains(t, text, `"`+file.Metrics.Listen+`"`, name)
	}
}

func TestShippedDashboard(t *testing.T) {
	t.Parallel()
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(shipped(t, "grafana/lpseal.json")), &board))
	require.NotEmpty(t, board.Panels)
	for _, p := range board.Panels {
		var expressions []string
		for _, target := range p.Targets {
			expressions = append(expressions, target.Expr)
		}
		require.NotEmpty(t, expressions, p.Title)
		queries(t, expressions)
	}
}
