package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// witness remembers the layers that were finished at a moment, and notices when one
// of them is written again. Provers rename finished layers into place, so a layer
// that was labelled anew is another file.
type witness struct {
	t    testing.TB
	seen map[string]os.FileInfo // nil once the layer was dropped
}

func (c *cluster) witness(r *jobs.Record) *witness {
	c.t.Helper()
	w := &witness{t: c.t, seen: map[string]os.FileInfo{}}
	for _, name := range jobs.LayerFiles(r.Proof) {
		found, err := filepath.Glob(filepath.Join(c.dir, "*", "*", "cache", r.ID.String(), name))
		require.NoError(c.t, err)
		for _, file := range found {
			if info, err := os.Stat(file); err == nil {
				w.seen[file] = info
			}
		}
	}
	return w
}

// look fails the test when a layer was written again, over the first one or after
// it was dropped.
func (w *witness) look() {
	w.t.Helper()
	for file, was := range w.seen {
		is, err := os.Stat(file)
		if err != nil {
			require.ErrorIs(w.t, err, os.ErrNotExist)
			w.seen[file] = nil
			continue
		}
		require.NotNil(w.t, was, "%s is there again after it was dropped", file)
		require.True(w.t, os.SameFile(was, is) && was.ModTime().Equal(is.ModTime()), "%s was finished, and was made again", file)
	}
}
