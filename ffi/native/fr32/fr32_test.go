package fr32

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// bitwise pads by definition: bit 254e+b of the input is bit b of element e.
func bitwise(src []byte) []byte {
	dst := make([]byte, len(src)/Raw*Padded)
	for i := range 8 * len(src) {
		bit := src[i/8] >> (i % 8) & 1
		at := i/254*256 + i%254
		dst[at/8] |= bit << (at % 8)
	}
	return dst
}

func TestPadFollowsTheDefinition(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	ones := bytes.Repeat([]byte{0xff}, Raw)
	random := make([]byte, 5*Raw)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	for _, src := range [][]byte{nil, ones, make([]byte, Raw), random} {
		padded := make([]byte, len(src)/Raw*Padded)
		Pad(padded, src)
		require.Equal(t, bitwise(src), padded)

		back := bytes.Repeat([]byte{0xa5}, len(src))
		Unpad(back, padded)
		require.True(t, bytes.Equal(src, back))
	}
}

func TestUnitsMustMatch(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() { Pad(make([]byte, Padded), make([]byte, 2*Raw)) })
	require.Panics(t, func() { Pad(make([]byte, Padded-1), make([]byte, Raw)) })
	require.Panics(t, func() { Unpad(make([]byte, Raw+1), make([]byte, Padded)) })
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("fr32"))
	f.Fuzz(func(t *testing.T, data []byte) {
		src := make([]byte, (len(data)+Raw-1)/Raw*Raw)
		copy(src, data)
		padded, back := make([]byte, len(src)/Raw*Padded), make([]byte, len(src))
		Pad(padded, src)
		for i := 31; i < len(padded); i += 32 {
			require.Zero(t, padded[i]&0xc0, "element at %d is not below 2^254", i-31)
		}
		Unpad(back, padded)
		require.Equal(t, src, back)
	})
}

func BenchmarkPad(b *testing.B) {
	src, dst := make([]byte, 8192*Raw), make([]byte, 8192*Padded)
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		Pad(dst, src)
	}
}
