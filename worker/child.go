package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
)

// proofEnv is set in the environment of the proof process, and not in the shim's.
const proofEnv = "LPSEAL_CHILD_PROOF"

// The exit codes of a proof process, or of one of its works, without a result.
const (
	exitOK       = 0
	exitNoReport = 70 // EX_SOFTWARE: the folder could not be read or written
	exitCalled   = 75 // EX_TEMPFAIL: called off by a signal or an order
)

// Build makes the world of a stage from its request; what it opens is closed when
// ctx ends, with the work. The binary reads the configuration that its worker was
// started with.
type Build func(ctx context.Context, q *Request) (*jobs.Env, error)

// ChildMain is the program of `lpseal child FOLDER`: the shim, which starts itself
// again as the proof process and reports how that ended. It returns the exit code.
//
// The two are apart because proof code dies hard: a GPU library's abort takes its
// whole process along, and somebody must be left to say so.
func ChildMain(ctx context.Context, dir string, build Build) int {
	run := func() (int, error) { return shim(dir) }
	if os.Getenv(proofEnv) != "" {
		run = func() (int, error) { return prove(ctx, build) }
	}
	code, err := run()
	if err != nil {
		fmt.Fprintf(os.Stderr, "lpseal: child: %v\n", err)
	}
	return code
}

// proveStage runs the stage of a request. gather has the layers of several works
// made together; nil where there is nothing to gather.
func proveStage(ctx context.Context, f folder, q *Request, build Build, gather func(jobs.Prover) jobs.Prover) (*jobs.Result, error) {
	r, err := q.Record()
	if err != nil {
		return nil, err
	}
	row := jobs.RowOf(q.Task.Stage)
	if row == nil {
		return nil, jobs.Failf(jobs.Busy, "this lpseal has no stage %q: run workers of one version", q.Task.Stage)
	}
	env, err := build(ctx, q)
	if err != nil {
		var fault *jobs.Fault
		if !errors.As(err, &fault) {
			// The sector is not to blame for a world that cannot be made.
			err = jobs.Failf(jobs.Busy, "child process on %s: %w", q.Host, err)
		}
		return nil, err
	}
	mine := *env
	if gather != nil {
		mine.Prover = gather(env.Prover)
	}
	mine.Progress = throttle(progressEvery, func(p jobs.Progress) {
		if b, err := json.Marshal(p); err == nil {
			_ = f.replace(progressFile, b, false) // a lost line of progress harms nobody
		}
	})
	return do(ctx, row, instrument(&mine, crash.Child, row.Stage), r)
}

// do runs a row; a panic becomes a fault that holds the sector with the stack, and
// a stage that has nothing to tell has an empty result.
func do(ctx context.Context, row *jobs.Row, env *jobs.Env, r *jobs.Record) (res *jobs.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			res, err = nil, panicked(p)
		}
	}()
	res, err = row.Do(ctx, env, r)
	if err == nil && res == nil {
		res = &jobs.Result{}
	}
	return res, err
}

// panicked is the fault of a panic, with the stack of who calls it while it recovers.
func panicked(p any) *jobs.Fault { return jobs.Failf(jobs.Bug, "panic: %v\n%s", p, debug.Stack()) }

// progressEvery is how often a stage's progress is passed on.
const progressEvery = 200 * time.Millisecond

// throttle passes on the first report, every new step, and of the rest as much as
// the interval lets through. The reports of a stage may come from many goroutines.
func throttle(every time.Duration, pass func(jobs.Progress)) func(jobs.Progress) {
	var mu sync.Mutex
	var last time.Time
	var step string
	return func(p jobs.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(last) >= every || p.Step != step {
			last, step = now, p.Step
			pass(p)
		}
	}
}
