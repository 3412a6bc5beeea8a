package native

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

// TestFullDiskIsBusy writes each output to /dev/full in turn: no error may be lost or
// hang a goroutine, and a full disk costs no attempt.
func TestFullDiskIsBusy(t *testing.T) {
	t.Parallel()
	v := provertest.Named(t, "8m-data")
	p, s := New(Options{Threads: 4}), v.Seal(t)
	full := func(path string) { require.NoError(t, os.Symlink("/dev/full", path+".tmp")) }
	busy := func(err error) {
		fault, ok := jobs.Classify(t.Context(), err)
		require.True(t, ok)
		require.Equal(t, jobs.Busy, fault.Class, "%v", err)
		require.Contains(t, fault.Text, "no space left on device")
	}

	dir := t.TempDir()
	full(filepath.Join(dir, jobs.TreeDFile))
	_, err := p.TreeD(t.Context(), s.Proof, dir, v.Pieces(), nil)
	busy(err)

	small := provertest.Named(t, "2k-data")
	p, s, f := sealed(t, small)
	require.NoError(t, os.Remove(filepath.Join(f.Cache, jobs.LayerFile(2))))
	full(filepath.Join(f.Cache, jobs.LayerFile(2)))
	busy(p.SDR(t.Context(), s, f.Cache, nil))
	require.NoFileExists(t, filepath.Join(f.Cache, jobs.LayerFile(2)))
	require.NoError(t, p.SDR(t.Context(), s, f.Cache, nil))

	for _, path := range []string{filepath.Join(f.Cache, treeCFile), filepath.Join(f.Cache, treeRFile), f.Sealed, filepath.Join(f.Cache, jobs.PAuxFile), filepath.Join(f.Cache, jobs.TAuxFile)} {
		full(path)
		_, err := p.TreeRC(t.Context(), s, f, nil)
		busy(err)
		_, err = os.Lstat(path + ".tmp")
		require.ErrorIs(t, err, os.ErrNotExist, "nothing is left beside %s", path)
	}
}
