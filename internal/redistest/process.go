package redistest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// patience is how long something may take on a busy machine.
const patience = 30 * time.Second

// process is one redis-server, at a port and in a folder that outlive a crash.
type process struct {
	addr, port string
	dir        string
	line       func(*process) []string // its command line
	dial       func(addr string) redis.UniversalClient

	cmd *exec.Cmd
	out bytes.Buffer
	end chan struct{} // closed when it ended; out is at rest then
}

func plain(addr string) redis.UniversalClient { return redis.NewClient(&redis.Options{Addr: addr}) }

// launch starts a redis-server on a free port, and on another one if that was taken
// in the meantime.
func launch(t testing.TB, dial func(string) redis.UniversalClient, line func(*process) []string) *process {
	t.Helper()
	for range 10 {
		p := &process{port: freePort(t), dir: t.TempDir(), line: line, dial: dial}
		p.addr = net.JoinHostPort("127.0.0.1", p.port)
		if p.try(t) {
			t.Cleanup(p.kill)
			return p
		}
		if out := p.out.String(); !strings.Contains(out, "in use") && !strings.Contains(out, "listening socket") {
			t.Fatalf("redis-server ended:\n%s", out)
		}
	}
	t.Fatal("redistest: every free port was taken before redis-server came to it")
	return nil
}

// freePort finds a port below the ephemeral ones that is free together with the
// Cluster bus's, 10,000 above.
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		if port := 10000 + rand.IntN(10000); free(port) && free(port+10000) {
			return strconv.Itoa(port)
		}
	}
	t.Fatal("redistest: no free loopback port between 10000 and 20000")
	return ""
}

func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	return err == nil && l.Close() == nil
}

// try starts the process and says whether it got ready before it ended.
func (p *process) try(t testing.TB) bool {
	t.Helper()
	name := os.Getenv("LPSEAL_REDIS_SERVER")
	if name == "" {
		name = "redis-server"
	}
	path, err := exec.LookPath(name)
	require.NoError(t, err, "this test needs redis-server 6.2 or later: install it, or let LPSEAL_REDIS_SERVER name it")
	p.out.Reset()
	p.cmd = exec.Command(path, p.line(p)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	require.NoError(t, p.cmd.Start())
	end := make(chan struct{})
	p.end = end
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(end)
	}(p.cmd)

	rdb := p.dial(p.addr)
	defer func() { _ = rdb.Close() }()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if p.answers(rdb) {
			return true
		}
		select {
		case <-p.end:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	p.kill()
	t.Fatalf("redis-server is not ready after %s:\n%s", patience, p.out.String())
	return false
}

// answers says that the server at the address takes commands, and is this process: it
// may have come to its port a moment after another test's.
func (p *process) answers(rdb redis.UniversalClient) bool {
	ctx := context.Background()
	if rdb.Ping(ctx).Err() != nil {
		return false // it may load its file yet, which INFO does not wait for
	}
	info, err := rdb.Info(ctx, "server").Result()
	return err == nil && strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", p.cmd.Process.Pid))
}

func (p *process) restart(t testing.TB) {
	t.Helper()
	require.True(t, p.try(t), "redis-server ended:\n%s", &p.out)
}

// kill ends it with SIGKILL and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.end
}

func (p *process) signal(t testing.TB, sig os.Signal) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(sig))
}
