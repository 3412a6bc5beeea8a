package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
)

// proofEnv is set in the environment of the proof process, and not in the shim's.
const proofEnv = "LPSEAL_CHILD_PROOF"

// The exit codes of a proof process that wrote no result.
const (
	exitOK       = 0
	exitNoReport = 70 // EX_SOFTWARE: the folder could not be read or written
	exitCalled   = 75 // EX_TEMPFAIL: called off by a signal
)

// Build makes the world of a child's stage from its request. The binary reads the
// configuration that its worker was started with.
type Build func(ctx context.Context, q *Request) (*jobs.Env, error)

// ChildMain is the program of `lpseal child FOLDER`: the shim, which starts itself
// again as the proof process and reports how that ended. It returns the exit code.
//
// The two are apart because proof code dies hard: a GPU library's abort takes its
// whole process along, and somebody must be left to say so.
func ChildMain(ctx context.Context, dir string, build Build) int {
	var q Request
	f := folder{path: dir}
	if ok, err := f.read(requestFile, &q); !ok {
		fmt.Fprintf(os.Stderr, "lpseal: child: no request in %s: %v\n", dir, err)
		return exitNoReport
	}
	f.task = q.Task
	run := shim
	if os.Getenv(proofEnv) != "" {
		run = func(f folder) (int, error) { return prove(ctx, f, &q, build) }
	}
	code, err := run(f)
	if err != nil {
		fmt.Fprintf(os.Stderr, "lpseal: child: %s: %v\n", q.Work, err)
	}
	return code
}

// shim starts the proof process and waits for it. The locks are on descriptors that
// the worker opened to this process, not closed on exec: the proof process inherits
// them without more ado. A SIGTERM to the group is meant
// for the proof process; the shim stays to write how it ended.
func shim(f folder) (int, error) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	boot, err := bootID()
	if err != nil {
		return exitNoReport, err
	}
	start, err := startTime(os.Getpid())
	if err != nil {
		return exitNoReport, err
	}
	st := status{Work: f.task.WorkID(), Boot: boot, Group: os.Getpid(), Start: start, Since: time.Now()}
	if err := f.write(statusFile, &st); err != nil {
		return exitNoReport, err
	}
	self, err := os.Executable()
	if err != nil {
		return exitNoReport, err
	}
	proof := exec.Command(self, os.Args[1:]...)
	proof.Env = append(os.Environ(), proofEnv+"=1")
	proof.Stdout, proof.Stderr = os.Stderr, os.Stderr
	before := oomKills()
	if err := proof.Run(); err != nil && proof.ProcessState == nil {
		return exitNoReport, fmt.Errorf("start the proof process: %w", err)
	}
	st.Ended, st.Exit = true, proof.ProcessState.ExitCode()
	if ws, ok := proof.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		st.Signal = signalName(ws.Signal())
		st.OOMKill = ws.Signal() == syscall.SIGKILL && oomKills() > before
	}
	if err := f.write(statusFile, &st); err != nil {
		return exitNoReport, err
	}
	return exitOK, nil
}

// prove runs the stage and writes its result.
func prove(ctx context.Context, f folder, q *Request, build Build) (int, error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	stage := q.Task.Stage
	crash.At(crash.Child, stage, crash.AfterClaim)

	rep := report{Work: q.Task.WorkID()}
	res, err := proveStage(ctx, f, q, build)
	if err != nil {
		fault, ok := classify(ctx, err)
		if !ok {
			return exitCalled, fmt.Errorf("called off: %w", err)
		}
		rep.Fault = fault
	} else {
		rep.Result = res
	}
	crash.At(crash.Child, stage, crash.AfterRename)
	if err := f.write(resultFile, &rep); err != nil {
		return exitNoReport, err
	}
	return exitOK, nil
}

func proveStage(ctx context.Context, f folder, q *Request, build Build) (*jobs.Result, error) {
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
			res, err = nil, jobs.Failf(jobs.Bug, "panic: %v\n%s", p, debug.Stack())
		}
	}()
	res, err = row.Do(ctx, env, r)
	if err == nil && res == nil {
		res = &jobs.Result{}
	}
	return res, err
}

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
