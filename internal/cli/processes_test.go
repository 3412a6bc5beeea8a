package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// fleet is lpseal as it runs in production: a process for each daemon, on a redis-server.
type fleet struct {
	t       *testing.T
	dir     string
	redis   string
	api     string
	running map[string]*exec.Cmd
}

// lines keeps a daemon's output, for when a test fails.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{t: t, dir: t.TempDir(), running: map[string]*exec.Cmd{}}
	f.redis = strings.TrimPrefix(redistest.StartServer(t, "--appendonly", "yes").URL, "redis://")
	line := f.firstLine("devnet", "devnet", "--listen", "127.0.0.1:0", "--sector-size", "2KiB", "--epoch", "100ms", "--config", f.write("devnet", "h0", "", "", "devnet"))
	f.api = strings.TrimPrefix(line, "FULLNODE_API_INFO=")
	return f
}

// firstLine starts a daemon that prints where it listens.
func (f *fleet) firstLine(name string, args ...string) string {
	out, in, err := os.Pipe()
	require.NoError(f.t, err)
	f.start(name, in, args...)
	require.NoError(f.t, in.Close())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(f.t, err)
	return strings.TrimSpace(line)
}

// write makes a daemon's configuration file.
func (f *fleet) write(name, host, lanes, paths, instance string) string {
	text := fmt.Sprintf(demoConfig, f.redis, f.api, host, filepath.Join(f.dir, host, "state"), lanes, paths, strings.Repeat("s", 32), instance, "", "")
	if lanes != "" {
		text = strings.Replace(text, "  drain: 0s", "  drain: 10s\n  instance: "+instance, 1)
		text = strings.Replace(text, "scheduler: {instance: "+instance, "scheduler: {instance: none", 1)
	}
	file := filepath.Join(f.dir, name+".yaml")
	require.NoError(f.t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// start starts a daemon; it is killed with the test.
func (f *fleet) start(name string, stdout io.Writer, args ...string) {
	log := &lines{}
	cmd := exec.Command("lpseal", append([]string{"--alone"}, args...)...)
	cmd.Stdout, cmd.Stderr = stdout, log
	require.NoError(f.t, cmd.Start())
	f.running[name] = cmd
	f.t.Cleanup(func() {
		if f.running[name] != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if f.t.Failed() {
			f.t.Logf("%s:\n%s", name, log.buf.String())
		}
	})
}

// end stops a daemon by a signal and gives how it ended.
func (f *fleet) end(name string, sig os.Signal) error {
	cmd := f.running[name]
	f.running[name] = nil
	require.NoError(f.t, cmd.Process.Signal(sig))
	return cmd.Wait()
}

// run runs a command as the operator and gives its output.
func (f *fleet) run(args ...string) string {
	f.t.Helper()
	cmd := exec.Command("lpseal", append([]string{"--alone", "--config", filepath.Join(f.dir, "operator.yaml")}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(f.t, err, "%v: %s", args, errs.String())
	return string(out)
}

// until asks until the answer is yes.
func (f *fleet) until(what string, ask func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ask(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("%s: not within two minutes\n%s", what, f.run("sectors", "list"))
		}
	}
}

func (f *fleet) workers() []jobs.Worker {
	var live []jobs.Worker
	require.NoError(f.t, json.Unmarshal([]byte(f.run("machines", "list", "--json")), &live))
	return live
}

// path makes a storage path and gives its entry in a configuration.
func (f *fleet) path(host, name, purpose string) string {
	dir := filepath.Join(f.dir, host, name)
	f.run("storage", "attach", "--init", purpose, "--max-storage", "512KiB", dir)
	return fmt.Sprintf("{dir: %q}, ", dir)
}

// Two hosts, three workers and two schedulers, each a process, on a redis-server. One GPU class
// is stopped and one scheduler killed, and everything is finished all the same.
func TestProcesses(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.write("operator", "h0", "", "", "operator")
	const home = "{class: sdr, width: 1}, {class: cpu, width: 1}, {class: io, width: 2}"
	for _, host := range []string{"h1", "h2"} {
		paths := f.path(host, "seal", "--seal") + f.path(host, "store", "--store")
		lanes := home
		if host == "h1" {
			lanes += ", {class: gpu, gpu: a, width: 1}"
		}
		f.start(host, nil, "worker", "--config", f.write(host, host, lanes, paths, "main"))
	}
	f.start("gpu", nil, "worker", "--config", f.write("gpu", "h2", "{class: gpu, gpu: b, width: 1}", "", "gpu"))
	for _, name := range []string{"s1", "s2"} {
		f.start(name, nil, "scheduler", "--config", f.write(name, "h0", "", "", name))
	}
	pages := f.firstLine("web", "web", "--config", filepath.Join(f.dir, "operator.yaml"))
	f.until("five workers live", func() bool { return len(f.workers()) == 5 })

	data := filepath.Join(f.dir, "data")
	require.NoError(t, os.WriteFile(data, bytes.Repeat([]byte("lpseal, as it runs. "), 150), 0o600)) // two sectors
	f.run("sectors", "add", data)
	f.run("sectors", "pledge")
	small := filepath.Join(f.dir, "small")
	require.NoError(t, os.WriteFile(small, []byte("read where it lies"), 0o600))
	const smallCommP = "baga6ea4seaqhfdvksainnn33bcgpvogngymosemy43sc2st7l4m6r74mt573mja" // of the file, zero-filled to 1 KiB
	f.run("sectors", "add", small, "--in-place", "--set", "host.id=h2", "--keep-unsealed", "--piece-size", "1024", "--piece-cid", smallCommP)
	require.NoError(t, f.end("gpu", syscall.SIGTERM), "a drained worker ends well")
	var killed *exec.ExitError
	require.True(t, errors.As(f.end("s1", syscall.SIGKILL), &killed))
	f.until("all committed", func() bool { return strings.Contains(f.run("sectors", "list", "--json"), `"states":{"committed":4}`) })

	require.Contains(t, f.run("sectors", "show", "--json", "s-t01000-3"), `"tree_d.queue":"cpu.h2"`, "in place is on the host that has the file")
	unsealed, err := filepath.Glob(filepath.Join(f.dir, "h2", "store", "unsealed", "s-t01000-3"))
	require.NoError(t, err)
	require.Len(t, unsealed, 1)
	out := filepath.Join(f.dir, "out")
	var got []byte
	for _, id := range []string{"s-t01000-0", "s-t01000-1"} {
		require.Contains(t, f.run("sectors", "show", "--json", id), `"c2.queue":"gpu.any.a"`)
		var log []sectors.LogLine
		require.NoError(t, json.Unmarshal([]byte(f.run("sectors", "log", "--json", id)), &log))
		require.Contains(t, log[len(log)-1].Text, "finished: committed")
		part := out + id
		f.run("sectors", "unseal", id, "--out", part)
		b, err := os.ReadFile(part)
		require.NoError(t, err)
		got = append(got, b...)
	}
	want, err := os.ReadFile(data)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for path, want := range map[string]string{"": "s-t01000-3", "sectors/s-t01000-0": "finished: committed", "machines": "h1/main", "metrics": "lpseal_build_info", "healthz": "ok", "queues/": "asynq"} {
		resp, err := http.Get(pages + path)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, errors.Join(err, resp.Body.Close()))
		require.Equal(t, http.StatusOK, resp.StatusCode, path)
		require.Contains(t, strings.ToLower(string(body)), want, path)
	}
	for _, name := range []string{"h1", "h2", "s2", "web", "devnet"} {
		require.NoError(t, f.end(name, syscall.SIGTERM), name)
	}
	for _, w := range f.workers() {
		require.Equal(t, "h0/s1", w.Name(), "who ends says good-bye; only the killed one is missed")
	}
}
