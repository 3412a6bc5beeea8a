package worker

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/jobs"
)

func newFolder(t *testing.T) folder {
	t.Helper()
	f := folderOf(t.TempDir(), jobs.TaskRef{ID: jobs.SectorID{Miner: 1000, Number: 42}, Stage: jobs.C2, Fence: 1, Attempt: 2, Delivery: 3})
	require.NoError(t, os.MkdirAll(f.path, 0o755))
	return f
}

// TestStatusOfAnotherBoot: process numbers of a machine's earlier life name
// somebody else by now.
func TestStatusOfAnotherBoot(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	boot, err := bootID()
	require.NoError(t, err)
	for at, want := range map[string]bool{boot: true, "another boot": false} {
		require.NoError(t, f.write(statusFile, &status{Work: f.task.WorkID(), Boot: at}))
		st, err := f.status()
		require.NoError(t, err)
		require.Equal(t, want, st != nil, at)
	}
}

// TestKillSparesTheInnocent: a process that has the number, but not the start time,
// of the one in the status.
func TestKillSparesTheInnocent(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	boot, err := bootID()
	require.NoError(t, err)
	innocent := exec.Command("sleep", "600")
	innocent.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, innocent.Start())
	defer func() {
		require.NoError(t, innocent.Process.Kill())
		require.Error(t, innocent.Wait())
	}()
	start, err := startTime(innocent.Process.Pid)
	require.NoError(t, err)
	lock, err := f.lock()
	require.NoError(t, err)
	defer filelock.Release(lock)

	st := status{Work: f.task.WorkID(), Boot: boot, Group: innocent.Process.Pid, Start: start - 1}
	require.NoError(t, f.write(statusFile, &st))
	require.False(t, f.signal(syscall.Signal(0)))
	st.Start = start
	require.NoError(t, f.write(statusFile, &st))
	require.True(t, f.signal(syscall.Signal(0)))
}

func TestFolderLock(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	require.False(t, f.live())
	lock, err := f.lock()
	require.NoError(t, err)
	require.NotNil(t, lock)
	require.True(t, f.live())
	second, err := f.lock()
	require.NoError(t, err)
	require.Nil(t, second)
	f.remove()
	require.DirExists(t, f.path, "nothing that lives is removed")
	filelock.Release(lock) // closed only, it would be held for as long as some other test forks
	require.False(t, f.live())
	f.remove()
	require.NoDirExists(t, f.path)
}

func TestFoldersAreThoseOfWorkIDs(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	task := jobs.TaskRef{ID: jobs.SectorID{Miner: 1000, Number: 42}, Stage: jobs.C2, Fence: 1, Attempt: 2, Delivery: 3}
	for _, name := range []string{task.WorkID(), "lost+found", "s-t01000-42.c9.f1.a1", "s-t01000-042.c2.f1.a1"} {
		require.NoError(t, os.MkdirAll(workRoot(state)+"/"+name, 0o755))
	}
	all, err := folders(state)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, task.WorkID(), all[0].task.WorkID())
}

func TestProgressIsThrottled(t *testing.T) {
	t.Parallel()
	var got []jobs.Progress
	tell := throttle(time.Hour, func(p jobs.Progress) { got = append(got, p) })
	for _, step := range []string{"layer 1/2", "layer 2/2"} {
		for done := range uint64(3) {
			tell(jobs.Progress{Step: step, Done: done})
		}
	}
	require.Equal(t, []jobs.Progress{{Step: "layer 1/2"}, {Step: "layer 2/2"}}, got)
}
