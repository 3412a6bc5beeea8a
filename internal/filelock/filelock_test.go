package filelock_test

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/filelock"
)

// holderEnv makes the test's binary a process that locks the file it names, says so,
// and stays until it is killed.
const holderEnv = "LPSEAL_TEST_LOCK"

func TestMain(m *testing.M) {
	path := os.Getenv(holderEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	f, err := filelock.Try(path, filelock.Exclusive)
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString("held\n")
	<-time.After(time.Minute) // by then its test is gone
	filelock.Release(f)
}

// holder starts a process that holds the lock, and waits until it does.
func holder(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), holderEnv+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", said)
	return cmd
}

// TestAKilledProcessKeepsNoLock: another process keeps everybody out for as long as it
// lives, and whoever waits gets the lock when it is killed.
func TestAKilledProcessKeepsNoLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	other := holder(t, path)
	for _, mode := range []filelock.Mode{filelock.Shared, filelock.Exclusive} {
		_, err := filelock.Try(path, mode)
		require.ErrorIs(t, err, filelock.ErrHeld)
		require.ErrorContains(t, err, path)
	}
	called := errors.New("called off")
	impatient, cancel := context.WithTimeoutCause(t.Context(), 5*time.Millisecond, called)
	defer cancel()
	_, err := filelock.Wait(impatient, path, filelock.Exclusive)
	require.ErrorIs(t, err, called)

	type taken struct {
		f   *os.File
		err error
	}
	waiting := make(chan taken, 1)
	go func() {
		f, err := filelock.Wait(t.Context(), path, filelock.Exclusive)
		waiting <- taken{f, err}
	}()
	require.NoError(t, other.Process.Kill())
	got := <-waiting
	require.NoError(t, got.err)
	require.Error(t, other.Wait())
	_, err = filelock.Try(path, filelock.Shared)
	require.ErrorIs(t, err, filelock.ErrHeld, "now it is held here")
	filelock.Release(got.f)
}

func TestModes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	one, err := filelock.Try(path, filelock.Shared)
	require.NoError(t, err)
	two, err := filelock.Wait(t.Context(), path, filelock.Shared)
	require.NoError(t, err)
	_, err = filelock.Try(path, filelock.Exclusive)
	require.ErrorIs(t, err, filelock.ErrHeld)
	filelock.Release(one)
	_, err = filelock.Try(path, filelock.Exclusive)
	require.ErrorIs(t, err, filelock.ErrHeld, "one of two is left")
	require.NoError(t, two.Close())
	alone, err := filelock.Wait(t.Context(), path, filelock.Exclusive) // some other test's fork may have it for a moment
	require.NoError(t, err)
	filelock.Release(alone)

	_, err = filelock.Try(filepath.Join(path, "below a file"), filelock.Shared)
	var where *fs.PathError
	require.ErrorAs(t, err, &where)
	_, err = filelock.Wait(t.Context(), filepath.Join(t.TempDir(), "no folder", "lock"), filelock.Shared)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestAChildHasTheLockToo: closing leaves it to the child, releasing does not.
func TestAChildHasTheLockToo(t *testing.T) {
	t.Parallel()
	for _, released := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "lock")
		f, err := filelock.Try(path, filelock.Exclusive)
		require.NoError(t, err)
		child := exec.CommandContext(t.Context(), "sleep", "600")
		child.ExtraFiles = []*os.File{f}
		require.NoError(t, child.Start())
		if released {
			filelock.Release(f)
		} else {
			require.NoError(t, f.Close())
		}
		next, err := filelock.Try(path, filelock.Exclusive)
		if released {
			require.NoError(t, err)
			filelock.Release(next)
		} else {
			require.ErrorIs(t, err, filelock.ErrHeld)
		}
		require.NoError(t, child.Process.Kill())
		require.Error(t, child.Wait())
		next, err = filelock.Wait(t.Context(), path, filelock.Exclusive) // some other test's fork may have it for a moment
		require.NoError(t, err)
		filelock.Release(next)
	}
}
