package filcrypto

import (
	"encoding/json"
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/klauspost/cpuid/v2"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

// TestPhase1Output holds the form; that the library writes the same is tested with
// the library.
func TestPhase1Output(t *testing.T) {
	t.Parallel()
	s := provertest.Named(t, "2k-cc").Seal(t)
	got, err := phase1(s, "/c")
	require.NoError(t, err)
	require.JSONEq(t, `{
		"registered_proof": "StackedDrg2KiBV1_1",
		"labels": {"StackedDrg2KiBV1": {"labels": [
			{"path": "/c", "id": "layer-1", "size": 64, "rows_to_discard": 0},
			{"path": "/c", "id": "layer-2", "size": 64, "rows_to_discard": 0}], "_h": null}},
		"config": {"path": "/c", "id": "tree-d", "size": 127, "rows_to_discard": 0},
		"comm_d": [252,126,146,130,150,229,22,250,173,233,134,178,143,146,212,74,79,36,185,53,72,82,35,55,106,121,144,39,188,24,248,51]
	}`, string(got))

	s.Proof = 8
	got, err = phase1(s, "/c")
	require.NoError(t, err)
	var out struct {
		Labels map[string]struct{ Labels []any }
	}
	require.NoError(t, json.Unmarshal(got, &out))
	require.Len(t, out.Labels["StackedDrg32GiBV1"].Labels, 11)
}

// TestFaultsByTheLibrarysWords has texts as the library returns them.
func TestFaultsByTheLibrarysWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]jobs.FaultClass{
		"No space left on device (os error 28)": jobs.Busy,
		"No cached parameters found for stacked-proof-of-replication-merkletree-… [failure finding /var/tmp/…/v28-stacked….params]": jobs.Busy,
		"Invalid Parameters: invalid parameters file":                                              jobs.Busy,
		"failed to write layer data: File too large (os error 27)":                                 jobs.Busy,
		"could not mmap path=x: Cannot allocate memory (os error 12)":                              jobs.Busy,
		"EC GPU error: EcError: No working GPUs found!":                                            jobs.Busy,
		"Encountered a GPU Error: GPU accelerator is disabled!":                                    jobs.Busy,
		"GPU tools error: Cuda Error: OutOfMemory":                                                 jobs.Busy,
		"OpenCL Error: Platform not found.":                                                        jobs.Busy,
		"could not open /seal/gpu0/cache/s-t01000-1/p_aux: No such file or directory (os error 2)": jobs.Transient,
		"Invalid vanilla proof generated":                                                          jobs.Input,
		"expected value at line 1 column 1":                                                        jobs.Input,
		"EOF while parsing a string at line 1 column 50000":                                        jobs.Input,
		"Rust panic: index out of bounds":                                                          jobs.Transient,
	} {
		f, ok := jobs.Classify(t.Context(), fault(errors.New(text), jobs.Transient))
		require.True(t, ok)
		require.Equal(t, want, f.Class, text)
		require.Contains(t, f.Text, text)
	}
	f, _ := jobs.Classify(t.Context(), fault(errors.New("it broke\n\nCaused by:\n    disk\n\nStack backtrace:\n   0: <unknown>"), jobs.Transient))
	require.Equal(t, "it broke\n\nCaused by:\n    disk", f.Text, "addresses tell nobody anything")
	require.NoError(t, fault(nil, jobs.Bug))
	mine := jobs.Failf(jobs.Data, "no space left on device")
	require.Same(t, mine, fault(mine, jobs.Bug), "a fault keeps its class")
}

func TestFileFaults(t *testing.T) {
	t.Parallel()
	f, _ := jobs.Classify(t.Context(), fileFault(fs.ErrNotExist))
	require.Equal(t, jobs.Input, f.Class)
	require.True(t, f.Missing)
	f, _ = jobs.Classify(t.Context(), fileFault(syscall.EINVAL))
	require.Equal(t, jobs.Transient, f.Class)
	require.NoError(t, fileFault(nil))
}

func TestLibraryForAnotherCPU(t *testing.T) {
	t.Parallel()
	all := func(cpuid.FeatureID) bool { return true }
	require.NoError(t, runsHere("adx,sha,sse2,avx2,avx,sse4.2,sse4.1", all))
	require.NoError(t, runsHere("", all))
	require.ErrorContains(t, runsHere("sha,avx512bw", all), "no avx512bw")
	err := runsHere("adx,sha", func(f cpuid.FeatureID) bool { return f != cpuid.SHA })
	require.EqualError(t, err, "libfilcrypto was built for another CPU: this one has no sha: run make ffi on this machine and build again")
}

func TestEnvironmentShowsWhatTheLibraryReads(t *testing.T) {
	t.Setenv("FIL_PROOFS_USE_MULTICORE_SDR", "1")
	t.Setenv("LPSEAL_SECRET", "x")
	require.Contains(t, Environment(), "FIL_PROOFS_USE_MULTICORE_SDR=1")
	require.NotContains(t, Environment(), "LPSEAL_SECRET=x")
}
