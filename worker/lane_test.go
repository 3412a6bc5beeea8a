package worker

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

// unfit gives what the heartbeat says of a lane class.
func unfit(me jobs.Worker, c jobs.Class) string {
	for _, l := range me.Lanes {
		if l.Class == c {
			return l.Unfit
		}
	}
	return "no such lane"
}

// TestTwoFaultsTakeTheLaneOut, until its time is over; then one more is enough.
func TestTwoFaultsTakeTheLaneOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options("w0")
	clock := jobstest.NewClock()
	o.Clock, o.UnfitFor = clock, time.Minute
	w.run(o)
	w.set(t, scene{Fault: jobs.Failf(jobs.Busy, "parameters are missing")})
	fail := func() {
		w.awaitState(w.schedule(w.sector().ID, jobs.DropLayers, false), jobs.Faulted)
	}
	fail()
	require.Empty(t, unfit(awaitWorker(w, func(jobs.Worker) bool { return true }), jobs.ClassIO))
	fail()
	me := awaitWorker(w, func(me jobs.Worker) bool { return unfit(me, jobs.ClassIO) != "" })
	require.Contains(t, unfit(me, jobs.ClassIO), "parameters are missing")
	require.Empty(t, unfit(me, jobs.ClassSDR), "other lanes serve")

	waiting := w.schedule(w.sector().ID, jobs.DropLayers, false)
	w.awaitState(w.schedule(w.sector().ID, jobs.SDR, false), jobs.Faulted) // time passes
	require.Equal(t, jobs.Queued, w.load(waiting.ID).Stage(jobs.DropLayers).State, "it takes nothing")

	clock.Advance(time.Minute)
	w.awaitState(waiting, jobs.Faulted)
	awaitWorker(w, func(me jobs.Worker) bool { return unfit(me, jobs.ClassIO) != "" })

	w.set(t, scene{})
	clock.Advance(time.Minute)
	w.awaitState(w.schedule(w.sector().ID, jobs.DropLayers, false), jobs.Done)
	awaitWorker(w, func(me jobs.Worker) bool { return unfit(me, jobs.ClassIO) == "" }) // the next heartbeat
}

// TestFaultsOfSectorsSayNothingAboutTheLane: a bad piece fails on any machine.
func TestFaultsOfSectorsSayNothingAboutTheLane(t *testing.T) {
	t.Parallel()
	accusing := map[jobs.FaultClass]bool{jobs.Busy: true, jobs.Bug: true}
	for _, class := range jobs.FaultClasses {
		o := failed(jobs.Failf(class, "x"))
		require.Equal(t, accusing[class], o.accuses(), "%s", class)
	}
	require.True(t, failed(jobs.Failf(jobs.Transient, crashed+" (SIGSEGV)")).accuses())
}

func TestGPUs(t *testing.T) {
	t.Parallel()
	two := func() ([]GPU, error) { return []GPU{{Index: 0, UUID: "GPU-aa11"}, {Index: 1, UUID: "GPU-bb22"}}, nil }
	none := func() ([]GPU, error) { return nil, nil }
	broken := func() ([]GPU, error) { return nil, errors.New("driver is gone") }
	for name, c := range map[string]struct {
		lane jobs.Lane
		list func() ([]GPU, error)
		want string
	}{
		"native needs none":   {jobs.Lane{Class: jobs.ClassGPU, Prover: jobs.NativeProver, Device: "7"}, none, ""},
		"cpu lane needs none": {jobs.Lane{Class: jobs.ClassCPU, Prover: "filcrypto"}, none, ""},
		"none there":          {jobs.Lane{Class: jobs.ClassGPU, Prover: "filcrypto"}, none, "shows none"},
		"any will do":         {jobs.Lane{Class: jobs.ClassGPU, Prover: "filcrypto"}, two, ""},
		"by index":            {jobs.Lane{Class: jobs.ClassGPU, Prover: "filcrypto", Device: "1"}, two, ""},
		"by UUID":             {jobs.Lane{Class: jobs.ClassGPU, Prover: "filcrypto", Device: "GPU-bb"}, two, ""},
		"several":             {jobs.Lane{Class: jobs.ClassGPU, Prover: "filcrypto", Device: "0, 2"}, two, "GPU 2 is not among the 2"},
		"on the CPU by order": {jobs.Lane{Class: jobs.ClassGPU, Prover: "filcrypto", Device: jobs.NoGPU}, broken, ""},
		"driver is gone":      {jobs.Lane{Class: jobs.ClassGPU, Prover: "filcrypto"}, broken, "driver is gone"},
	} {
		why := gpuMissing(c.lane, c.list)
		if c.want == "" {
			require.Empty(t, why, name)
		} else {
			require.Contains(t, why, c.want, name)
		}
	}
}

// TestLaneWithoutItsGPU serves again when the GPU is back.
func TestLaneWithoutItsGPU(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options("w0")
	seen := make(chan []GPU, 1)
	seen <- nil
	o.GPUs = func() ([]GPU, error) {
		gpus := <-seen
		seen <- gpus
		return gpus, nil
	}
	for i := range o.Lanes {
		o.Lanes[i].Prover = "filcrypto"
	}
	w.run(o)
	me := awaitWorker(w, func(me jobs.Worker) bool { return unfit(me, jobs.ClassGPU) != "" })
	require.Empty(t, unfit(me, jobs.ClassCPU))
	task := w.schedule(w.sector().ID, jobs.C2, false)
	w.set(t, scene{Fault: jobs.Failf(jobs.Funds, "it runs")})
	<-seen
	seen <- []GPU{{Index: 0}}
	w.awaitState(task, jobs.Faulted)
	awaitWorker(w, func(me jobs.Worker) bool { return unfit(me, jobs.ClassGPU) == "" })
}

// TestLaneThatProvesNothingThatCounts serves again when its parameters are there, and
// says so for as long as they are not.
func TestLaneThatProvesNothingThatCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options("w0")
	var fetched atomic.Bool
	o.Unproven = func(l jobs.Lane) string {
		if l.Class == jobs.ClassGPU && !fetched.Load() {
			return "parameters are missing"
		}
		return ""
	}
	w.run(o)
	me := awaitWorker(w, func(me jobs.Worker) bool { return unfit(me, jobs.ClassGPU) == "parameters are missing" })
	for _, l := range me.Lanes {
		require.Equal(t, l.Class == jobs.ClassGPU, l.Unproven != "", l.Class)
	}
	task := w.schedule(w.sector().ID, jobs.C2, false)
	w.awaitState(w.schedule(w.sector().ID, jobs.SDR, false), jobs.Done) // time passes
	require.Equal(t, jobs.Queued, w.load(task.ID).Stage(jobs.C2).State)
	w.set(t, scene{Fault: jobs.Failf(jobs.Funds, "it runs")})
	fetched.Store(true)
	w.awaitState(task, jobs.Faulted)
	awaitWorker(w, func(me jobs.Worker) bool { return unfit(me, jobs.ClassGPU) == "" })
}

// TestDrain stops pulling and waits for what is in hand.
func TestDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.run(w.options("w0"))
	w.set(t, scene{Act: "gate"})
	inHand := w.schedule(w.sector().ID, jobs.SDR, false)
	w.awaitStart(1)

	hurried, cancel := context.WithTimeout(w.ctx, 100*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, worker.Drain(hurried), "1 deliveries still run")
	me := awaitWorker(w, func(me jobs.Worker) bool { return me.Draining && me.Stopping })
	require.Equal(t, 1, me.Lanes[0].Busy)
	after := w.schedule(w.sector().ID, jobs.SDR, false)

	w.place.open(t)
	require.NoError(t, worker.Drain(w.ctx))
	require.Equal(t, jobs.Done, w.load(inHand.ID).Stage(jobs.SDR).State)
	require.Equal(t, jobs.Queued, w.load(after.ID).Stage(jobs.SDR).State)
}

// transcript is a log that a test reads while it is written.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *transcript) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *transcript) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// runLogged runs a worker and gives what it logs.
func (w *world) runLogged(o Options) *transcript {
	w.t.Helper()
	log := new(transcript)
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	w.run(o)
	return log
}

// TestOrderToDrain is obeyed, told, and taken back.
func TestOrderToDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := w.runLogged(w.options("w0"))
	require.NoError(t, w.store.SetDraining(w.ctx, "h1/w0", true))
	awaitWorker(w, func(me jobs.Worker) bool { return me.Draining && !me.Stopping })
	// Workers() honours the order by itself: wait until the worker has heard of it.
	await(t, "the worker says so", func() bool { return strings.Contains(log.String(), "drained by order") })
	await(t, "the servers stop", func() bool { return w.servers() == 0 })
	task := w.schedule(w.sector().ID, jobs.DropLayers, false)
	require.NoError(t, w.store.SetDraining(w.ctx, "h1/w0", false))
	w.awaitState(task, jobs.Done)
	require.Regexp(t, `(?s)msg=live worker=h1/w0 lanes=".*gpu a×2.*" paths=1 .*msg="drained by order: no work is taken until lpseal machines resume h1/w0".*msg="resumed by order"`, log.String())
}

// servers counts live queue servers.
func (w *world) servers() int {
	w.t.Helper()
	n, err := w.rdb.ZCard(w.ctx, "asynq:servers").Result()
	require.NoError(w.t, err)
	return int(n)
}

// TestTwoOfOneName: the second is refused, on this host and, by the heartbeat, from
// another state folder.
func TestTwoOfOneName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.options("w0"))
	awaitWorker(w, func(jobs.Worker) bool { return true })

	second, err := New(w.options("w0"))
	require.NoError(t, err)
	require.ErrorContains(t, second.Run(w.ctx), "another process runs this instance")

	o := w.options("w0")
	o.StateDir = t.TempDir()
	third, err := New(o)
	require.NoError(t, err)
	var taken *sectors.InstanceTakenError
	require.ErrorAs(t, third.Run(w.ctx), &taken)
}

// TestAChildThatHangsHoldsUpNoHeartbeat: whether it takes its work is waited for longer than
// a worker may be silent.
func TestAChildThatHangsHoldsUpNoHeartbeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Warm = time.Minute
	o := w.options("w0")
	pid := filepath.Join(w.Dir, "pid")
	o.Child.Path, o.Child.Args = "/bin/sh", []string{"-c", "echo $$ >> " + pid + "; exec sleep 60"}
	worker := w.run(o)
	task := w.schedule(w.sector().ID, jobs.C2, false)
	var hanging int
	await(t, "a child hangs", func() bool {
		b, err := os.ReadFile(pid)
		if err == nil {
			hanging, err = strconv.Atoi(strings.TrimSpace(string(b)))
		}
		return err == nil
	})
	told := make(chan jobs.Worker)
	go func() { told <- worker.self() }()
	select {
	case me := <-told:
		require.Equal(t, []string{task.WorkID()}, me.Children)
	case <-time.After(answerPatience / 2):
		t.Error("the heartbeat waits for the child")
	}
	hurried, cancel := context.WithTimeout(w.ctx, 100*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, worker.Drain(hurried), "1 deliveries still run")
	require.NoError(t, syscall.Kill(hanging, syscall.SIGKILL))
	w.awaitState(task, jobs.Faulted)
}

// TestADisplacedWorkerTakesNothing: while its host was frozen, another process joined under
// its name. Two of one name would take each other's work, each dead to the schedulers in turn.
func TestADisplacedWorkerTakesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options("w0")
	log := w.runLogged(o)
	me := awaitWorker(w, func(jobs.Worker) bool { return true })
	await(t, "the servers start", func() bool { return w.servers() == len(o.Lanes) })
	other := jobs.Worker{Host: "h1", Instance: "w0", Run: "another", Boot: me.Boot}
	await(t, "the other one joins", func() bool {
		require.NoError(t, w.store.Leave(w.ctx, me))
		return w.store.Join(w.ctx, other, time.Hour) == nil
	})
	await(t, "the servers stop", func() bool { return w.servers() == 0 })
	task := w.schedule(w.sector().ID, jobs.DropLayers, false)
	require.NoError(t, w.store.Leave(w.ctx, other))
	w.awaitState(task, jobs.Done)
	require.Regexp(t, `(?s)ALARM: another process has this worker's place.*h1/w0 is running already.*msg="has its place again"`, log.String())
}

// TestAKilledProcessIsReplacedAtOnce, whoever has its process id now: here this very
// process does, as in a container where each start is process 1.
func TestAKilledProcessIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// start has a run join; kill ends it as SIGKILL does, which says no good-bye.
	start := func() (me *Worker, kill func()) {
		me, err := New(w.options("w0"))
		require.NoError(t, err)
		lock, err := me.join(w.ctx)
		require.NoError(t, err)
		return me, func() { filelock.Release(lock) }
	}
	_, kill := start()
	kill()
	second, kill := start()
	lives := awaitWorker(w, func(jobs.Worker) bool { return true })
	require.Equal(t, second.owner, lives.Owner())
	kill()

	// Some are killed before they have joined: the live heartbeat is an earlier run's.
	for _, run := range []string{"early", "earlier"} {
		lock, err := filelock.Try(filepath.Join(w.state(), "locks", "worker-w0"), filelock.Exclusive)
		require.NoError(t, err)
		_, err = sign(lock, run)
		require.NoError(t, err)
		filelock.Release(lock)
	}
	third, kill := start()
	defer kill()
	lives = awaitWorker(w, func(jobs.Worker) bool { return true })
	require.Equal(t, third.owner, lives.Owner())
	named, err := os.ReadFile(filepath.Join(w.state(), "locks", "worker-w0"))
	require.NoError(t, err)
	require.Equal(t, third.Options.Run+"\n", string(named), "the file does not grow")
}
