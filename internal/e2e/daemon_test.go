package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// daemon is one lpseal process. One that is killed is started again, as systemd
// would; one that ends by itself fails the test.
type daemon struct {
	name   string
	args   []string
	env    []string
	stdout io.Writer
	log    string // file
	ended  chan struct{}

	mu       sync.Mutex
	cmd      *exec.Cmd
	stopping bool
	kills    int
	err      error // how it ended, once stopped
}

// start starts a daemon of the cluster and keeps it up until the test ends.
func (c *cluster) start(name string, stdout io.Writer, args ...string) *daemon {
	c.t.Helper()
	d := &daemon{name: name, args: append([]string{"--alone"}, args...), env: c.env, stdout: stdout, log: filepath.Join(c.dir, name+".log"), ended: make(chan struct{})}
	require.NoError(c.t, d.spawn())
	c.daemons = append(c.daemons, d)
	go d.keepUp(c.t)
	return d
}

func (d *daemon) spawn() error {
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(binary, d.args...)
	cmd.Env = append(os.Environ(), d.env...)
	cmd.Stdout, cmd.Stderr = d.stdout, log
	d.cmd = cmd
	return cmd.Start()
}

func (d *daemon) keepUp(t testing.TB) {
	defer close(d.ended)
	for {
		err := d.cmd.Wait()
		d.mu.Lock()
		switch {
		case d.stopping:
			d.err = err
		case killed(err):
			d.kills++
			if err = d.spawn(); err == nil {
				d.mu.Unlock()
				continue
			}
			t.Errorf("start %s again: %v", d.name, err)
		default:
			t.Errorf("%s ended by itself: %v\n%s", d.name, err, d.tail())
		}
		d.mu.Unlock()
		return
	}
}

func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// stop ends the daemon by a signal, for good, and gives how it ended.
func (d *daemon) stop(sig syscall.Signal) error {
	d.mu.Lock()
	d.stopping = true
	_ = d.cmd.Process.Signal(sig) // it may have ended already
	d.mu.Unlock()
	<-d.ended
	return d.err
}

// deaths counts how often it was killed and started again.
func (d *daemon) deaths() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kills
}

func (d *daemon) pid() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cmd.Process.Pid
}

// tail is the end of what it logged.
func (d *daemon) tail() string {
	const most = 8 << 10
	b, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-most):])
}

// lpseal runs a command as the operator and gives what it printed.
func (c *cluster) lpseal(args ...string) string {
	c.t.Helper()
	out, complaint, err := c.try(args...)
	require.NoError(c.t, err, "lpseal %v: %s", args, complaint)
	return out
}

// try runs a command that may fail, as the operator.
func (c *cluster) try(args ...string) (out, complaint string, err error) {
	return command(c.t, append([]string{"--config", c.file("operator")}, args...)...)
}

// command runs the program with what it is given and nothing else.
func command(t testing.TB, args ...string) (out, complaint string, err error) {
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"--alone"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name+".yaml") }

func (d *daemon) String() string {
	return fmt.Sprintf("%s (killed %d times):\n%s", d.name, d.deaths(), d.tail())
}
