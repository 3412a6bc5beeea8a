package worker

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// oomEnv leads a test's child to a file whose size is the number of processes killed for memory.
const oomEnv = "LPSEAL_TEST_OOM"

func init() {
	if path := os.Getenv(oomEnv); path != "" {
		oomKills = func() uint64 {
			info, err := os.Stat(path)
			if err != nil {
				panic(err)
			}
			return uint64(info.Size())
		}
	}
}

// TestOOMKill: a SIGKILL while the kernel counts one killed for memory is the
// machine's fault, and without that count somebody's who sent it.
func TestOOMKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kills := filepath.Join(t.TempDir(), "kills")
	require.NoError(t, os.WriteFile(kills, []byte("1234"), 0o644))
	o := w.options("w0")
	o.Child.Env = append(o.Child.Env, oomEnv+"="+kills)
	w.run(o)
	w.set(t, scene{Act: "gate"})
	task := w.schedule(w.sector().ID, jobs.SDR, false)
	pid := w.awaitStart(1)
	require.NoError(t, os.WriteFile(kills, []byte("12345"), 0o644))
	victim, err := os.FindProcess(pid)
	require.NoError(t, err)
	require.NoError(t, victim.Kill())
	sr := w.awaitState(task, jobs.Faulted)
	require.Equal(t, jobs.Busy, sr.Fault.Class)
	require.Contains(t, sr.Fault.Text, "the kernel killed the proof process for memory")
	require.Equal(t, 1, sr.Attempt)
}

// TestLoadedMemoryCountsForTheNext: what a warm child has loaded is missing from what the
// system could give, and yet there for the next work.
func TestLoadedMemoryCountsForTheNext(t *testing.T) {
	t.Parallel()
	require.Greater(t, residentMemory(syscall.Getpgrp()), uint64(1<<20))
	w := warmWorld(t, time.Hour)
	o := w.options("w0")
	need := jobs.NeedOf(jobs.C2, proof, jobs.NativeProver, 1, false).Memory
	var available atomic.Uint64
	available.Store(need)
	o.Available = func() (uint64, bool) { return available.Load(), true }
	w.run(o)
	w.requireDone(w.prove())
	available.Store(need - 1<<20)
	w.requireDone(w.prove())
	require.Len(t, w.starts(t), 1, "by the child that was there")
	sr := w.awaitState(w.schedule(w.sector().ID, jobs.SDR, false), jobs.Done)
	require.Equal(t, 1, sr.Attempt)
	available.Store(1 << 20)
	require.Contains(t, w.awaitState(w.schedule(w.sector().ID, jobs.SDR, false), jobs.Faulted).Fault.Text, "for other programs have the rest", "not for another stage")
}
