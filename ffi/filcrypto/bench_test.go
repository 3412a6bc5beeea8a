//go:build filcrypto

package filcrypto_test

import (
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	ffi "github.com/filecoin-project/filecoin-ffi"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/ffi/native/groth16"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/internal/params"
	"github.com/lpseal/lpseal/jobs"
)

// BenchmarkTreeD takes a piece that fills a sector from its file to tree-d, with its CommP
// checked. The library writes the padded data and CommP first and builds the tree in phase
// 1 of pre-commit, from which the copy of the data and the layers, which are there, are
// taken off: what it does more.
func BenchmarkTreeD(b *testing.B) {
	for name, proof := range map[string]abi.RegisteredSealProof{
		"2KiB": abi.RegisteredSealProof_StackedDrg2KiBV1_1, "8MiB": abi.RegisteredSealProof_StackedDrg8MiBV1_1, "512MiB": abi.RegisteredSealProof_StackedDrg512MiBV1_1,
	} {
		b.Run(name, func(b *testing.B) {
			t := newTreeD(b, proof)
			b.Run("lpseal", func(b *testing.B) {
				var took time.Duration
				for b.Loop() {
					took += t.native(b)
				}
				b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/op")
			})
			b.Run("peer=filecoin-ffi", func(b *testing.B) {
				var took time.Duration
				for b.Loop() {
					took += t.library(b)
				}
				b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/op")
			})
		})
	}
}

// treeD is a piece in a file, and folders to seal it in.
type treeD struct {
	proof abi.RegisteredSealProof
	size  abi.PaddedPieceSize
	dir   string
	piece jobs.Piece
}

func newTreeD(b *testing.B, proof abi.RegisteredSealProof) treeD {
	size, err := proof.SectorSize()
	require.NoError(b, err)
	t := treeD{proof: proof, size: abi.PaddedPieceSize(size), dir: b.TempDir()}
	file, err := os.Create(t.path("piece"))
	require.NoError(b, err)
	defer file.Close()
	_, err = io.CopyN(file, rand.Reader, int64(t.size.Unpadded()))
	require.NoError(b, err)
	_, err = file.Seek(0, io.SeekStart)
	require.NoError(b, err)
	commP, err := ffi.GeneratePieceCIDFromFile(proof, file, t.size.Unpadded())
	require.NoError(b, err)
	t.piece = jobs.Piece{CID: commP, Size: t.size, RawSize: uint64(t.size.Unpadded())}

	// Layers that are as long as they must be are taken for finished.
	require.NoError(b, os.Mkdir(t.path("cache"), 0o755))
	for _, name := range jobs.LayerFiles(proof) {
		require.NoError(b, os.WriteFile(filepath.Join(t.path("cache"), name), nil, 0o600))
		require.NoError(b, os.Truncate(filepath.Join(t.path("cache"), name), int64(size)))
	}
	return t
}

func (t treeD) path(name string) string { return filepath.Join(t.dir, name) }

func (t treeD) native(b *testing.B) time.Duration {
	file, err := os.Open(t.path("piece"))
	require.NoError(b, err)
	defer file.Close()
	start := time.Now()
	commD, err := native.New(native.Options{}).TreeD(b.Context(), t.proof, t.path("cache"), []jobs.PieceReader{{Piece: t.piece, Reader: file}}, nil)
	took := time.Since(start)
	require.NoError(b, err)
	require.Equal(b, t.piece.CID.Hash(), commD.Hash())
	return took
}

func (t treeD) library(b *testing.B) time.Duration {
	file, err := os.Open(t.path("piece"))
	require.NoError(b, err)
	defer file.Close()
	staged, err := os.Create(t.path("staged"))
	require.NoError(b, err)
	defer staged.Close()
	_ = os.Remove(filepath.Join(t.path("cache"), jobs.TreeDFile))

	start := time.Now()
	_, commP, err := ffi.WriteWithoutAlignment(t.proof, file, t.size.Unpadded(), staged)
	took := time.Since(start)
	require.NoError(b, err)
	require.Equal(b, t.piece.CID, commP)

	sealed, err := os.Create(t.path("sealed"))
	require.NoError(b, err)
	defer sealed.Close()
	_, err = staged.Seek(0, io.SeekStart)
	require.NoError(b, err)
	start = time.Now()
	_, err = io.Copy(sealed, staged)
	took -= time.Since(start)
	require.NoError(b, err)
	start = time.Now()
	err = ffi.GenerateSDR(t.proof, t.path("cache"), [32]byte{1})
	took -= time.Since(start)
	require.NoError(b, err)

	pieces := []abi.PieceInfo{{Size: t.size, PieceCID: commP}}
	start = time.Now()
	_, err = ffi.SealPreCommitPhase1(t.proof, t.path("cache"), t.path("staged"), t.path("sealed"), 1, 1000, make([]byte, 32), pieces)
	took += time.Since(start)
	require.NoError(b, err)
	root, err := os.Open(filepath.Join(t.path("cache"), jobs.TreeDFile))
	require.NoError(b, err)
	defer root.Close()
	commD, err := commcid.CIDToPieceCommitmentV1(t.piece.CID)
	require.NoError(b, err)
	got := make([]byte, len(commD))
	_, err = root.ReadAt(got, 2*int64(t.size)-2*int64(len(commD)))
	require.NoError(b, err)
	require.Equal(b, commD, got)
	return took
}

// BenchmarkVerify verifies a real proof of a 2 KiB sector; BenchmarkVerifyBatch of
// ffi/native verifies many at a time.
func BenchmarkVerify(b *testing.B) {
	p := provesWithTestParameters(b)
	s, snark := provertest.Prove(b, p, "2k-data")
	key, ok := params.PoRepKey(size2KiB)
	require.True(b, ok)
	file, err := os.ReadFile(filepath.Join(string(parameters), key.Name))
	require.NoError(b, err)
	vk, err := groth16.ParseVerifyingKey(file)
	require.NoError(b, err)
	b.Run("lpseal", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, native.VerifyPoRep(vk, s, snark))
		}
	})
	b.Run("peer=filecoin-ffi", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, p.Verify(b.Context(), s, snark, nil))
		}
	})
}
