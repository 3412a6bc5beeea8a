package poseidon

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"
)

var arities = []int{2, 4, 8, 11}

// TestKnownAnswers checks both forms of the hash against neptune's digests of
// 0, 1, …, arity-1.
func TestKnownAnswers(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/seal-parts.json")
	require.NoError(t, err)
	var parts struct{ Poseidon map[string]string }
	require.NoError(t, json.Unmarshal(raw, &parts))

	for _, arity := range arities {
		want, err := hex.DecodeString(parts.Poseidon[fmt.Sprintf("arity_%d", arity)])
		require.NoError(t, err)

		preimage := make([]fr.Element, arity)
		row := make([]byte, arity*Size)
		for i := range preimage {
			preimage[i].SetUint64(uint64(i))
			row[i*Size] = byte(i)
		}
		digest := Of(arity).Hash(preimage...)
		var got [Size]byte
		fr.LittleEndian.PutElement(&got, digest)
		require.Equal(t, want, got[:], "arity %d", arity)

		NewBatch(arity).HashRow(got[:], row)
		require.Equal(t, want, got[:], "arity %d in a batch", arity)
	}
}

// TestBatchAgreesWithHash runs sizes around the number of lanes, where the vector
// kernels change to their scalar remainder.
func TestBatchAgreesWithHash(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, arity := range arities {
		b := NewBatch(arity)
		for _, n := range []int{1, 7, 8, 9, b.lanes, b.lanes + 3} {
			src := randomElements(rng, n*arity)
			want := make([]byte, n*Size)
			for i := range n {
				preimage := make([]fr.Element, arity)
				for j := range preimage {
					preimage[j] = element(t, src[(i*arity+j)*Size:])
				}
				digest := Of(arity).Hash(preimage...)
				fr.LittleEndian.PutElement((*[Size]byte)(want[i*Size:]), digest)
			}
			got := make([]byte, n*Size)
			b.HashRow(got, src)
			require.True(t, bytes.Equal(want, got), "rows: arity %d, %d hashes", arity, n)

			columns := make([][]byte, arity)
			for i := range n * arity {
				columns[i%arity] = append(columns[i%arity], src[i*Size:(i+1)*Size]...)
			}
			clear(got)
			b.HashColumns(got, columns)
			require.True(t, bytes.Equal(want, got), "columns: arity %d, %d hashes", arity, n)
		}
	}
}

func TestBatchDoesNotAllocate(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	b, src, dst := NewBatch(8), randomElements(rng, 8*64), make([]byte, 64*Size)
	require.Zero(t, testing.AllocsPerRun(1, func() { b.HashRow(dst, src) }))
}

func randomElements(rng *rand.Rand, n int) []byte {
	out := make([]byte, n*Size)
	for i := range out {
		out[i] = byte(rng.Uint32())
		if i%Size == Size-1 {
			out[i] &= 0x3f
		}
	}
	return out
}

func element(t *testing.T, b []byte) fr.Element {
	e, err := fr.LittleEndian.Element((*[Size]byte)(b[:Size]))
	require.NoError(t, err)
	return e
}

func BenchmarkRow(b *testing.B) {
	for _, arity := range arities {
		b.Run(fmt.Sprintf("arity=%d", arity), func(b *testing.B) {
			const n = 1024
			batch, src, dst := NewBatch(arity), make([]byte, n*arity*Size), make([]byte, n*Size)
			for b.Loop() {
				batch.HashRow(dst, src)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/hash")
		})
	}
}

func BenchmarkHash(b *testing.B) {
	for _, arity := range arities {
		b.Run(fmt.Sprintf("arity=%d", arity), func(b *testing.B) {
			preimage := make([]fr.Element, arity)
			for b.Loop() {
				Of(arity).Hash(preimage...)
			}
		})
	}
}
