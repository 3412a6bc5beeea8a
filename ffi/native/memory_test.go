package native

import (
	"errors"
	"io"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

// TestMemory holds every stage to the table in the package's documentation, at 8 MiB
// and two threads, and that to what jobs declares for admission. It counts all that a stage allocates, which is no less than what it
// holds at any time, and so runs beside no other test.
func TestMemory(t *testing.T) {
	const mib, size, c1Size, threads = 1 << 20, 8 << 20, 210_000, 2
	v := provertest.Named(t, "8m-data")
	s, dir := v.Seal(t), t.TempDir()
	f := jobs.Folders{Cache: dir, Sealed: filepath.Join(dir, "sealed")}
	p := New(Options{Threads: threads, ParentCache: t.TempDir()})
	inMemory := New(Options{Threads: threads})
	inMemory.parents = "" // whatever the environment says
	pieces := v.Pieces()
	var c1 []byte
	for _, stage := range []struct {
		name string
		most uint64
		do   func() error
	}{
		{"tree_d", size/4096 + threads*mib + mib/4, func() error {
			_, err := p.TreeD(t.Context(), s.Proof, f.Cache, pieces, nil)
			return err
		}},
		{"the parent cache's file", (threads + 3) * mib, func() error {
			g, err := newReplica(s)
			require.NoError(t, err)
			c, err := g.graph().OpenCache(t.Context(), p.parents, threads)
			require.NoError(t, err)
			return c.Close()
		}},
		{"sdr with a parent cache", 2*size + 4*mib, func() error { return p.SDR(t.Context(), s, f.Cache, nil) }},
		{"sdr of two", 4*size + 8*mib, func() error {
			group := []jobs.SDRJob{{Ctx: t.Context(), Seal: s, Cache: t.TempDir()}, {Ctx: t.Context(), Seal: s, Cache: t.TempDir()}}
			return errors.Join(p.SDRTogether(t.Context(), group)...)
		}},
		{"sdr without", 2*size + size*7/4 + mib, func() error { return inMemory.SDR(t.Context(), s, t.TempDir(), nil) }},
		{"tree_rc", threads*(2+7)*mib/8 + size/2048 + mib, func() error {
			_, err := p.TreeRC(t.Context(), s, f, nil)
			return err
		}},
		{"c1", 30 * c1Size, func() (err error) {
			c1, err = p.C1(t.Context(), s, f)
			return err
		}},
		{"verify", 16 * c1Size, func() error { return VerifyVanilla(s, c1) }},
		{"unseal", 2*size + 8*mib, func() error {
			return p.Unseal(t.Context(), s, f.Sealed, "", 100, 1000, io.Discard, nil)
		}},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		require.NoError(t, stage.do(), stage.name)
		runtime.ReadMemStats(&after)
		used := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %.2f MiB of %.2f", stage.name, float64(used)/mib, float64(stage.most)/mib)
		require.LessOrEqual(t, used, stage.most, stage.name)
	}
	require.InDelta(t, c1Size, len(c1), 5000)
	for stage, most := range map[jobs.Stage]uint64{
		jobs.TreeD: size/4096 + threads*mib + mib/4, jobs.SDR: 2*size + size*7/4 + mib,
		jobs.TreeRC: threads*(2+7)*mib/8 + size/2048 + mib, jobs.C1: 30 * c1Size,
	} {
		require.GreaterOrEqual(t, jobs.NeedOf(stage, s.Proof, jobs.NativeProver, threads, false).Memory, most, "%s", stage)
	}
}
