package native

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/native/fr32"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

func TestUnsealRanges(t *testing.T) {
	t.Parallel()
	v := provertest.Named(t, "2k-data")
	p, s, f := sealed(t, v)
	data := v.Data()
	s.CommR, s.Seed = provertest.Named(t, "2k-cc").Seal(t).CommR, nil // not needed
	scratch := t.TempDir()
	for _, r := range [][2]uint64{{0, 0}, {0, 1}, {0, 127}, {126, 1}, {126, 2}, {127, 127}, {1, 2031}, {2031, 1}, {2032, 0}, {300, 1000}} {
		var out bytes.Buffer
		require.NoError(t, p.Unseal(t.Context(), s, f.Sealed, scratch, r[0], r[1], &out, nil))
		require.Equal(t, data[r[0]:r[0]+r[1]], append([]byte{}, out.Bytes()...), "offset %d, size %d", r[0], r[1])
	}
	left, err := os.ReadDir(scratch)
	require.NoError(t, err)
	require.Empty(t, left, "no layer is left behind")
	for _, r := range [][2]uint64{{2033, 0}, {0, 2033}, {2032, 1}, {1, 1<<64 - 1}} {
		require.ErrorContains(t, p.Unseal(t.Context(), s, f.Sealed, scratch, r[0], r[1], new(bytes.Buffer), nil), "beyond the sector", "offset %d, size %d", r[0], r[1])
	}
}

// TestUnsealReusesKeys makes a sector's key once for all its ranges, and another
// sector's own.
func TestUnsealReusesKeys(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "keys")
	steps := func(p *Prover, v provertest.Vector, s jobs.Seal, f jobs.Folders, offset uint64) (steps []string) {
		var out bytes.Buffer
		require.NoError(t, p.Unseal(t.Context(), s, f.Sealed, "", offset, 500, &out, func(p jobs.Progress) { steps = append(steps, p.Step) }))
		if data := v.Data(); data != nil {
			require.Equal(t, data[offset:offset+500], out.Bytes())
		} else {
			require.Equal(t, make([]byte, 500), out.Bytes())
		}
		return steps
	}
	made, reused := []string{"layer 1/2", "layer 2/2", "decode"}, []string{"decode"}
	v, w := provertest.Named(t, "2k-data"), provertest.Named(t, "2k-cc")
	plain, s, f := sealed(t, v)
	p := plain.WithKeys(folder)
	require.Equal(t, made, steps(p, v, s, f, 0))
	require.Equal(t, reused, steps(p, v, s, f, 500))
	require.Equal(t, made, steps(plain, v, s, f, 500), "without a folder nothing is kept")

	_, other, g := sealed(t, w)
	require.Equal(t, made, steps(p, w, other, g, 100))
	require.Equal(t, reused, steps(p, w, other, g, 1000))

	id, err := s.ReplicaID()
	require.NoError(t, err)
	key, err := os.ReadFile(filepath.Join(folder, hex.EncodeToString(id[:])+".key"))
	require.NoError(t, err)
	require.Equal(t, v.Files[jobs.LayerFile(2)], digest(key))
	require.NoError(t, os.Truncate(filepath.Join(folder, hex.EncodeToString(id[:])+".key"), 100))
	require.ErrorContains(t, p.Unseal(t.Context(), s, f.Sealed, "", 0, 1, new(bytes.Buffer), nil), "has 100 bytes")

	err = plain.WithKeys(f.Sealed).Unseal(t.Context(), s, f.Sealed, "", 0, 1, new(bytes.Buffer), func(jobs.Progress) { t.Error("a key was made that cannot be kept") })
	fault, ok := jobs.Classify(t.Context(), err)
	require.True(t, ok)
	require.Equal(t, jobs.Transient, fault.Class)
}

// TestDecodeAcrossBuffers takes a range of several decoding steps that starts and
// ends inside a unit.
func TestDecodeAcrossBuffers(t *testing.T) {
	t.Parallel()
	raw := make([]byte, 3*unsealUnits*fr32.Raw)
	for i := range raw {
		raw[i] = byte(i * i >> 3)
	}
	padded := make([]byte, 3*unsealUnits*fr32.Padded)
	fr32.Pad(padded, raw)
	key := bytes.Repeat(append(bytes.Repeat([]byte{0xfe}, nodeSize-1), 0x3f), len(padded)/nodeSize)
	encode(padded, key, padded)

	file := func(name string, b []byte) input {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, b, 0o600))
		in, err := openNodes(path, len(b)/nodeSize)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, in.Close()) })
		return in
	}
	const offset, size = 1_040_000, 2_000_001
	var out bytes.Buffer
	var last jobs.Progress
	err := decodeRange(t.Context(), file("key", key), file("replica", padded), offset, size, &out, func(p jobs.Progress) { last = p })
	require.NoError(t, err)
	require.True(t, bytes.Equal(raw[offset:offset+size], out.Bytes()))
	require.Equal(t, jobs.Progress{Step: "decode", Done: size, Total: size}, last)
}

type brokenPipe struct{}

var errPipe = errors.New("broken pipe")

func (brokenPipe) Write([]byte) (int, error) { return 0, errPipe }

func TestUnsealFaults(t *testing.T) {
	t.Parallel()
	v := provertest.Named(t, "2k-data")
	p, s, f := sealed(t, v)
	err := p.Unseal(t.Context(), s, f.Sealed, t.TempDir(), 0, 100, brokenPipe{}, nil)
	require.ErrorIs(t, err, errPipe)
	fault, _ := jobs.Classify(t.Context(), err)
	require.Equal(t, jobs.Transient, fault.Class)

	b, err := os.ReadFile(f.Sealed)
	require.NoError(t, err)
	b[1000] ^= 4
	require.NoError(t, os.WriteFile(f.Sealed, b, 0o600))
	var out bytes.Buffer
	require.NoError(t, p.Unseal(t.Context(), s, f.Sealed, t.TempDir(), 0, 2032, &out, nil))
	require.False(t, bytes.Equal(v.Data(), out.Bytes()), "a flipped byte of the replica shows in the data")

	require.NoError(t, os.Truncate(f.Sealed, 2047))
	err = p.Unseal(t.Context(), s, f.Sealed, t.TempDir(), 0, 1, &out, nil)
	require.ErrorContains(t, err, "unseal s-t01000-2: ")
	fault, _ = jobs.Classify(t.Context(), err)
	require.Equal(t, jobs.Input, fault.Class)
	require.NoError(t, os.Remove(f.Sealed))
	fault, _ = jobs.Classify(t.Context(), p.Unseal(t.Context(), s, f.Sealed, t.TempDir(), 0, 1, &out, nil))
	require.True(t, fault.Missing)
}
