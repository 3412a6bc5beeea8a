package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
	"github.com/lpseal/lpseal/worker"
)

const (
	// patience bounds every wait; nothing comes near it on an idle machine.
	patience = 3 * time.Minute
	// sealing is every lane that a sector needs at home but the GPU's.
	sealing = "{class: sdr, width: 1}, {class: cpu, width: 1}, {class: io, width: 2}"
)

// cluster is one lpseal: a redis-server, an embedded node, and daemons.
type cluster struct {
	t       testing.TB
	dir     string
	env     []string // of every daemon
	redis   *redistest.Redis
	store   *sectors.Store
	queues  *queue.Queues
	api     string // as FULLNODE_API_INFO gives it
	node    *lotus.FullNode
	daemons []*daemon
}

// newCluster starts Redis and the node; env is given to every daemon.
func newCluster(t testing.TB, env ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), env: env, redis: redistest.StartServer(t)}
	c.store, c.queues = sectors.New(c.redis.Client), queue.New(c.redis.Client)
	t.Cleanup(c.cleanUp)
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	c.config("devnet", settings{host: "h0", instance: "devnet"})
	c.start("devnet", in, "devnet", "--config", c.file("devnet"), "--listen", "127.0.0.1:0", "--sector-size", "2KiB", "--epoch", "100ms")
	require.NoError(t, in.Close())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	c.api = strings.TrimPrefix(strings.TrimSpace(line), "FULLNODE_API_INFO=")
	c.node = dial(t, c.api)
	c.config("operator", settings{host: "h1", instance: "operator"})
	return c
}

func dial(t testing.TB, api string) *lotus.FullNode {
	t.Helper()
	endpoints, err := chain.ParseAPIInfo(api)
	require.NoError(t, err)
	node := &lotus.FullNode{}
	disconnect, err := jsonrpc.NewMergeClient(context.Background(), endpoints[0].URL, lotus.Namespace, []any{node}, nil, jsonrpc.WithErrors(lotus.Errors()))
	require.NoError(t, err)
	t.Cleanup(disconnect)
	return node
}

// settings are what one daemon's configuration has of its own.
type settings struct {
	host, instance string
	lanes          string
	paths          []string      // folders
	drain          time.Duration // of a worker, at SIGTERM
	redis, api     string        // instead of the cluster's
	more           string        // further lines of the file
}

// config writes a daemon's configuration. Waits are short because epochs are.
func (c *cluster) config(name string, s settings) string {
	c.t.Helper()
	if s.redis == "" {
		s.redis = c.redis.URL
	}
	if s.api == "" {
		s.api = c.api
	}
	paths := ""
	for _, dir := range s.paths {
		paths += fmt.Sprintf("{dir: %q}, ", dir)
	}
	text := fmt.Sprintf(`
redis: {url: %q}
chain: {api: %q, confidence: 2}
miners: [{id: t01000}]
policy: {look: 500ms, busy_wait: 500ms, backoff_base: 200ms, backoff_max: 2s, seed_confidence: 2}
host: {id: %s, state_dir: %q}
worker:
  instance: %s
  drain: %s
  lanes: [%s]
  paths: [%s]
  file_service: {listen: "127.0.0.1:0", secret: %s}
scheduler: {instance: %[5]s-s, period: 1s}
web: {listen: "127.0.0.1:0"}
log: {level: info, format: nocolor}
%[10]s
`, s.redis, s.api, s.host, c.state(s.host), s.instance, s.drain, s.lanes, paths, strings.Repeat("s", 32), s.more)
	require.NoError(c.t, os.WriteFile(c.file(name), []byte(text), 0o600))
	return c.file(name)
}

func (c *cluster) state(host string) string { return filepath.Join(c.dir, host, "state") }

// scheduler and worker start a daemon of that kind.
func (c *cluster) scheduler(instance string) *daemon {
	c.t.Helper()
	return c.start(instance, nil, "scheduler", "--config", c.config(instance, settings{host: "h0", instance: instance}))
}

func (c *cluster) worker(s settings) *daemon {
	c.t.Helper()
	name := s.host + "-" + s.instance
	return c.start(name, nil, "worker", "--config", c.config(name, s))
}

// path makes a storage path of a host and gives its folder.
func (c *cluster) path(host, name string, o files.PathOptions) string {
	c.t.Helper()
	dir := filepath.Join(c.dir, host, name)
	o.Capacity = 1 << 20
	_, err := files.Init(dir, o)
	require.NoError(c.t, err)
	return dir
}

// alive waits for as many heartbeats.
func (c *cluster) alive(n int) {
	c.t.Helper()
	c.until(fmt.Sprintf("%d daemons to join", n), func() bool {
		live, err := c.store.Workers(c.t.Context())
		require.NoError(c.t, err)
		return len(live) == n
	})
}

// until asks again and again, until the answer is yes.
func (c *cluster) until(what string, ask func() bool) {
	c.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ask(); <-tick.C {
		if time.Now().After(deadline) || c.t.Failed() {
			c.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (c *cluster) record(id jobs.SectorID) *jobs.Record {
	c.t.Helper()
	r, err := c.store.Load(c.t.Context(), id)
	require.NoError(c.t, err)
	return r
}

// story is the sector's log.
func (c *cluster) story(id jobs.SectorID) []sectors.LogLine {
	c.t.Helper()
	lines, err := c.store.Log(c.t.Context(), id, 0)
	require.NoError(c.t, err)
	return lines
}

// data writes a file of one sector's bytes, and another sector's on each call.
func (c *cluster) data(name string, size int) string {
	c.t.Helper()
	file := filepath.Join(c.dir, name)
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*i>>3) ^ name[i%len(name)]
	}
	require.NoError(c.t, os.WriteFile(file, b, 0o600))
	return file
}

// cleanUp leaves nothing running, and says what was said when the test failed.
func (c *cluster) cleanUp() {
	for i := len(c.daemons) - 1; i >= 0; i-- {
		_ = c.daemons[i].stop(syscall.SIGKILL)
	}
	hosts, err := filepath.Glob(filepath.Join(c.dir, "*", "state"))
	require.NoError(c.t, err)
	for _, state := range hosts {
		require.NoError(c.t, worker.EndAll(state, time.Second))
	}
	if c.t.Failed() {
		c.report()
	}
}
