package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/jobs"
)

// Two hosts with storage of their own, a GPU class on each, two schedulers and the
// pages. One class is stopped while sectors are sealed, and the other finishes all.
func TestSeparateProcesses(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for host, gpu := range map[string]string{"h1": "a", "h2": "b"} {
		paths := []string{c.path(host, "seal", files.PathOptions{CanSeal: true}), c.path(host, "store", files.PathOptions{CanStore: true})}
		c.worker(settings{host: host, instance: "main", lanes: sealing, paths: paths})
		c.worker(settings{host: host, instance: "gpu", lanes: "{class: gpu, gpu: " + gpu + ", width: 1}", paths: paths, drain: 20 * time.Second})
	}
	c.scheduler("s1")
	c.scheduler("s2")
	pages := c.web()
	c.alive(6)

	data := c.data("data", 3000) // two sectors of 2,032 bytes
	ids := strings.Fields(c.lpseal("sectors", "add", data) + c.lpseal("sectors", "pledge", "--count", "2"))
	require.Len(t, ids, 4)
	require.NoError(t, c.daemon("h2-gpu").stop(syscall.SIGTERM), "a drained worker ends well")
	proven := map[string]bool{} // on a busy machine, class b may have come to a first c2
	for _, name := range ids {
		proven[name] = c.record(sector(t, name)).Stage(jobs.C2).State == jobs.Done
	}
	c.alive(5)
	c.until("all to be committed", func() bool {
		var list struct{ States map[string]int }
		require.NoError(t, json.Unmarshal([]byte(c.lpseal("sectors", "list", "--json")), &list))
		return list.States["committed"] == 4
	})

	var got []byte
	for i, name := range ids {
		id := sector(t, name)
		if !proven[name] {
			require.Equal(t, "gpu.any.a", c.record(id).Stage(jobs.C2).Queue, "class b was stopped before this c2")
		}
		c.sentOnce(id, 1)
		require.Contains(t, get(t, pages), name)
		if i < 2 {
			part := filepath.Join(c.dir, name)
			c.lpseal("sectors", "unseal", name, "--out", part)
			b, err := os.ReadFile(part)
			require.NoError(t, err)
			got = append(got, b...)
		}
	}
	want, err := os.ReadFile(data)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Contains(t, get(t, pages+"metrics"), "lpseal_")

	for _, d := range c.daemons {
		require.NoError(t, d.stop(syscall.SIGTERM), d.name)
	}
	live, err := c.store.Workers(t.Context())
	require.NoError(t, err)
	require.Empty(t, live, "who ends says good-bye")
	require.Empty(t, c.processes(), "SIGTERM leaves no process")
}

func sector(t testing.TB, name string) jobs.SectorID {
	t.Helper()
	id, err := jobs.ParseSectorID(name)
	require.NoError(t, err)
	return id
}

// daemon finds one by name.
func (c *cluster) daemon(name string) *daemon {
	for _, d := range c.daemons {
		if d.name == name {
			return d
		}
	}
	c.t.Fatalf("there is no daemon %s", name)
	return nil
}

// web starts the pages and gives their address.
func (c *cluster) web() string {
	c.t.Helper()
	out, in, err := os.Pipe()
	require.NoError(c.t, err)
	defer out.Close()
	c.start("web", in, "web", "--config", c.config("web", settings{host: "h0", instance: "web"}))
	require.NoError(c.t, in.Close())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(c.t, err)
	return strings.TrimSpace(line)
}

func get(t testing.TB, url string) string {
	t.Helper()
	res, err := http.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, url)
	return string(b)
}

// processes are those that name the cluster's folder on their command line, but
// for Redis: daemons and children both do.
func (c *cluster) processes() (left []string) {
	out, err := exec.CommandContext(c.t.Context(), "ps", "-axww", "-o", "command=").Output()
	require.NoError(c.t, err)
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, binary) && strings.Contains(line, c.dir) {
			left = append(left, line)
		}
	}
	return left
}

// A worker that is stopped or killed leaves its child running (systemd:
// KillMode=process), and the worker that takes its place goes on with that child.
func TestAChildOutlivesItsWorker(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			s := settings{host: "h1", instance: "main", lanes: sealing + ", {class: gpu, gpu: a, width: 1}", paths: []string{
				c.path("h1", "both", files.PathOptions{CanSeal: true, CanStore: true}),
			}}
			w := c.worker(s)
			c.scheduler("s1")
			c.alive(2)
			id := c.seal(jobs.RowOf(jobs.SDR))
			work, group := c.freeze(w)
			if sig == syscall.SIGTERM {
				require.NoError(t, w.stop(sig))
				require.NoError(t, syscall.Kill(-group, 0), "the child of %s died with its worker", work)
				w = c.worker(s)
			} else {
				require.NoError(t, syscall.Kill(w.pid(), sig))
			}
			c.until("the adoption", func() bool {
				log, err := os.ReadFile(w.log)
				require.NoError(t, err)
				return strings.Contains(string(log), "adopted the running child")
			})
			require.NoError(t, syscall.Kill(-group, syscall.SIGCONT))
			c.until("the sector's end", func() bool { return c.record(id).Outcome == jobs.Committed })
			for stage, sr := range c.record(id).Stages {
				if !unreached(stage, sr) {
					require.Equal(t, 1, sr.Attempt, stage)
				}
			}
			stage := strings.Split(work, ".")[1]
			claims, want := 0, 2
			for _, l := range c.story(id) {
				switch {
				case !strings.Contains(l.Text, "."+stage+"."):
				case strings.Contains(l.Text, " claimed by "):
					claims++
				case strings.Contains(l.Text, " failed: busy: child process on h1: redis at "):
					want++ // it was frozen while it waited for Redis, and woke to find its time was up
				}
			}
			require.Equal(t, want, claims, "claims of %s: its first worker's, and the adopter's", stage)
		})
	}
}

// given says whether a worker told of handing a work to a child.
func given(t testing.TB, log, work string) bool {
	t.Helper()
	b, err := os.ReadFile(log)
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "given to a child") && strings.Contains(line, "task="+work+".d") {
			return true
		}
	}
	return false
}

// freeze stops the first child of a worker that has not finished yet, and gives its work
// id and process group. One that has yet to tell the worker that it took the work would
// leave the worker waiting for that.
func (c *cluster) freeze(w *daemon) (work string, group int) {
	c.t.Helper()
	c.until("a child to freeze", func() bool {
		names, err := filepath.Glob(filepath.Join(c.dir, "h1", "state", "work", "*", "status.json"))
		require.NoError(c.t, err)
		for _, name := range names {
			var status struct {
				Work  string
				Group int
				Ended bool
			}
			b, err := os.ReadFile(name)
			if err != nil || json.Unmarshal(b, &status) != nil || status.Ended || !given(c.t, w.log, status.Work) || syscall.Kill(-status.Group, syscall.SIGSTOP) != nil {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), "result.json")); errors.Is(err, os.ErrNotExist) {
				work, group = status.Work, status.Group
				return true
			}
			_ = syscall.Kill(-status.Group, syscall.SIGCONT) // too late, it has finished
		}
		return false
	})
	return work, group
}
