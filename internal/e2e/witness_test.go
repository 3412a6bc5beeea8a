package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
)

// witness remembers the layers and trees that were finished at a moment, and notices
// when one of them is written again. Provers rename finished files into place, so
// what was made anew is another file.
type witness struct {
	t    testing.TB
	seen map[string]os.FileInfo // nil once the file was removed
}

// witness looks at a sector just after a crash. A layer is finished when it is there;
// trees are when their stage has told so, in the record or in its result.
func (c *cluster) witness(k crashCase, r *jobs.Record) *witness {
	c.t.Helper()
	told := func(s jobs.Stage) bool {
		return r.Stage(s).State == jobs.Done || k.row.Stage == s && k.role == crash.Worker && k.point == crash.AfterRename
	}
	names := jobs.LayerFiles(r.Proof)
	if told(jobs.TreeD) {
		names = append(names, jobs.TreeDFile)
	}
	if told(jobs.TreeRC) {
		names = append(append(names, jobs.TreeCFiles(r.Proof)...), jobs.LastingFiles(r.Proof)...)
	}
	w := &witness{t: c.t, seen: map[string]os.FileInfo{}}
	for _, name := range names {
		found, err := filepath.Glob(filepath.Join(c.dir, "h1", "seal*", "cache", r.ID.String(), name))
		require.NoError(c.t, err)
		for _, file := range found {
			if info, err := os.Stat(file); err == nil {
				w.seen[file] = info
			}
		}
	}
	return w
}

// look fails the test when a file was written again, over the first one or after it
// was removed.
func (w *witness) look() {
	w.t.Helper()
	for file, was := range w.seen {
		is, err := os.Stat(file)
		if err != nil {
			require.ErrorIs(w.t, err, os.ErrNotExist)
			w.seen[file] = nil
			continue
		}
		require.NotNil(w.t, was, "%s is there again after it was removed", file)
		require.True(w.t, os.SameFile(was, is) && was.ModTime().Equal(is.ModTime()), "%s was finished, and was made again", file)
	}
}
