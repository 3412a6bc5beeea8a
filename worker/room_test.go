package worker

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

const gib = 1 << 30

func TestRoom(t *testing.T) {
	t.Parallel()
	host := jobs.Capacity{Memory: 128 * gib, Cores: 4, VRAM: 12 * gib}
	c2 := &Request{Host: "h1", Task: jobs.TaskRef{Stage: jobs.C2}, Lane: jobs.Lane{Class: jobs.ClassGPU, Device: "0"}}
	need := jobs.Need{Memory: 100 * gib, VRAM: 8 * gib}
	on := func(device string, memory, vram uint64) holding {
		return holding{jobs.Need{Memory: memory, VRAM: vram}, device}
	}
	for name, c := range map[string]struct {
		all       []holding
		available uint64
		text      string
		forNow    bool
	}{
		"alone":                    {nil, 110 * gib, "", false},
		"beside a small one":       {[]holding{on("", 28*gib, 0)}, 100 * gib, "", false},
		"beside a large one":       {[]holding{on("", 64*gib, 0)}, 100 * gib, "c2 waits for room on h1: it lacks 36 GiB of memory: it needs 100 GiB, and of 128 GiB here 64 GiB are held", true},
		"another on its GPU":       {[]holding{on("0", gib, 8*gib)}, 100 * gib, "it lacks 4 GiB of GPU memory", true},
		"another on another GPU":   {[]holding{on("1", gib, 8*gib)}, 100 * gib, "", false},
		"other programs have more": {nil, 90 * gib, "it lacks 10 GiB of memory: it needs 100 GiB, and the system could give 90 GiB", true},
		"other programs have all":  {nil, 0, "it lacks 100 GiB of memory: it needs 100 GiB, and the system could give 0 B", true},
	} {
		err := room(c2, need, host, c.all, c.available)
		if c.text == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.text, name)
		var full noRoomError
		require.ErrorAs(t, err, &full)
		require.Equal(t, jobs.Busy, full.fault.Class, name)
		require.Equal(t, c.forNow, full.forNow, name)
	}
	var full noRoomError
	require.ErrorAs(t, room(c2, jobs.Need{Memory: 129 * gib}, host, nil, 129*gib), &full)
	require.Contains(t, full.fault.Text, "can never run on h1: it lacks 1 GiB of memory")
	require.False(t, full.forNow)
}

// TestStageWaitsForRoom: two workers of one host share its memory. The stage that
// finds none is told so, spends no attempt, and does not take its lane out; it runs when
// the other has ended.
func TestStageWaitsForRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	need := jobs.NeedOf(jobs.SDR, proof, jobs.NativeProver, 1, false).Memory
	options := func(instance string) Options {
		o := w.options(instance)
		o.Capacity = jobs.Capacity{Memory: need + need/2, Cores: 1}
		return o
	}
	first, second := w.run(options("w0")), w.run(options("w1"))
	w.set(t, scene{Act: "gate"})
	other := w.schedule(w.sector().ID, jobs.SDR, false)
	w.awaitStart(1)
	me := awaitWorker(w, func(me jobs.Worker) bool { return me.Held.Memory > 0 })
	require.Equal(t, need, me.Held.Memory)
	require.Equal(t, need+need/2, me.Capacity.Memory)

	id := w.sector().ID
	waiting := w.schedule(id, jobs.SDR, false)
	for range 2 * faultsTolerated {
		sr := w.awaitState(waiting, jobs.Faulted)
		require.Equal(t, jobs.Busy, sr.Fault.Class)
		require.Contains(t, sr.Fault.Text, "sdr waits for room on h1: it lacks")
		w.awaitTask(waiting, jobs.TaskCompleted)
		require.Equal(t, 1, sr.Attempt)
		if waiting.Delivery < 2*faultsTolerated {
			waiting = w.schedule(id, jobs.SDR, true) // as the poller does after a busy stage
		}
	}
	for _, worker := range []running{first, second} {
		for _, l := range worker.lanes {
			require.Empty(t, l.describe(nil).Unfit)
		}
	}
	w.place.open(t)
	w.awaitState(other, jobs.Done)
	await(t, "the other ends", func() bool { return !folderOf(w.state(), other).live() })
	sr := w.awaitState(w.schedule(id, jobs.SDR, true), jobs.Done)
	require.Equal(t, 1, sr.Attempt)
}

// TestStageThatNeverFits accuses the lane, which takes itself out.
func TestStageThatNeverFits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options("w0")
	o.Capacity = jobs.Capacity{Memory: 1 << 20, Cores: 1}
	o.Clock, o.UnfitFor = jobstest.NewClock(), time.Minute
	w.run(o)
	for range faultsTolerated {
		sr := w.awaitState(w.schedule(w.sector().ID, jobs.SDR, false), jobs.Faulted)
		require.Equal(t, jobs.Busy, sr.Fault.Class)
		require.Contains(t, sr.Fault.Text, "can never run on h1")
	}
	awaitWorker(w, func(me jobs.Worker) bool { return unfit(me, jobs.ClassSDR) != "" })
}

// TestUnable names each stage that a lane could not run even alone.
func TestUnable(t *testing.T) {
	t.Parallel()
	l := jobs.Lane{Class: jobs.ClassGPU, GPU: "a", Prover: "filcrypto"}
	large := proof + 3 // 32 GiB
	require.NoError(t, Unable(l, jobs.Capacity{Memory: 256 * gib, Cores: 8}, large, true))
	err := Unable(l, jobs.Capacity{Memory: 8 * gib, Cores: 8}, large, true)
	require.ErrorContains(t, err, "a gpu lane can never run tree_rc of sectors of 32 GiB by filcrypto here: it lacks")
	require.ErrorContains(t, err, "can never run c2")
	err = Unable(l, jobs.Capacity{Memory: 64 * gib, Cores: 8}, large, true)
	require.NotContains(t, err.Error(), "tree_rc")
	require.NotContains(t, Unable(l, jobs.Capacity{Memory: gib}, large, false).Error(), "tree_rc", "its files are elsewhere")
}

// TestHostCapacity: this machine has some.
func TestHostCapacity(t *testing.T) {
	t.Parallel()
	have := HostCapacity()
	require.Equal(t, runtime.GOMAXPROCS(0), have.Cores)
	require.Greater(t, have.Memory, uint64(256<<20))
}

func TestGPUMemory(t *testing.T) {
	t.Parallel()
	require.Equal(t, map[string]uint64{"GPU-aa": 24564 << 20, "GPU-bb": 8192 << 20}, parseGPUMemory("GPU-aa, 24564\nGPU-bb, 8192\nGPU-cc, [N/A]\n"))
	w := &Worker{Options: Options{GPUs: func() ([]GPU, error) {
		return []GPU{{Index: 0, UUID: "GPU-aa", Memory: 24 * gib}, {Index: 1, UUID: "GPU-bb", Memory: 8 * gib}}, nil
	}}}
	require.EqualValues(t, 24*gib, w.vram("0"))
	require.EqualValues(t, 8*gib, w.vram("GPU-b"))
	require.EqualValues(t, 8*gib, w.vram("0,1"), "the smaller one bounds it")
	require.EqualValues(t, 8*gib, w.vram(""))
	require.Zero(t, w.vram("7"))
}

// TestEnvironmentOfALane is the lane's variables and its GPU alone.
func TestEnvironmentOfALane(t *testing.T) {
	t.Parallel()
	l := jobs.Lane{Env: []string{"FIL_PROOFS_USE_MULTICORE_SDR=1"}}
	require.Equal(t, []string{"FIL_PROOFS_USE_MULTICORE_SDR=1"}, environment(l))
	l.Device = "1"
	require.Equal(t, []string{"FIL_PROOFS_USE_MULTICORE_SDR=1", "CUDA_VISIBLE_DEVICES=1"}, environment(l))
	l.Device = jobs.NoGPU
	require.Equal(t, []string{"FIL_PROOFS_USE_MULTICORE_SDR=1", "CUDA_VISIBLE_DEVICES=", "BELLMAN_NO_GPU=1"}, environment(l))
}
