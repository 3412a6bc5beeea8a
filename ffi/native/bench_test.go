package native

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/filecoin-project/go-commp-utils/v2"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/native/groth16"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

// BenchmarkCommP8MiB commits to a piece that fills an 8 MiB sector: TreeD, which
// writes the tree as well, and the library that Filecoin's tools use. Both use all
// processors, the library one for each level of the tree.
func BenchmarkCommP8MiB(b *testing.B) {
	const proof, size = abi.RegisteredSealProof_StackedDrg8MiBV1_1, abi.PaddedPieceSize(8 << 20)
	data := bytes.Repeat([]byte("lpseal "), int(size.Unpadded())/7+1)[:size.Unpadded()]
	want, err := commp.GeneratePieceCIDFromFile(proof, bytes.NewReader(data), size.Unpadded())
	require.NoError(b, err)
	b.Run("lpseal", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		p := New(Options{})
		for b.Loop() {
			piece := jobs.PieceReader{Piece: jobs.Piece{CID: want, Size: size, RawSize: uint64(len(data))}, Reader: bytes.NewReader(data)}
			got, err := p.TreeD(b.Context(), proof, b.TempDir(), []jobs.PieceReader{piece}, nil)
			require.NoError(b, err)
			require.Equal(b, want, got)
		}
	})
	b.Run("peer=go-commp-utils", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			_, err := commp.GeneratePieceCIDFromFile(proof, bytes.NewReader(data), size.Unpadded())
			require.NoError(b, err)
		}
	})
}

// BenchmarkVerifyBatch verifies proofs of 2 KiB sectors one at a time and ten in one
// combined check, their public inputs derived each time.
func BenchmarkVerifyBatch(b *testing.B) {
	vectors := loadPorep(b)
	vk, err := groth16.ParseVerifyingKey(vectors.key(b))
	require.NoError(b, err)
	seal := vectors.Cases[0].Seal(b)
	proof, err := hex.DecodeString(vectors.Cases[0].Groth16)
	require.NoError(b, err)
	for _, proofs := range []int{1, 10} {
		b.Run(fmt.Sprintf("proofs=%d", proofs), func(b *testing.B) {
			for b.Loop() {
				var inputs [][]fr.Element
				for range proofs {
					r, err := newReplica(seal)
					require.NoError(b, err)
					commR, err := replicaCommitment(seal.CommR)
					require.NoError(b, err)
					in, err := r.publicInputs(node(seal.Seed), commR)
					require.NoError(b, err)
					inputs = append(inputs, in...)
				}
				require.NoError(b, vk.Verify(bytes.Repeat(proof, proofs), inputs...))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*proofs), "ns/proof")
		})
	}
}

// BenchmarkC1 opens the challenges of an 8 MiB sector and checks what it opened.
func BenchmarkC1(b *testing.B) {
	p, s, f := sealed(b, provertest.Named(b, "8m-data"))
	for b.Loop() {
		_, err := p.C1(b.Context(), s, f)
		require.NoError(b, err)
	}
}
