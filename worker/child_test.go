package worker

import (
	"context"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

// TestEndingsOfAProofProcess kills proof processes in every way that we tell apart.
func TestEndingsOfAProofProcess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, act string
		class     jobs.FaultClass
		text      []string
	}{
		{"panic in the stage", "panic", jobs.Bug, []string{"a stage's own panic", "world_test.go"}},
		{"panic in another goroutine", "stray panic", jobs.Bug, []string{"exit code 2", "a panic of another goroutine"}},
		{"error nobody classified", "unclassified", jobs.Bug, []string{"nobody knows this"}},
		{"exit", "exit", jobs.Bug, []string{"exit code 3", "leaving early"}},
		{"full disk", "enospc", jobs.Busy, []string{"the disk is full"}},
		{"segmentation violation", strconv.Itoa(int(syscall.SIGSEGV)), jobs.Transient, []string{crashed, "SIGSEGV"}},
		{"abort", strconv.Itoa(int(syscall.SIGABRT)), jobs.Transient, []string{crashed, "SIGABRT"}},
		{"killed by somebody", strconv.Itoa(int(syscall.SIGKILL)), jobs.Transient, []string{"from outside", "SIGKILL"}},
		{"told to end by somebody", strconv.Itoa(int(syscall.SIGTERM)), jobs.Transient, []string{"from outside", "exit code 75"}},
		{"the whole group is told to end", "end the group", jobs.Transient, []string{"from outside", "exit code 75"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.run(w.options("w0"))
			w.set(t, scene{Act: c.act})
			task := w.schedule(w.sector().ID, jobs.SDR, false)
			sr := w.awaitState(task, jobs.Faulted)
			w.awaitTask(task, jobs.TaskCompleted)
			require.Equal(t, c.class, sr.Fault.Class, sr.Fault.Text)
			for _, text := range c.text {
				require.Contains(t, sr.Fault.Text, text)
			}
		})
	}
}

func TestPanicOfALightStage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.options("w0"))
	w.set(t, scene{Act: "panic"})
	task := w.schedule(w.sector().ID, jobs.Finalize, false)
	sr := w.awaitState(task, jobs.Faulted)
	w.awaitTask(task, jobs.TaskCompleted)
	require.Equal(t, jobs.Bug, sr.Fault.Class)
	require.Contains(t, sr.Fault.Text, "world_test.go", "the stack")
}

// TestThirdCrashIsABug: a crash may be a flipped bit; three running are not.
func TestThirdCrashIsABug(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.options("w0"))
	w.set(t, scene{Act: strconv.Itoa(int(syscall.SIGSEGV))})
	id := w.sector().ID
	for i, class := range []jobs.FaultClass{jobs.Transient, jobs.Transient, jobs.Bug} {
		task := w.schedule(id, jobs.SDR, false)
		sr := w.awaitState(task, jobs.Faulted)
		require.Equal(t, class, sr.Fault.Class)
		require.Equal(t, i+1, sr.Fault.Attempt)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	for _, s := range []jobs.Stage{jobs.SDR, jobs.DropLayers} {
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o := w.options("w0")
			o.Child.Deadline = func(*jobs.Row) time.Duration { return 500 * time.Millisecond }
			w.run(o)
			act := scene{Act: "gate"}
			if jobs.RowOf(s).Heavy {
				act.Act = "stubborn" // SIGTERM is not enough
			}
			w.set(t, act)
			task := w.schedule(w.sector().ID, s, false)
			sr := w.awaitState(task, jobs.Faulted)
			w.awaitTask(task, jobs.TaskCompleted)
			require.Equal(t, jobs.Transient, sr.Fault.Class)
			require.Contains(t, sr.Fault.Text, "did not end within 500ms")
			require.False(t, folderOf(w.state(), task).live())
		})
	}
}

// TestAbortKills: an abort ends the whole process group, however little the stage cares
// for SIGTERM, and within two seconds: the default periods leave half a second for the rest.
func TestAbortKills(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options("w0")
	o.Child.Poll, o.Child.Grace = 0, 0
	periods := w.run(o).Child
	require.LessOrEqual(t, periods.Poll+periods.Grace, 1500*time.Millisecond)
	w.set(t, scene{Act: "stubborn"})
	task := w.schedule(w.sector().ID, jobs.SDR, false)
	w.awaitStart(1)
	f := folderOf(w.state(), task)
	require.Contains(t, awaitWorker(w, func(me jobs.Worker) bool { return len(me.Children) > 0 }).Children, task.WorkID())

	_, err := w.store.Apply(w.ctx, task.ID, jobs.Aborted{Why: "test"}, "test", time.Now())
	require.NoError(t, err)
	await(t, "the group dies", func() bool { return !f.live() })
	await(t, "the handler returns nil", func() bool {
		load, err := w.queues.Load(w.ctx)
		require.NoError(t, err)
		return load["sdr.h1"] == 0
	})
	require.Equal(t, jobs.Idle, w.load(task.ID).Stage(jobs.SDR).State)
	require.Len(t, w.starts(t), 1)
}

// TestAbortEndsALightStage: its context ends, and nothing is written.
func TestAbortEndsALightStage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.options("w0"))
	w.set(t, scene{Act: "gate"})
	task := w.schedule(w.sector().ID, jobs.DropLayers, false)
	w.awaitStart(1)
	_, err := w.store.Apply(w.ctx, task.ID, jobs.Aborted{Why: "test"}, "test", time.Now())
	require.NoError(t, err)
	await(t, "the handler returns", func() bool {
		load, err := w.queues.Load(w.ctx)
		require.NoError(t, err)
		return load["io.h1"] == 0
	})
	require.Equal(t, jobs.Idle, w.load(task.ID).Stage(jobs.DropLayers).State)
}

// awaitWorker waits until h1/w0's heartbeat says something.
func awaitWorker(w *world, says func(jobs.Worker) bool) (me jobs.Worker) {
	w.t.Helper()
	await(w.t, "the heartbeat says so", func() bool {
		all, err := w.store.Workers(w.ctx)
		require.NoError(w.t, err)
		for _, me = range all {
			if me.Name() == "h1/w0" && says(me) {
				return true
			}
		}
		return false
	})
	return me
}

// TestLostLeaseDetaches hands deliveries to the lane itself, so that a lease can be
// lost at will: the child goes on, and the next claim adopts it.
func TestLostLeaseDetaches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	w.set(t, scene{Act: "gate"})

	ctx, lose := context.WithCancelCause(w.ctx)
	first := make(chan error, 1)
	go func() { first <- worker.lanes[0].handle(ctx, task) }()
	pid := w.awaitStart(1)
	lost := context.DeadlineExceeded
	lose(lost)
	require.ErrorIs(t, <-first, lost, "the queue must hear of it")
	require.True(t, alive(pid))
	require.Equal(t, jobs.Running, w.load(task.ID).Stage(jobs.SDR).State)

	second := make(chan error, 1)
	go func() { second <- worker.lanes[0].handle(w.ctx, task) }()
	await(t, "the second claim", func() bool { return w.load(task.ID).Stage(jobs.SDR).Claim == 2 })
	w.place.open(t)
	require.NoError(t, <-second)
	sr := w.load(task.ID).Stage(jobs.SDR)
	require.Equal(t, jobs.Done, sr.State)
	require.Equal(t, 1, sr.Attempt)
	require.Len(t, w.starts(t), 1, "the work was done once")
}

// idle makes a worker that pulls nothing, and a task that nobody pulls.
func (w *world) idle(s jobs.Stage) (*Worker, jobs.TaskRef) {
	w.t.Helper()
	worker, err := New(w.options("w0"))
	require.NoError(w.t, err)
	worker.life = w.ctx
	return worker, w.schedule(w.sector().ID, s, false)
}

// TestLaterClaimSupersedes: the earlier of two watchers leaves the child to the
// later one.
func TestLaterClaimSupersedes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	w.set(t, scene{Act: "gate"})
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- worker.lanes[0].handle(w.ctx, task) }()
	w.awaitStart(1)
	go func() { second <- worker.lanes[0].handle(w.ctx, task) }()
	require.NoError(t, <-first)
	w.place.open(t)
	require.NoError(t, <-second)
	require.Equal(t, jobs.Done, w.load(task.ID).Stage(jobs.SDR).State)
	require.Len(t, w.starts(t), 1)
}

// TestKilledWorkerIsAdopted kills a worker process with SIGKILL. Its child goes on;
// the next run of the instance takes the heartbeat's place at once and adopts it.
func TestKilledWorkerIsAdopted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(t, scene{Act: "gate"})
	victim := w.process()
	task := w.schedule(w.sector().ID, jobs.SDR, false)
	pid := w.awaitStart(1)
	require.NoError(t, victim.Process.Kill())
	require.Error(t, victim.Wait())
	require.True(t, alive(pid), "a child outlives its worker")

	w.run(w.options("w0"))
	// The scheduler sees a claim of a run that is gone, and delivers again.
	again := w.schedule(task.ID, jobs.SDR, true)
	await(t, "the second claim", func() bool { return w.load(task.ID).Stage(jobs.SDR).Claim == 2 })
	w.place.open(t)
	sr := w.awaitState(again, jobs.Done)
	require.Equal(t, 1, sr.Attempt)
	require.Len(t, w.starts(t), 1, "the work was done once")
}

// TestFinishedResultIsUsed: the child ended well while nobody watched.
func TestFinishedResultIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	w.set(t, scene{Act: "gate"})
	w.startAndLeave(worker, task)
	w.place.open(t)
	f := folderOf(w.state(), task)
	await(t, "the child ends", func() bool { return !f.live() })
	require.NoError(t, worker.lanes[0].handle(w.ctx, task))
	require.Equal(t, jobs.Done, w.load(task.ID).Stage(jobs.SDR).State)
	require.Len(t, w.starts(t), 1, "the work was done once")
}

func (w *world) startAndLeave(worker *Worker, task jobs.TaskRef) {
	w.t.Helper()
	ctx, leave := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() { ended <- worker.lanes[0].handle(ctx, task) }()
	w.awaitStart(len(w.starts(w.t)) + 1)
	leave()
	require.Error(w.t, <-ended)
}

// leaveFault leaves what an earlier run of a work that failed would.
func (w *world) leaveFault(task jobs.TaskRef) folder {
	w.t.Helper()
	f := folderOf(w.state(), task)
	require.NoError(w.t, os.MkdirAll(f.path, 0o755))
	require.NoError(w.t, f.write(resultFile, &report{Work: task.WorkID(), Fault: jobs.Failf(jobs.Busy, "then")}))
	return f
}

// TestUnseenFaultIsNotUsed: a fault that nobody heard of belongs to its run. The
// next delivery runs anew.
func TestUnseenFaultIsNotUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	w.leaveFault(task)
	require.NoError(t, worker.lanes[0].handle(w.ctx, task))
	require.Equal(t, jobs.Done, w.load(task.ID).Stage(jobs.SDR).State)
}

// TestALookIsNoWork: every heartbeat and sweep of the host's workers looks whether processes
// have a work, with a lock for the moment that it takes. A delivery that meets one starts its
// work, and does not take an earlier run's fault for the word of processes that there are not.
func TestALookIsNoWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	f := w.leaveFault(task)
	look, err := filelock.Try(f.file(lockFile), filelock.Shared)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- worker.lanes[0].handle(w.ctx, task) }()
	select {
	case err := <-ended:
		t.Errorf("it did not wait for the look to end: %v", err)
	case <-time.After(200 * time.Millisecond):
		filelock.Release(look)
		require.NoError(t, <-ended)
	}
	sr := w.load(task.ID).Stage(jobs.SDR)
	require.Equal(t, jobs.Done, sr.State, "%v", sr.Fault)
}

// TestAWorkThatWaitsForItsSlotHoldsNothing, whatever an earlier run of it held.
func TestAWorkThatWaitsForItsSlotHoldsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, first := w.idle(jobs.SDR)
	worker.lanes[0].decl.Width = 1
	w.set(t, scene{Act: "gate"})
	w.startAndLeave(worker, first)
	held := total(worker.holdings(""))
	require.NotZero(t, held.Memory)

	second := w.schedule(w.sector().ID, jobs.SDR, false)
	f := folderOf(w.state(), second)
	require.NoError(t, os.MkdirAll(f.path, 0o755))
	require.NoError(t, f.write(requestFile, &Request{Work: second.WorkID(), Task: second, Lane: worker.lanes[0].decl, Fields: w.load(second.ID).Fields()}))
	ended := make(chan error, 1)
	go func() { ended <- worker.lanes[0].handle(w.ctx, second) }()
	await(t, "it says that it waits", func() bool {
		p, err := w.store.Progress(w.ctx, []jobs.SectorID{second.ID})
		require.NoError(t, err)
		return p[second.ID][jobs.SDR].Step == "waiting for a free slot"
	})
	require.Equal(t, held, total(worker.holdings("")))
	w.place.open(t)
	require.NoError(t, <-ended)
}

// TestRunsAreApart: what an earlier run of the work id said is not taken for the
// word of a run that died without one.
func TestRunsAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	w.set(t, scene{Act: strconv.Itoa(int(syscall.SIGKILL))})
	w.leaveFault(task)
	require.NoError(t, worker.lanes[0].handle(w.ctx, task))
	require.Contains(t, w.load(task.ID).Stage(jobs.SDR).Fault.Text, "from outside")
}

// TestForeignResultIsNotUsed: a result counts for its work id only.
func TestForeignResultIsNotUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.C2)
	w.set(t, scene{Fault: jobs.Failf(jobs.Funds, "it ran")})
	other := task
	other.Fence++
	f := folderOf(w.state(), task)
	require.NoError(t, os.MkdirAll(f.path, 0o755))
	require.NoError(t, f.write(resultFile, &report{Work: other.WorkID(), Result: &jobs.Result{PoRep: []byte("of another fence")}}))
	require.NoError(t, worker.lanes[2].handle(w.ctx, task))
	require.Contains(t, w.load(task.ID).Stage(jobs.C2).Fault.Text, "it ran")
}

// TestDetachedChildKeepsItsSlot: asynq gives the place of a lost lease away at once;
// the slot is the child's until it ends.
func TestDetachedChildKeepsItsSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, first := w.idle(jobs.SDR)
	worker.lanes[0].decl.Width = 1
	w.set(t, scene{Act: "gate"})
	w.startAndLeave(worker, first)
	second := w.schedule(w.sector().ID, jobs.SDR, false)
	ended := make(chan error, 1)
	go func() { ended <- worker.lanes[0].handle(w.ctx, second) }()
	await(t, "it says that it waits", func() bool {
		p, err := w.store.Progress(w.ctx, []jobs.SectorID{second.ID})
		require.NoError(t, err)
		return p[second.ID][jobs.SDR].Step == "waiting for a free slot"
	})
	require.Len(t, w.starts(t), 1, "one child on a lane of width 1")
	w.place.open(t)
	require.NoError(t, <-ended)
	require.Equal(t, jobs.Done, w.load(second.ID).Stage(jobs.SDR).State)
}

// TestABacklogKeepsNoResult: what runs without a watcher has its slot, and its task comes back
// behind all that wait. They let it by: its result would wait for days, and its ticket not.
func TestABacklogKeepsNoResult(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options("w0")
	o.Lanes[0].Width = 1
	worker := w.run(o)
	w.set(t, scene{Act: "gate"})
	running := w.schedule(w.sector().ID, jobs.SDR, false)
	w.awaitStart(1)
	worker.stop()
	require.NoError(t, w.queues.Delete(w.ctx, "sdr.h1", running)) // as if it had been killed
	backlog := []jobs.TaskRef{w.schedule(w.sector().ID, jobs.SDR, false), w.schedule(w.sector().ID, jobs.SDR, false)}
	again := w.schedule(running.ID, jobs.SDR, true)

	o = w.options("w0")
	o.Lanes[0].Width = 1
	w.run(o)
	await(t, "the child is adopted", func() bool { return w.load(running.ID).Stage(jobs.SDR).Claim == 2 })
	for _, waits := range backlog {
		require.Zero(t, w.load(waits.ID).Stage(jobs.SDR).Claim, "nothing is claimed that cannot begin")
	}
	w.place.open(t)
	w.awaitState(again, jobs.Done)
	for _, waits := range backlog {
		w.awaitState(waits, jobs.Done)
	}
}

// TestSweepKillsWhatNobodyWatches: the work was aborted while its worker was away.
func TestSweepKillsWhatNobodyWatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	w.set(t, scene{Act: "stubborn"})
	w.startAndLeave(worker, task)
	f := folderOf(w.state(), task)
	require.NoError(t, worker.sweep(w.ctx))
	require.True(t, f.live(), "it is still wanted")
	_, err := w.store.Apply(w.ctx, task.ID, jobs.Aborted{Why: "test"}, "test", time.Now())
	require.NoError(t, err)
	require.NoError(t, worker.sweep(w.ctx))
	require.False(t, f.live())
	require.NoDirExists(t, f.path)
}

// TestSweepForgetsEndedSectors: the fault for which a sector was given up stays the last word
// of its stage, and each folder is looked at by every heartbeat.
func TestSweepForgetsEndedSectors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	w.set(t, scene{Fault: jobs.Failf(jobs.Data, "a bad piece")})
	require.NoError(t, worker.lanes[0].handle(w.ctx, task))
	f := folderOf(w.state(), task)
	await(t, "the child ends", func() bool { return !f.live() })
	for _, e := range []jobs.Event{jobs.AbandonOrdered{Why: "test"}, jobs.Finished{Outcome: jobs.Removed}} {
		require.NoError(t, worker.sweep(w.ctx))
		require.DirExists(t, f.path, "it may be of use yet")
		_, err := w.store.Apply(w.ctx, task.ID, e, "test", time.Now())
		require.NoError(t, err)
	}
	require.NoError(t, worker.sweep(w.ctx))
	require.NoDirExists(t, f.path)
}

// TestNewerAttemptKillsOlder: they would fight for the sector's locks.
func TestNewerAttemptKillsOlder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	w.set(t, scene{Act: "stubborn"})
	w.startAndLeave(worker, task)
	w.place.set(t, scene{})
	newer := w.schedule(task.ID, jobs.SDR, false)
	require.NoError(t, worker.lanes[0].handle(w.ctx, newer))
	require.Equal(t, jobs.Done, w.load(task.ID).Stage(jobs.SDR).State)
	require.False(t, folderOf(w.state(), task).live())
}

// TestShimIsKilled: the proof process goes on without it, and its result counts.
func TestShimIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	w.set(t, scene{Act: "gate"})
	ended := make(chan error, 1)
	go func() { ended <- worker.lanes[0].handle(w.ctx, task) }()
	w.awaitStart(1)
	f := folderOf(w.state(), task)
	st, err := f.status()
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(st.Group, syscall.SIGKILL))
	await(t, "the shim is gone", func() bool { return !alive(st.Group) })
	require.True(t, f.live(), "the proof process holds the inherited lock")
	w.place.open(t)
	require.NoError(t, <-ended)
	require.Equal(t, jobs.Done, w.load(task.ID).Stage(jobs.SDR).State)
}

// TestProgressIsPassedOn from the child's file to the store, and again while nothing changes:
// what is told is believed for a minute, and a layer of filecoin-ffi takes twenty.
func TestProgressIsPassedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	clock := jobstest.NewClock()
	worker.Clock = clock
	w.set(t, scene{Method: "Seal", Act: "gate"}) // after the layers
	ended := make(chan error, 1)
	go func() { ended <- worker.lanes[0].handle(w.ctx, task) }()
	for range 3 {
		await(t, "the last layer is told", func() bool {
			p, err := w.store.Progress(w.ctx, []jobs.SectorID{task.ID})
			require.NoError(t, err)
			return p[task.ID][jobs.SDR] == jobs.Progress{Step: "layer 2/2", Done: 2, Total: 2}
		})
		require.NoError(t, w.rdb.Del(w.ctx, "lpseal:{"+task.ID.String()+"}:progress:sdr").Err())
		clock.Advance(sectors.ProgressTTL / 2)
	}
	w.place.open(t)
	require.NoError(t, <-ended)
}

// TestProgressOfALightStage is told as well.
func TestProgressOfALightStage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.DropLayers)
	told := jobs.Progress{Step: "half", Done: 1, Total: 2}
	d := &delivery{w: worker, lane: worker.lanes[3], task: task, claim: 0, record: w.load(task.ID), log: worker.Log}
	d.row = &jobs.Row{Stage: jobs.DropLayers, Timeout: time.Hour, Do: func(_ context.Context, env *jobs.Env, _ *jobs.Record) (*jobs.Result, error) {
		env.Progress(told)
		return nil, nil
	}}
	o, err := d.perform(w.ctx)
	require.NoError(t, err)
	require.Equal(t, &jobs.Result{}, o.result, "nothing to tell is an empty result")
	p, err := w.store.Progress(w.ctx, []jobs.SectorID{task.ID})
	require.NoError(t, err)
	require.Equal(t, told, p[task.ID][jobs.DropLayers])
}
