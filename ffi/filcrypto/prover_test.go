//go:build filcrypto

package filcrypto_test

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	ffi "github.com/filecoin-project/filecoin-ffi"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/ffi/filcrypto"
	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

func newProver(t testing.TB) *filcrypto.Prover {
	p, err := filcrypto.New(filcrypto.Options{})
	require.NoError(t, err)
	return p
}

// TestConformance runs the suite that every prover passes.
func TestConformance(t *testing.T) {
	t.Parallel()
	p := newProver(t)
	t.Run("seal", func(t *testing.T) { t.Parallel(); provertest.Seal(t, p) })
	t.Run("bad input", func(t *testing.T) { t.Parallel(); provertest.BadInput(t, p) })
}

// TestHalfByEach seals by both backends in turns, and unseals crosswise.
func TestHalfByEach(t *testing.T) {
	t.Parallel()
	provertest.Mixed(t, newProver(t), native.New(native.Options{Threads: 2}))
}

func TestUnsealedCIDIsTheSame(t *testing.T) {
	t.Parallel()
	for _, v := range provertest.Vectors(t) {
		got, err := filcrypto.UnsealedCID(v.Proof, []abi.PieceInfo{{Size: abi.PaddedPieceSize(v.Size), PieceCID: v.Seal(t).CommD}})
		require.NoError(t, err)
		want, err := jobs.CommD(v.Proof, nil)
		if v.DataSeed == "" {
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		require.Equal(t, v.CommD, got.String())
	}
}

// brokenWriter takes some bytes and no more.
type brokenWriter struct{ left int }

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left < len(p) {
		return 0, io.ErrClosedPipe
	}
	w.left -= len(p)
	return len(p), nil
}

// TestUnsealEndsWithItsWriter breaks the reader of a sector larger than a pipe holds:
// the library must neither hang nor kill the process.
func TestUnsealEndsWithItsWriter(t *testing.T) {
	t.Parallel()
	p, v := newProver(t), provertest.Named(t, "8m-data")
	s, f := provertest.Sealed(t, native.New(native.Options{}), p, v)
	err := p.Unseal(t.Context(), s, f.Sealed, t.TempDir(), 0, uint64(len(v.Data())), &brokenWriter{100 << 10}, nil)
	require.ErrorContains(t, err, "write data: transient: io: read/write on closed pipe")
}

// TestClearCacheLeavesWhatLasts: what a finalized sector keeps of its cache here is what
// the library's own ClearCache keeps, so that whoever proves it finds what it expects.
func TestClearCacheLeavesWhatLasts(t *testing.T) {
	t.Parallel()
	p, v := newProver(t), provertest.Named(t, "2k-data")
	_, f := provertest.Sealed(t, p, p, v)
	require.NoError(t, ffi.ClearCache(f.Cache))
	left, err := os.ReadDir(f.Cache)
	require.NoError(t, err)
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	require.ElementsMatch(t, jobs.LastingFiles(v.Proof), names)
}

func TestReportsLayers(t *testing.T) {
	t.Parallel()
	p, v := newProver(t), provertest.Named(t, "2k-cc")
	var last jobs.Progress
	require.NoError(t, p.SDR(t.Context(), v.Seal(t), t.TempDir(), func(p jobs.Progress) { last = p }))
	require.Equal(t, jobs.Progress{Step: "layer 2/2", Done: 4096, Total: 4096}, last)
}

func TestBuildIsNamed(t *testing.T) {
	t.Parallel()
	key, gpu := filcrypto.Build()
	require.Contains(t, key, "v1.36.1")
	require.Contains(t, []string{"cuda", "opencl", "none"}, gpu)
	gpus, err := filcrypto.GPUs()
	require.NoError(t, err)
	if gpu == "none" {
		require.Empty(t, gpus)
	}
}
