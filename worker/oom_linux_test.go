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

// cgroupEnv leads a test's child to control groups of its own making.
const cgroupEnv = "LPSEAL_TEST_CGROUP"

func init() {
	if root := os.Getenv(cgroupEnv); root != "" {
		cgroupRoot = root
	}
}

// group makes a control group of this process in a folder.
func group(t *testing.T, root string, content map[string]string) {
	t.Helper()
	own := filepath.Dir(cgroupFile("x"))
	dir, err := filepath.Rel("/sys/fs/cgroup", own)
	require.NoError(t, err)
	dir = filepath.Join(root, dir)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for name, text := range content {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
}

// TestOOMKill: a SIGKILL while the kernel counts one killed for memory is the
// machine's fault, and without that count somebody's who sent it.
func TestOOMKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root := t.TempDir()
	group(t, root, map[string]string{"memory.events": "low 0\noom 1\noom_kill 4\n"})
	o := w.options("w0")
	o.Child.Env = append(o.Child.Env, cgroupEnv+"="+root)
	w.run(o)
	w.set(t, scene{Act: "gate"})
	task := w.schedule(w.sector().ID, jobs.SDR, false)
	pid := w.awaitStart(1)
	group(t, root, map[string]string{"memory.events": "low 0\noom 2\noom_kill 5\n"})
	victim, err := os.FindProcess(pid)
	require.NoError(t, err)
	require.NoError(t, victim.Kill())
	sr := w.awaitState(task, jobs.Faulted)
	require.Equal(t, jobs.Busy, sr.Fault.Class)
	require.Contains(t, sr.Fault.Text, "the kernel killed the proof process for memory")
	require.Equal(t, 1, sr.Attempt)
}

// TestMemoryOfAControlGroup bounds what a container's worker promises.
func TestMemoryOfAControlGroup(t *testing.T) {
	root := t.TempDir()
	group(t, root, map[string]string{"memory.max": "67108864\n", "memory.current": "50331648\n", "memory.stat": "anon 1\ninactive_file 16777216\n"})
	before := cgroupRoot
	cgroupRoot = root
	t.Cleanup(func() { cgroupRoot = before })
	require.EqualValues(t, 64<<20, hostMemory())
	require.EqualValues(t, 32<<20, availableMemory(), "page cache that nobody uses counts as free")
	group(t, root, map[string]string{"memory.max": "max\n"})
	require.Greater(t, hostMemory(), uint64(64<<20))
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
	o.Available = available.Load
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
