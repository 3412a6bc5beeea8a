package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
)

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"lpseal": func() { os.Exit(Main(os.Args[1:])) }})
}

// tests are of private networks: one that prints an address must not meet the first that loads a configuration.
type tests struct{ *testing.M }

func (m tests) Run() int {
	lotus.PrintAddressesOf("localnet")
	return m.M.Run()
}

// TestScripts runs the commands as an operator does. Each script has its own Redis, its own
// embedded node, whose epochs pass by themselves, and a clean home.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "children": children, "absent": absent},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "xdg"))
			env.Setenv("TMPDIR", env.WorkDir)
			env.Setenv("LPSEAL_HOST_ID", "h1")
			env.Setenv("LPSEAL_HOST_STATE_DIR", filepath.Join(env.WorkDir, "state"))
			redis := miniredis.NewMiniRedis()
			redis.ClockTTL(true)
			if err := redis.Start(); err != nil {
				return err
			}
			env.Defer(redis.Close)
			env.Setenv("LPSEAL_REDIS_URL", "redis://"+redis.Addr())
			cfg, err := devnetConfig("2KiB", []string{"t01000"}, verifier{})
			if err != nil {
				return err
			}
			cfg.EpochDuration = 100 * time.Millisecond
			node, err := devnet.Start(context.Background(), cfg)
			if err != nil {
				return err
			}
			env.Defer(func() { _ = node.Close() })
			env.Setenv("FULLNODE_API_INFO", node.APIInfo())
			return nil
		},
	})
}

// exits CODE PROGRAM ARGS… runs a program that must end with the code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGS…]")
	}
	err := ts.Exec(args[1], args[2:]...)
	var ended *exec.ExitError
	code := 0
	if errors.As(err, &ended) {
		code = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, not %s", code, args[0])
	}
}

// children started FILE waits until a child process of a demo runs and notes its process group;
// children gone FILE sees that none of the noted ones is left.
func children(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: children started|gone FILE")
	}
	if args[0] == "gone" {
		for _, word := range strings.Fields(ts.ReadFile(args[1])) {
			group, err := strconv.Atoi(word)
			ts.Check(err)
			if err := syscall.Kill(-group, 0); !errors.Is(err, syscall.ESRCH) {
				ts.Fatalf("process group %d still runs (%v)", group, err)
			}
		}
		return
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		names, err := filepath.Glob(filepath.Join(ts.Getenv("TMPDIR"), "lpseal-demo-*", "h*", "state", "work", "*", "status.json"))
		ts.Check(err)
		groups := ""
		for _, name := range names {
			var status struct{ Group int }
			if b, err := os.ReadFile(name); err == nil && json.Unmarshal(b, &status) == nil {
				groups += strconv.Itoa(status.Group) + "\n"
			}
		}
		if groups != "" {
			ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(groups), 0o644))
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no child process started")
		}
	}
}

// absent PATTERN… sees that no file matches, ! absent that each pattern has one.
func absent(ts *testscript.TestScript, neg bool, args []string) {
	for _, pattern := range args {
		found, err := filepath.Glob(ts.MkAbs(pattern))
		ts.Check(err)
		if (len(found) > 0) != neg {
			ts.Fatalf("%s: found %q", pattern, found)
		}
	}
}
