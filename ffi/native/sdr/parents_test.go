package sdr

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCacheNames holds the file names to those that rust-fil-proofs publishes digests for.
func TestCacheNames(t *testing.T) {
	t.Parallel()
	for i, size := range []int{2 << 10, 8 << 20, 512 << 20, 32 << 30, 64 << 30} {
		for _, proof := range []int{i, i + 5} {
			g := &Graph{nodes: uint64(size / LabelSize), porepID: [32]byte{byte(proof)}}
			require.True(t, g.CacheKnown(), "seal proof %d", proof)
		}
		g := &Graph{nodes: uint64(size / LabelSize), porepID: [32]byte{byte(i + 10)}}
		require.False(t, g.CacheKnown(), "synthetic proofs have graphs of their own")
	}
	require.Equal(t, "v28-sdr-parent-3f0eef38bb48af1f48ad65e14eb85b4ebfc167cec18cd81764f6d998836c9899.cache", NewGraph([32]byte{}, 64, true).CacheName())
	require.Equal(t, "v28-sdr-parent-5eed212119fd91aa6220a27f31a8966444a9381842bceb3a1ea61525bd47a5b5.cache", NewGraph([32]byte{6}, 1<<18, false).CacheName())
}

// TestCacheFile writes a file, takes it as it is the next time, and mends one that is
// cut, longer, or has a wrong bit.
func TestCacheFile(t *testing.T) {
	t.Parallel()
	g := NewGraph([32]byte{6}, 1<<18, false)
	list, err := g.ParentList(t.Context(), 2)
	require.NoError(t, err)
	var want bytes.Buffer
	require.NoError(t, binary.Write(&want, binary.LittleEndian, []uint32(list)))

	folder := filepath.Join(t.TempDir(), "parents")
	path := filepath.Join(folder, g.CacheName())
	open := func() {
		f, err := g.OpenCache(t.Context(), folder, 2)
		require.NoError(t, err)
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want.Bytes(), got))
		for _, w := range [][2]int{{0, 1}, {1<<18 - 100, 100}, {5, 1000}} {
			parents, err := f.window(w[0], w[1])
			require.NoError(t, err)
			require.Equal(t, []uint32(list[Parents*w[0]:Parents*(w[0]+w[1])]), parents)
		}
		_, err = f.window(1<<18, 1)
		require.Error(t, err)
		require.NoError(t, f.Close())
		left, err := os.ReadDir(folder)
		require.NoError(t, err)
		require.Len(t, left, 1, "no temporary file is left")
	}
	open()
	old := time.Unix(1e9, 0)
	require.NoError(t, os.Chtimes(path, old, old))
	open()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, old, info.ModTime(), "a good file is not written again")

	for what, bad := range map[string][]byte{
		"cut":       want.Bytes()[:want.Len()-1],
		"longer":    append(bytes.Clone(want.Bytes()), 0),
		"wrong bit": func() []byte { b := bytes.Clone(want.Bytes()); b[12345] ^= 8; return b }(),
		"empty":     nil,
	} {
		require.NoError(t, os.WriteFile(path, bad, 0o600), what)
		open()
	}
}

// TestCacheFileOfManyWriters has several write the same file at once.
func TestCacheFileOfManyWriters(t *testing.T) {
	t.Parallel()
	g, folder := NewGraph([32]byte{5}, 64, false), t.TempDir()
	errs := make(chan error)
	const writers = 8
	for range writers {
		go func() {
			f, err := g.OpenCache(context.Background(), folder, 1)
			if err == nil {
				err = f.Close()
			}
			errs <- err
		}()
	}
	for range writers {
		require.NoError(t, <-errs)
	}
}

func TestCacheFileThatCannotBe(t *testing.T) {
	t.Parallel()
	_, err := NewGraph([32]byte{11}, 1<<18, false).OpenCache(t.Context(), t.TempDir(), 1)
	require.ErrorContains(t, err, "nobody published the digest")

	g, folder := NewGraph([32]byte{6}, 1<<18, false), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = g.OpenCache(ctx, folder, 1)
	require.ErrorIs(t, err, context.Canceled)
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, left)

	require.NoError(t, os.Mkdir(filepath.Join(folder, g.CacheName()), 0o755))
	_, err = g.OpenCache(t.Context(), folder, 1)
	require.Error(t, err, "a folder in its place")
}

// TestLayersFromAFile compares labels made from a file and from memory.
func TestLayersFromAFile(t *testing.T) {
	t.Parallel()
	g := NewGraph([32]byte{5}, 64, false)
	list, err := g.ParentList(t.Context(), 1)
	require.NoError(t, err)
	file, err := g.OpenCache(t.Context(), t.TempDir(), 1)
	require.NoError(t, err)
	var previous []byte
	for layer := 1; layer <= 3; layer++ {
		layerOf := func(c ParentCache) []byte {
			current := make([]byte, g.Nodes()*LabelSize)
			require.NoError(t, NewLabeler([32]byte{7}).Layer(t.Context(), layer, c, current, previous, nil))
			return current
		}
		want := layerOf(list)
		require.Equal(t, want, layerOf(file))
		previous = want
	}
	require.NoError(t, file.Close())
	err = NewLabeler([32]byte{7}).Layer(t.Context(), 1, file, make([]byte, 2048), nil, nil)
	require.ErrorContains(t, err, "read parents")
}
