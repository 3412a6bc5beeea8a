package durable_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/durable"
)

// TestRename: whether it survives a power cut is for the kernel; that it is done, and
// what is said when it is not, for this.
func TestRename(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "new"), filepath.Join(dir, "name")
	require.NoError(t, os.WriteFile(to, []byte("old"), 0o600))
	require.ErrorIs(t, durable.Rename(from, to), fs.ErrNotExist)
	require.NoError(t, os.WriteFile(from, []byte("new"), 0o600))
	require.NoError(t, durable.Rename(from, to))
	got, err := os.ReadFile(to)
	require.NoError(t, err)
	require.Equal(t, "new", string(got))
	require.NoFileExists(t, from)

	require.NoError(t, durable.Dir(dir))
	require.ErrorIs(t, durable.Dir(filepath.Join(dir, "none")), fs.ErrNotExist)
}
