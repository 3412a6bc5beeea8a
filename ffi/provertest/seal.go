package provertest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// Folders are fresh ones for a sector.
func Folders(t testing.TB) jobs.Folders {
	dir := t.TempDir()
	f := jobs.Folders{Cache: filepath.Join(dir, "cache"), Sealed: filepath.Join(dir, "sealed")}
	require.NoError(t, os.Mkdir(f.Cache, 0o755))
	return f
}

// Sealed seals a vector up to CommR: the data tree and the layers by one backend, the
// other trees and the replica by another.
func Sealed(t testing.TB, layers, trees jobs.Prover, v Vector) (jobs.Seal, jobs.Folders) {
	s, f := v.Seal(t), Folders(t)
	commD, err := layers.TreeD(t.Context(), s.Proof, f.Cache, v.Pieces(), nil)
	require.NoError(t, err)
	require.Equal(t, v.CommD, commD.String())
	require.NoError(t, layers.SDR(t.Context(), s, f.Cache, nil))
	commR, err := trees.TreeRC(t.Context(), s, f, nil)
	require.NoError(t, err)
	require.Equal(t, v.CommR, commR.String())
	return s, f
}

// Seal seals every vector, compares every byte of every file and of C1's output with
// filecoin-ffi's, and unseals the data again.
func Seal(t *testing.T, p jobs.Prover) {
	for _, v := range Vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			s, f := Sealed(t, p, p, v)
			compare(t, v, f)
			if s.Proof.IsSynthetic() {
				release(t, s, f)
			}
			c1, err := p.C1(t.Context(), s, f)
			require.NoError(t, err)
			require.Equal(t, v.C1, digest(c1), "C1 output")
			unseal(t, p, v, f)
		})
	}
	t.Run("the C1 output kept whole", func(t *testing.T) {
		t.Parallel()
		s, f := Sealed(t, p, p, Named(t, "2k-data"))
		got, err := p.C1(t.Context(), s, f)
		require.NoError(t, err)
		require.Equal(t, string(C1Output(t)), string(got))
	})
	t.Run("finished layers are kept", func(t *testing.T) {
		t.Parallel()
		keepsLayers(t, p)
	})
}

// release removes what a proof from synthetic proofs does without: the data tree too,
// though the pipeline keeps it longer.
func release(t *testing.T, s jobs.Seal, f jobs.Folders) {
	for _, name := range append(jobs.ReleasedFiles(s.Proof), jobs.TreeDFile) {
		require.NoError(t, os.Remove(filepath.Join(f.Cache, name)))
	}
}

func compare(t *testing.T, v Vector, f jobs.Folders) {
	for name, want := range v.Files {
		b, err := os.ReadFile(filepath.Join(f.Cache, name))
		require.NoError(t, err)
		require.Equal(t, want, digest(b), name)
	}
	b, err := os.ReadFile(f.Sealed)
	require.NoError(t, err)
	require.Equal(t, v.Sealed, digest(b), "sealed file")
	for _, name := range jobs.LastingFiles(v.Proof) {
		require.FileExists(t, filepath.Join(f.Cache, name))
	}
}

// unseal takes the whole and odd ranges out of the sealed file alone. Zeros would not
// show a misplaced byte, so committed capacity is left out.
func unseal(t *testing.T, p jobs.Prover, v Vector, f jobs.Folders) {
	data := v.Data()
	if data == nil {
		return
	}
	room := uint64(len(data))
	ranges := [][2]uint64{{0, room}, {1, 126}, {127, 254}, {room - 1, 1}, {room / 2, 0}}
	if v.Size > 2<<10 {
		ranges = ranges[:1] // each costs the layers
	}
	s := v.Seal(t)
	for _, r := range ranges {
		scratch := t.TempDir()
		var got bytes.Buffer
		require.NoError(t, p.Unseal(t.Context(), s, f.Sealed, scratch, r[0], r[1], &got, nil))
		require.True(t, bytes.Equal(data[r[0]:r[0]+r[1]], got.Bytes()), "bytes %d to %d", r[0], r[0]+r[1])
		left, err := os.ReadDir(scratch)
		require.NoError(t, err)
		require.Empty(t, left)
	}
	err := p.Unseal(t.Context(), s, f.Sealed, t.TempDir(), room, 1, new(bytes.Buffer), nil)
	requireClass(t, err, jobs.Rejected, "bytes beyond the sector")
}

func keepsLayers(t *testing.T, p jobs.Prover) {
	v := Named(t, "2k-data")
	s, f := v.Seal(t), Folders(t)
	names := jobs.LayerFiles(s.Proof)
	first, second := filepath.Join(f.Cache, names[0]), filepath.Join(f.Cache, names[1])
	require.NoError(t, p.SDR(t.Context(), s, f.Cache, nil))

	old := time.Unix(1e9, 0)
	require.NoError(t, os.Chtimes(first, old, old))
	require.NoError(t, os.Remove(second))
	require.NoError(t, p.SDR(t.Context(), s, f.Cache, nil))
	info, err := os.Stat(first)
	require.NoError(t, err)
	require.Equal(t, old, info.ModTime(), "layer 1 was not written again")

	require.NoError(t, os.Truncate(first, int64(v.Size)/2))
	require.NoError(t, os.WriteFile(second, make([]byte, v.Size), 0o644))
	require.NoError(t, p.SDR(t.Context(), s, f.Cache, nil))
	for i, path := range []string{first, second} {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, v.Files[names[i]], digest(b), "a layer that was cut is made again, and all above it")
	}
}

// Mixed seals with layers by one backend and trees by the other, both ways, proves
// with either, and unseals what one sealed with the other.
func Mixed(t *testing.T, a, b jobs.Prover) {
	for _, way := range []struct{ layers, trees jobs.Prover }{{a, b}, {b, a}} {
		for _, name := range []string{"2k-data", "2k-v1-cc", "2k-synthetic-data", "8m-data"} {
			v := Named(t, name)
			t.Run(way.layers.Name()+" then "+way.trees.Name()+" "+name, func(t *testing.T) {
				t.Parallel()
				s, f := Sealed(t, way.layers, way.trees, v)
				compare(t, v, f)
				for _, p := range []jobs.Prover{a, b} {
					c1, err := p.C1(t.Context(), s, f)
					require.NoError(t, err)
					require.Equal(t, v.C1, digest(c1), "C1 by %s", p.Name())
				}
				unseal(t, way.layers, v, f)
			})
		}
	}
}
