package figures

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

const (
	ffi    = "filcrypto"
	small  = abi.RegisteredSealProof_StackedDrg2KiBV1_1
	middle = abi.RegisteredSealProof_StackedDrg8MiBV1_1
	large  = abi.RegisteredSealProof_StackedDrg512MiBV1_1
	whole  = abi.RegisteredSealProof_StackedDrg32GiBV1_1
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func measured(s jobs.Stage, prover string, proof abi.RegisteredSealProof, threads int, ns int64) Figure {
	return Figure{Stage: s, Prover: prover, Proof: proof, Threads: threads, NS: ns, Build: prover + " 1", CPU: "Zen", At: at}
}

func both(s jobs.Stage, proof abi.RegisteredSealProof, threads int, native, other int64) []Figure {
	return []Figure{measured(s, jobs.NativeProver, proof, threads, native), measured(s, ffi, proof, threads, other)}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	two := map[string]string{jobs.NativeProver: "native 1", ffi: "filcrypto 1"}
	for name, c := range map[string]struct {
		q      Question
		prover string
		why    string
	}{
		"one prover":         {Question{Stage: jobs.C2, Builds: map[string]string{jobs.NativeProver: "native 1"}}, jobs.NativeProver, "only prover"},
		"c2":                 {Question{Stage: jobs.C2, Figures: both(jobs.C2, whole, 4, 1, 2)}, ffi, "SNARKs only"},
		"c2, embedded":       {Question{Stage: jobs.C2, Embedded: true}, jobs.NativeProver, "embedded"},
		"tree_d":             {Question{Stage: jobs.TreeD, Figures: both(jobs.TreeD, whole, 4, 2, 1)}, jobs.NativeProver, "no data tree"},
		"not measured":       {Question{Stage: jobs.SDR, Figures: both(jobs.TreeRC, whole, 4, 1, 2)}, ffi, "not measured: lpseal bench seal --backend native, and filcrypto, measure"},
		"native is faster":   {Question{Stage: jobs.TreeRC, Figures: both(jobs.TreeRC, whole, 4, 1_662_000_000, 5_057_000_000)}, jobs.NativeProver, "faster: 1.662s against 5.057s of filcrypto at 32 GiB with 4 threads, measured 2026-01-02"},
		"the other is":       {Question{Stage: jobs.SDR, Figures: both(jobs.SDR, whole, 4, 3e9, 2e9)}, ffi, "faster: 2s against 3s of native"},
		"equal":              {Question{Stage: jobs.SDR, Figures: both(jobs.SDR, whole, 4, 2, 2)}, jobs.NativeProver, "faster"},
		"one was measured":   {Question{Stage: jobs.SDR, Figures: both(jobs.SDR, whole, 4, 2, 3)[:1]}, ffi, "of one prover only"},
		"at different sizes": {Question{Stage: jobs.SDR, Figures: append(both(jobs.SDR, whole, 4, 2, 3)[:1], both(jobs.SDR, small, 4, 2, 3)[1:]...)}, ffi, "of one prover only"},
		"the sector's size":  {Question{Stage: jobs.SDR, Proof: middle, Figures: append(both(jobs.SDR, large, 4, 1, 2), both(jobs.SDR, middle, 4, 2e9, 1e9)...)}, ffi, "at 8 MiB"},
		"else the largest":   {Question{Stage: jobs.SDR, Figures: append(both(jobs.SDR, small, 4, 2, 1), both(jobs.SDR, large, 4, 1, 2)...)}, jobs.NativeProver, "at 512 MiB"},
		"a size not known":   {Question{Stage: jobs.SDR, Proof: -1, Figures: append(both(jobs.SDR, small, 4, 2, 1), both(jobs.SDR, large, 4, 1, 2)...)}, jobs.NativeProver, "at 512 MiB"},
		"the lane's threads": {Question{Stage: jobs.SDR, Figures: append(both(jobs.SDR, large, 1, 1, 2), both(jobs.SDR, large, 4, 2, 1)...)}, ffi, "with 4 threads"},
		"size before them":   {Question{Stage: jobs.SDR, Figures: append(both(jobs.SDR, whole, 1, 1, 2), both(jobs.SDR, large, 4, 2, 1)...)}, jobs.NativeProver, "with 1 thread,"},
	} {
		if c.q.Builds == nil {
			c.q.Builds = two
		}
		if c.q.Proof == 0 {
			c.q.Proof = whole
		}
		c.q.Threads, c.q.CPU = 4, "Zen"
		got := Choose(c.q)
		require.Equal(t, c.prover, got.Prover, "%s: %s", name, got.Why)
		require.Contains(t, got.Why, c.why, name)
		require.Equal(t, c.q.Stage, got.Stage)
	}
}

// TestStaleFiguresDoNotCount changes the program, its library and the CPU.
func TestStaleFiguresDoNotCount(t *testing.T) {
	t.Parallel()
	fresh := func() Question {
		return Question{
			Stage: jobs.TreeRC, Proof: whole, Threads: 4, CPU: "Zen", Figures: both(jobs.TreeRC, whole, 4, 1, 2),
			Builds: map[string]string{jobs.NativeProver: "native 1", ffi: "filcrypto 1"},
		}
	}
	require.Equal(t, jobs.NativeProver, Choose(fresh()).Prover)
	for name, change := range map[string]func(*Question){
		"another CPU":     func(q *Question) { q.CPU = "Ice Lake" },
		"another program": func(q *Question) { q.Builds[jobs.NativeProver] = "native 2" },
		"another library": func(q *Question) { q.Builds[ffi] = "filcrypto 2" },
		"no time":         func(q *Question) { q.Figures[1].NS = 0 },
	} {
		q := fresh()
		change(&q)
		got := Choose(q)
		require.Equal(t, ffi, got.Prover, name)
		require.Contains(t, got.Why, "another program or CPU", name)
	}
}

func TestSaveReplacesAndKeeps(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	none, err := Load(dir)
	require.NoError(t, err)
	require.Empty(t, none)
	old := both(jobs.SDR, small, 4, 1, 2)
	require.NoError(t, Save(t.Context(), dir, old...))
	newer := measured(jobs.SDR, ffi, small, 4, 3)
	newer.Build = "filcrypto 2"
	more := measured(jobs.SDR, ffi, small, 1, 9)
	require.NoError(t, Save(t.Context(), dir, newer, more))
	got, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, []Figure{old[0], newer, more}, got)

	require.NoError(t, os.WriteFile(File(dir), []byte("{"), 0o644))
	_, err = Load(dir)
	require.ErrorContains(t, err, "remove "+File(dir))
	require.ErrorContains(t, Save(t.Context(), dir, newer), "remove "+File(dir))
}

func TestSaveAtOnceKeepsAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var saving sync.WaitGroup
	for i := range 8 {
		saving.Go(func() {
			f := measured(jobs.SDR, ffi, small, i, 1)
			f.Build = strconv.Itoa(i)
			require.NoError(t, Save(t.Context(), dir, f))
		})
	}
	saving.Wait()
	got, err := Load(dir)
	require.NoError(t, err)
	require.Len(t, got, 8)
}
