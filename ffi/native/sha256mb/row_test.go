package sha256mb

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// row is the definition.
func row(src []byte) []byte {
	dst := make([]byte, 0, len(src)/2)
	for ; len(src) > 0; src = src[pairSize:] {
		h := sha256.Sum256(src[:pairSize])
		h[NodeSize-1] &= 0x3f
		dst = append(dst, h[:]...)
	}
	return dst
}

func TestRowsOfEveryLength(t *testing.T) {
	t.Parallel()
	src := make([]byte, 100*pairSize)
	rand.NewChaCha8([32]byte{1}).Read(src)
	for n := range 101 {
		for _, in := range [][]byte{src[:n*pairSize], src[len(src)-n*pairSize:]} {
			dst := make([]byte, n*NodeSize)
			HashRow(dst, in)
			require.Equal(t, row(in), dst, "%d nodes", n)
		}
	}
}

func TestRowsThatDoNotMatch(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { HashRow(make([]byte, NodeSize), make([]byte, NodeSize)) })
	require.Panics(t, func() { HashRow(make([]byte, 1), make([]byte, 2)) })
}

// FuzzRow compares with crypto/sha256.
func FuzzRow(f *testing.F) {
	f.Add(make([]byte, 3*pairSize))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, src []byte) {
		src = src[:len(src)/pairSize*pairSize]
		dst := make([]byte, len(src)/2)
		HashRow(dst, src)
		require.Equal(t, row(src), dst)
	})
}

// BenchmarkRow hashes a row of 4,096 nodes.
func BenchmarkRow(b *testing.B) {
	const nodes = 1 << 12
	src, dst := make([]byte, nodes*pairSize), make([]byte, nodes*NodeSize)
	b.Run("lanes", func(b *testing.B) {
		for b.Loop() {
			HashRow(dst, src)
		}
		perNode(b, nodes)
	})
	b.Run("peer=crypto_sha256", func(b *testing.B) {
		for b.Loop() {
			row(src)
		}
		perNode(b, nodes)
	})
}

func perNode(b *testing.B, nodes int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(nodes), "ns/node")
}
