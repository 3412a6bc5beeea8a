package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing wrong", nil, 0},
		{"an error nobody classified", errors.New("x"), 1},
		{"a bug", jobs.Failf(jobs.Bug, "x"), 1},
		{"the command line", usage("", "x"), 2},
		{"the configuration", errors.Join(&configs.Problem{Key: "a"}, &configs.Problem{Key: "b"}), 2},
		{"no such sector", fmt.Errorf("load: %w", sectors.ErrNotFound), 3},
		{"no such file", unopened("", &fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}), 3},
		{"a file that cannot be read", unopened("", &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}), 1},
		{"the state forbids it", fmt.Errorf("order: %w", jobs.ErrRefused), 4},
		{"somebody was faster", sectors.ErrConflict, 4},
		{"another worker has the name", fmt.Errorf("join: %w", &sectors.InstanceTakenError{}), 4},
		{"another host has the path", fmt.Errorf("join: %w", &sectors.PathTakenError{}), 4},
		{"no funds", jobs.Failf(jobs.Funds, "x"), 4},
		{"the node is away", fmt.Errorf("head: %w", jobs.Failf(jobs.Transient, "x")), 5},
		{"Redis is away", down("", errors.New("x")), 5},
		{"a refused connection", &net.OpError{Op: "dial", Err: errors.New("x")}, 5},
		{"a port in use", fmt.Errorf("web.listen: %w", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}), 4},
		{"no address", &net.OpError{Op: "listen", Err: &net.AddrError{Err: "missing port"}}, 2},
	} {
		require.Equal(t, c.want, exitCode(c.err), c.name)
	}
}

func TestHints(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"its own hint comes first", notFound("look there", "%w", sectors.ErrNotFound), "look there"},
		{"the configuration", errors.Join(&configs.Problem{Key: "a"}, &configs.Problem{Key: "b"}), "lpseal config check repeats this test"},
		{"no such sector", fmt.Errorf("load: %w", sectors.ErrNotFound), "lpseal sectors list shows the sectors that there are"},
		{"no such deal", fmt.Errorf("deal: %w", sectors.ErrNoDeal), "lpseal deals list shows those that wait, with --refused those that are refused"},
		{"a port in use", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}, "choose another address, or stop what listens there: ss -ltnp names it"},
		{"no permission", fmt.Errorf("journal: %w", &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}), "let this user read and write there (chown), or name another place"},
		{"no address", &net.OpError{Op: "listen", Err: &net.AddrError{Err: "missing port"}}, "write HOST:PORT with an address of this host, such as 127.0.0.1:8645"},
	} {
		require.Equal(t, []string{c.want}, hints(c.err), c.name)
	}
}

// The class of a fault that reaches a command is in its exit code, and not in its words.
func TestReport(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	report(&said, jobs.Failf(jobs.Busy, "path /x: no space left"))
	require.Equal(t, "lpseal: path /x: no space left\n", said.String())
}
