package native

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

// TestSDRKeepsFinishedLayers resumes behind the last whole layer.
func TestSDRKeepsFinishedLayers(t *testing.T) {
	t.Parallel()
	v := provertest.Named(t, "2k-data")
	p, s, dir := New(Options{Threads: 1}), v.Seal(t), t.TempDir()
	first, second := filepath.Join(dir, jobs.LayerFile(1)), filepath.Join(dir, jobs.LayerFile(2))
	steps := func() (steps []string) {
		require.NoError(t, p.SDR(t.Context(), s, dir, func(p jobs.Progress) { steps = append(steps, p.Step) }))
		for i, path := range []string{first, second} {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, v.Files[jobs.LayerFile(i+1)], digest(b))
		}
		return steps
	}
	require.Equal(t, []string{"layer 1/2", "layer 2/2"}, steps())
	require.Empty(t, steps(), "both are there")

	old := time.Unix(1e9, 0)
	require.NoError(t, os.Chtimes(first, old, old))
	require.NoError(t, os.Remove(second))
	require.Equal(t, []string{"layer 2/2"}, steps())
	info, err := os.Stat(first)
	require.NoError(t, err)
	require.Equal(t, old, info.ModTime(), "layer 1 was not written again")

	require.NoError(t, os.Truncate(first, 100))
	require.Equal(t, []string{"layer 1/2", "layer 2/2"}, steps(), "a layer that was cut is made again, and all above it")
}

// TestSDRReadsAParentCache makes the same layers from a cache file, which it writes,
// mends and otherwise leaves alone.
func TestSDRReadsAParentCache(t *testing.T) {
	t.Parallel()
	v, folder := provertest.Named(t, "2k-data"), filepath.Join(t.TempDir(), "parents")
	p := New(Options{Threads: 1, ParentCache: folder})
	file := filepath.Join(folder, "v28-sdr-parent-494d91dc80f2df5272c4b9e129bc7ade9405225993af9fe34e6542a39a47554b.cache")
	for _, before := range []func() error{
		func() error { return nil },
		func() error { return nil },
		func() error { return os.WriteFile(file, make([]byte, 64*56), 0o600) },
	} {
		require.NoError(t, before())
		dir := t.TempDir()
		require.NoError(t, p.SDR(t.Context(), v.Seal(t), dir, nil))
		for layer := 1; layer <= 2; layer++ {
			b, err := os.ReadFile(filepath.Join(dir, jobs.LayerFile(layer)))
			require.NoError(t, err)
			require.Equal(t, v.Files[jobs.LayerFile(layer)], digest(b))
		}
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, "840057702eea7652cf97e04306c30fe57174714d90de156a25eddd6075c25b97", digest(b))
	}

	p = New(Options{ParentCache: filepath.Join(file, "folder")})
	err := p.SDR(t.Context(), v.Seal(t), t.TempDir(), nil)
	require.ErrorContains(t, err, "sdr s-t01000-2: parent cache: ")
	fault, ok := jobs.Classify(t.Context(), err)
	require.True(t, ok)
	require.Equal(t, jobs.Transient, fault.Class)
}

func TestSDRStopsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	err := New(Options{}).SDR(ctx, provertest.Named(t, "8m-cc").Seal(t), dir, func(jobs.Progress) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestSealsThatCannotBe(t *testing.T) {
	t.Parallel()
	p, good := New(Options{}), provertest.Named(t, "2k-cc").Seal(t)
	for what, c := range map[string]struct {
		change func(*jobs.Seal)
		class  jobs.FaultClass
		text   string
	}{
		"non-interactive": {func(s *jobs.Seal) { s.Proof = 15 }, jobs.Rejected, "non-interactive"},
		"unknown proof":   {func(s *jobs.Seal) { s.Proof = 99 }, jobs.Rejected, "seal proof 99"},
		"negative proof":  {func(s *jobs.Seal) { s.Proof = -1 }, jobs.Rejected, "seal proof -1"},
		"short ticket":    {func(s *jobs.Seal) { s.Ticket = s.Ticket[1:] }, jobs.Bug, "ticket"},
		"zero ticket":     {func(s *jobs.Seal) { s.Ticket = make([]byte, 32) }, jobs.Bug, "ticket"},
		"CommR for CommD": {func(s *jobs.Seal) { s.CommD = s.CommR }, jobs.Bug, "CommD"},
	} {
		s := good
		c.change(&s)
		err := p.SDR(t.Context(), s, t.TempDir(), nil)
		require.ErrorContains(t, err, "sdr s-t01000-1: ", what)
		require.ErrorContains(t, err, c.text, what)
		fault, ok := jobs.Classify(t.Context(), err)
		require.True(t, ok)
		require.Equal(t, c.class, fault.Class, what)
	}
}
