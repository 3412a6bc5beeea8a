package worker

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

// lockstepWorld has lanes whose sdr works gather in twos; a group waits long for its
// second.
func lockstepWorld(t *testing.T) *world {
	w := newWorld(t)
	w.Lockstep, w.Gather = 2, time.Minute
	return w
}

func (w *world) scheduleTwo(s jobs.Stage) (a, b jobs.TaskRef) {
	return w.schedule(w.sector().ID, s, false), w.schedule(w.sector().ID, s, false)
}

func (w *world) awaitGroups(want string) {
	w.t.Helper()
	await(w.t, "groups "+want, func() bool { return w.groups() == want })
}

func (w *world) abort(task jobs.TaskRef) {
	w.t.Helper()
	_, err := w.store.Apply(w.ctx, task.ID, jobs.Aborted{Why: "test"}, "test", time.Now())
	require.NoError(w.t, err)
}

// requireDone: at the first attempt and claim.
func (w *world) requireDone(task jobs.TaskRef) {
	w.t.Helper()
	sr := w.awaitState(task, jobs.Done)
	require.Equal(w.t, 1, sr.Attempt, task)
	w.awaitTask(task, jobs.TaskCompleted)
}

// TestLockstep: two tasks, two claims, two results, one child.
func TestLockstep(t *testing.T) {
	t.Parallel()
	w := lockstepWorld(t)
	w.run(w.options("w0"))
	w.set(t, scene{Method: "SDR", Act: "gate"})
	a, b := w.scheduleTwo(jobs.SDR)
	w.awaitGroups("2")
	me := awaitWorker(w, func(me jobs.Worker) bool { return me.Lanes[0].Group == 2 })
	require.ElementsMatch(t, []string{a.WorkID(), b.WorkID()}, me.Children)
	for _, task := range []jobs.TaskRef{a, b} {
		st, err := folderOf(w.state(), task).status()
		require.NoError(t, err)
		require.True(t, st.Begun, "each has a status of its own")
	}
	w.place.open(t)
	w.requireDone(a)
	w.requireDone(b)
	require.Len(t, w.starts(t), 1)
}

// TestLockstepAlone: nobody comes, and it goes on without a group.
func TestLockstepAlone(t *testing.T) {
	t.Parallel()
	w := lockstepWorld(t)
	w.Gather = 20 * time.Millisecond
	w.run(w.options("w0"))
	w.requireDone(w.schedule(w.sector().ID, jobs.SDR, false))
	require.Empty(t, w.groups())
}

// TestHangBeforeTheGroup: work that never comes to begin is overdue as any other.
func TestHangBeforeTheGroup(t *testing.T) {
	t.Parallel()
	w := lockstepWorld(t)
	o := w.options("w0")
	o.Child.Deadline = func(*jobs.Row) time.Duration { return 500 * time.Millisecond }
	w.run(o)
	sr := w.awaitState(w.schedule(w.sector().ID, jobs.SDR, false), jobs.Faulted)
	require.Equal(t, jobs.Transient, sr.Fault.Class)
	require.Contains(t, sr.Fault.Text, "did not end within 500ms")
}

// TestAbortOfOne of a group leaves the other alone.
func TestAbortOfOne(t *testing.T) {
	t.Parallel()
	w := lockstepWorld(t)
	o := w.options("w0")
	o.Child.Grace = patience // it ends by itself
	w.run(o)
	w.set(t, scene{Method: "SDR", Act: "gate"})
	a, b := w.scheduleTwo(jobs.SDR)
	w.awaitGroups("2")
	w.abort(a)
	await(t, "the aborted work ends", func() bool { return !folderOf(w.state(), a).live() })
	require.True(t, folderOf(w.state(), b).live())
	w.place.open(t)
	w.requireDone(b)
	require.Equal(t, jobs.Idle, w.load(a.ID).Stage(jobs.SDR).State)
	require.Len(t, w.starts(t), 1, "the child lived")
}

// TestAbortThatCostsTheChild: it will not let go of one. The other begins anew, in a
// group with whoever comes, and pays no attempt.
func TestAbortThatCostsTheChild(t *testing.T) {
	t.Parallel()
	w := lockstepWorld(t)
	w.run(w.options("w0"))
	w.set(t, scene{Method: "SDR", Act: "stubborn"})
	a, b := w.scheduleTwo(jobs.SDR)
	w.awaitGroups("2")
	w.abort(a)
	await(t, "the aborted work dies", func() bool { return !folderOf(w.state(), a).live() })
	w.place.open(t)
	c := w.schedule(w.sector().ID, jobs.SDR, false)
	w.requireDone(b)
	w.requireDone(c)
	require.Equal(t, "2 2", w.groups())
	require.Len(t, w.starts(t), 2)
}

// TestCrashOfAGroup gives each of its works a fault, and the lane one.
func TestCrashOfAGroup(t *testing.T) {
	t.Parallel()
	w := lockstepWorld(t)
	o := w.options("w0")
	o.UnfitFor = time.Hour
	w.run(o)
	w.set(t, scene{Method: "SDR", Act: strconv.Itoa(int(syscall.SIGSEGV))})
	a, b := w.scheduleTwo(jobs.SDR)
	for _, task := range []jobs.TaskRef{a, b} {
		sr := w.awaitState(task, jobs.Faulted)
		w.awaitTask(task, jobs.TaskCompleted)
		require.Contains(t, sr.Fault.Text, crashed)
	}
	w.set(t, scene{})
	a, b = w.schedule(a.ID, jobs.SDR, false), w.schedule(b.ID, jobs.SDR, false)
	w.awaitState(a, jobs.Done)
	w.awaitState(b, jobs.Done)
}

// TestDeathWhileGathering is nobody's fault.
func TestDeathWhileGathering(t *testing.T) {
	t.Parallel()
	w := lockstepWorld(t)
	log := w.runLogged(w.options("w0"))
	a := w.schedule(w.sector().ID, jobs.SDR, false)
	f := folderOf(w.state(), a)
	group := 0
	await(t, "a child takes it, and the worker knows", func() bool {
		st, err := f.status()
		if err == nil && st != nil {
			group = st.Group
		}
		return group != 0 && strings.Contains(log.String(), "given to a child")
	})
	require.NoError(t, syscall.Kill(-group, syscall.SIGKILL))
	await(t, "another child takes it", func() bool {
		st, err := f.status()
		return err == nil && st != nil && st.Group != group
	})
	b := w.schedule(w.sector().ID, jobs.SDR, false)
	w.requireDone(a)
	w.requireDone(b)
	require.Equal(t, "2", w.groups())
}

// TestGroupIsAdopted by the next run of a killed worker.
func TestGroupIsAdopted(t *testing.T) {
	t.Parallel()
	w := lockstepWorld(t)
	w.set(t, scene{Method: "SDR", Act: "gate"})
	victim := w.process()
	a, b := w.scheduleTwo(jobs.SDR)
	w.awaitGroups("2")
	require.NoError(t, victim.Process.Kill())
	require.Error(t, victim.Wait())

	w.run(w.options("w0"))
	for _, task := range []jobs.TaskRef{a, b} {
		w.schedule(task.ID, jobs.SDR, true)
		await(t, "the second claim", func() bool { return w.load(task.ID).Stage(jobs.SDR).Claim == 2 })
	}
	w.place.open(t)
	for _, task := range []jobs.TaskRef{a, b} {
		require.Equal(t, 1, w.awaitState(task, jobs.Done).Attempt)
	}
	require.Len(t, w.starts(t), 1, "the work was done once")
}

// TestTwoWorkersInLockstep share a queue, and no child between them.
func TestTwoWorkersInLockstep(t *testing.T) {
	t.Parallel()
	w := lockstepWorld(t)
	w.Gather = 50 * time.Millisecond
	w.run(w.options("w0"))
	w.run(w.options("w1"))
	for range 3 {
		a, b := w.scheduleTwo(jobs.SDR)
		w.requireDone(a)
		w.requireDone(b)
	}
}

// warmWorld has a gpu lane whose child stays, and says which process does what.
func warmWorld(t *testing.T, stay time.Duration) *world {
	w := newWorld(t)
	w.Warm = stay
	w.set(t, scene{Method: "C2", Act: "gate"})
	w.place.open(t)
	return w
}

// prove has a sector's c2 made.
func (w *world) prove() jobs.TaskRef {
	w.t.Helper()
	r := w.sector(func(r *jobs.Record) {
		home := &jobstest.Files{Dir: filepath.Join(w.Dir, "files")}
		_, err := home.Home(w.ctx, r)
		require.NoError(w.t, err)
		r.C1Digest, err = home.SaveC1(w.ctx, r, []byte("c1"))
		require.NoError(w.t, err)
	})
	return w.schedule(r.ID, jobs.C2, false)
}

// TestWarmChild serves one c2 after another, and ends with its worker.
func TestWarmChild(t *testing.T) {
	t.Parallel()
	w := warmWorld(t, time.Hour)
	worker := w.run(w.options("w0"))
	for range 3 {
		w.requireDone(w.prove())
	}
	require.Len(t, w.starts(t), 1)
	awaitWorker(w, func(me jobs.Worker) bool { return me.Lanes[2].Loaded == 1 })
	worker.stop()
	await(t, "the child ends", func() bool { return !alive(w.starts(t)[0]) })
}

// TestWarmChildEnds when nothing came for a while.
func TestWarmChildEnds(t *testing.T) {
	t.Parallel()
	w := warmWorld(t, 50*time.Millisecond)
	w.run(w.options("w0"))
	w.requireDone(w.prove())
	await(t, "the child ends", func() bool { return !alive(w.starts(t)[0]) })
	awaitWorker(w, func(me jobs.Worker) bool { return me.Lanes[2].Loaded == 0 })
	w.requireDone(w.prove())
	require.Len(t, w.starts(t), 2)
}

// TestWarmChildEndsWhenDrained: what it has loaded serves nobody.
func TestWarmChildEndsWhenDrained(t *testing.T) {
	t.Parallel()
	w := warmWorld(t, time.Hour)
	worker := w.run(w.options("w0"))
	w.requireDone(w.prove())
	require.NoError(t, worker.Drain(w.ctx))
	await(t, "the child ends", func() bool { return !alive(w.starts(t)[0]) })
}

// TestCrashOfTheSecond of three: the first is done, the third is spared.
func TestCrashOfTheSecond(t *testing.T) {
	t.Parallel()
	w := warmWorld(t, time.Hour)
	w.run(w.options("w0"))
	w.requireDone(w.prove())
	w.set(t, scene{Method: "C2", Act: strconv.Itoa(int(syscall.SIGSEGV))})
	second := w.prove()
	sr := w.awaitState(second, jobs.Faulted)
	require.Contains(t, sr.Fault.Text, crashed)
	w.set(t, scene{Method: "C2", Act: "gate"})
	w.requireDone(w.prove())
	require.Len(t, w.starts(t), 2)
}

// TestFaultRenewsTheChild: nobody knows what it left behind on the GPU.
func TestFaultRenewsTheChild(t *testing.T) {
	t.Parallel()
	w := warmWorld(t, time.Hour)
	w.run(w.options("w0"))
	w.requireDone(w.prove())
	w.set(t, scene{Method: "C2", Fault: jobs.Failf(jobs.Funds, "as if")})
	w.awaitState(w.prove(), jobs.Faulted)
	await(t, "the child ends", func() bool { return !alive(w.starts(t)[0]) })
	w.set(t, scene{Method: "C2", Act: "gate"})
	w.requireDone(w.prove())
	require.Len(t, w.starts(t), 2)
}

// TestLastWordsAreThisWorks: what a child printed of an earlier work is not quoted for
// this one.
func TestLastWordsAreThisWorks(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	boot, err := bootID()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(f.file(stderrFile), []byte("panic: of an earlier work\nnow\n"), 0o644))
	require.NoError(t, f.write(statusFile, &status{Work: f.work(), Boot: boot, Said: 26}))
	require.Equal(t, "now", f.words())
}
