package native

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/internal/memory"
	"github.com/lpseal/lpseal/jobs"
)

// sectorsOf makes jobs of vectors, each with a folder of its own.
func sectorsOf(t *testing.T, names ...string) (vectors []provertest.Vector, group []jobs.SDRJob) {
	for _, name := range names {
		v := provertest.Named(t, name)
		vectors = append(vectors, v)
		group = append(group, jobs.SDRJob{Ctx: t.Context(), Seal: v.Seal(t), Cache: t.TempDir()})
	}
	return vectors, group
}

// requireLayers checks a sector's layers, and that nothing else is left beside them.
func requireLayers(t *testing.T, v provertest.Vector, dir string) {
	t.Helper()
	for layer := 1; layer <= 2; layer++ {
		b, err := os.ReadFile(filepath.Join(dir, jobs.LayerFile(layer)))
		require.NoError(t, err)
		require.Equal(t, v.Files[jobs.LayerFile(layer)], digest(b), "%s layer %d", v.Name, layer)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2)
}

// TestLockstep labels two sectors, and more than fit side by side, as each alone.
func TestLockstep(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{"2k-data", "2k-cc"}, {"8m-data", "8m-cc"}, {"2k-cc", "2k-data", "2k-cc"}} {
		vectors, group := sectorsOf(t, names...)
		for i, err := range New(Options{Threads: 2}).SDRTogether(t.Context(), group) {
			require.NoError(t, err)
			requireLayers(t, vectors[i], group[i].Cache)
		}
	}
}

// TestLockstepGoesOnWhereEachSectorWas has one sector behind the other, which is levelled
// first, and one that was finished.
func TestLockstepGoesOnWhereEachSectorWas(t *testing.T) {
	t.Parallel()
	p := New(Options{Threads: 1})
	for _, ahead := range []int{0, 1} {
		vectors, group := sectorsOf(t, "2k-data", "2k-cc")
		s := group[ahead].Seal
		require.NoError(t, p.SDR(t.Context(), s, group[ahead].Cache, nil))
		require.NoError(t, os.Remove(filepath.Join(group[ahead].Cache, jobs.LayerFile(2))))
		steps := map[int][]string{}
		for i := range group {
			group[i].Report = func(p jobs.Progress) { steps[i] = append(steps[i], p.Step) }
		}
		for i, err := range p.SDRTogether(t.Context(), group) {
			require.NoError(t, err)
			requireLayers(t, vectors[i], group[i].Cache)
		}
		require.Equal(t, []string{"layer 2/2"}, steps[ahead])
		require.Equal(t, []string{"layer 1/2", "layer 2/2"}, steps[1-ahead])

		require.NoError(t, os.Remove(filepath.Join(group[ahead].Cache, jobs.LayerFile(2))))
		clear(steps)
		for i, err := range p.SDRTogether(t.Context(), group) {
			require.NoError(t, err)
			requireLayers(t, vectors[i], group[i].Cache)
		}
		require.Empty(t, steps[1-ahead], "it was finished")
	}
}

// TestLockstepLosesOneSector ends one sector in each of its layers, by its own context and
// by its disk, and has the other finish.
func TestLockstepLosesOneSector(t *testing.T) {
	t.Parallel()
	for _, layer := range []int{1, 2} {
		vectors, group := sectorsOf(t, "8m-data", "8m-cc")
		own, cancel := context.WithCancel(t.Context())
		step := map[int]string{1: "layer 1/2", 2: "layer 2/2"}[layer]
		group[0].Ctx, group[0].Report = own, func(p jobs.Progress) {
			if p.Step == step {
				cancel()
			}
		}
		told := make([]error, 2)
		aliveThen := false
		group[0].Done = func(err error) {
			told[0] = err
			left, err := os.ReadDir(group[0].Cache)
			require.NoError(t, err)
			require.Len(t, left, layer-1, "it has let go of its files")
			aliveThen = told[1] == nil
		}
		group[1].Done = func(err error) { told[1] = errors.Join(err, errors.New("told")) }
		errs := New(Options{Threads: 2}).SDRTogether(t.Context(), group)
		require.ErrorIs(t, errs[0], context.Canceled)
		require.Equal(t, errs[0], told[0])
		require.EqualError(t, told[1], "told")
		require.True(t, aliveThen, "the first heard of its end before the other ended")
		require.ErrorContains(t, errs[0], "sdr "+group[0].Seal.ID.String())
		require.NoFileExists(t, filepath.Join(group[0].Cache, jobs.LayerFile(layer)))
		require.NoError(t, errs[1])
		requireLayers(t, vectors[1], group[1].Cache)

		vectors, group = sectorsOf(t, "2k-data", "2k-cc")
		require.NoError(t, os.Mkdir(filepath.Join(group[1].Cache, jobs.LayerFile(layer)+".tmp"), 0o755))
		errs = New(Options{Threads: 2}).SDRTogether(t.Context(), group)
		require.NoError(t, errs[0])
		requireLayers(t, vectors[0], group[0].Cache)
		fault, ok := jobs.Classify(t.Context(), errs[1])
		require.True(t, ok)
		require.Equal(t, jobs.Transient, fault.Class)
		require.Contains(t, fault.Text, "is a directory")
	}
}

func TestLockstepStopsWithItsContext(t *testing.T) {
	t.Parallel()
	_, group := sectorsOf(t, "8m-data", "8m-cc")
	ctx, cancel := context.WithCancel(t.Context())
	group[0].Report = func(jobs.Progress) { cancel() }
	for i, err := range New(Options{}).SDRTogether(ctx, group) {
		require.ErrorIs(t, err, context.Canceled)
		left, err := os.ReadDir(group[i].Cache)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// TestLockstepOfWhatDoesNotMatch has a sector that cannot be sealed beside a good one, and
// two of different graphs.
func TestLockstepOfWhatDoesNotMatch(t *testing.T) {
	t.Parallel()
	vectors, group := sectorsOf(t, "2k-data", "2k-cc")
	group[1].Seal.Ticket = nil
	errs := New(Options{}).SDRTogether(t.Context(), group)
	require.NoError(t, errs[0])
	requireLayers(t, vectors[0], group[0].Cache)
	require.ErrorContains(t, errs[1], "ticket")

	_, group = sectorsOf(t, "2k-data", "8m-cc")
	for _, err := range New(Options{}).SDRTogether(t.Context(), group) {
		require.ErrorContains(t, err, "different graphs")
		fault, ok := jobs.Classify(t.Context(), err)
		require.True(t, ok)
		require.Equal(t, jobs.Bug, fault.Class)
	}
}

// TestSectorsWithoutMemory asks for more than any machine has.
func TestSectorsWithoutMemory(t *testing.T) {
	t.Parallel()
	require.NoError(t, checkMemory(0))
	if _, known := memory.Available(); !known {
		t.Log("this system does not say what memory is available")
		return
	}
	fault, ok := jobs.Classify(t.Context(), checkMemory(1<<60))
	require.True(t, ok)
	require.Equal(t, jobs.Busy, fault.Class)
	require.Regexp(t, `needs 1\.0 EiB of memory and \S+ \S+ are available`, fault.Text)
}
