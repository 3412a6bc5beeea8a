package sdr

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// parentBytes is the length of a node's parents in a cache file.
const parentBytes = Parents * 4

// ParentCache lists the parents of all nodes, 14 for each, in order.
type ParentCache interface {
	// window gives the parents of n nodes from first on. It is valid until the next call
	// on the same ParentCache.
	window(first, n int) ([]uint32, error)
}

// ParentList is a ParentCache in memory: 56 bytes a node.
type ParentList []uint32

func (l ParentList) window(first, n int) ([]uint32, error) {
	return l[Parents*first : Parents*(first+n)], nil
}

// cacheChunk is the number of nodes a thread takes at a time.
const cacheChunk = 1 << 14

// ParentList computes the parents of all nodes. It uses up to threads goroutines and
// stops early when ctx ends.
func (g *Graph) ParentList(ctx context.Context, threads int) (ParentList, error) {
	list := make(ParentList, Parents*g.nodes)
	err := g.eachChunk(ctx, threads, func() func(first, n int) error {
		return func(first, n int) error {
			for node := first; node < first+n; node++ {
				g.Parents(uint32(node), (*[Parents]uint32)(list[Parents*node:]))
			}
			return nil
		}
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// eachChunk runs up to threads goroutines, each with a worker's function of its own,
// over all nodes.
func (g *Graph) eachChunk(ctx context.Context, threads int, worker func() func(first, n int) error) error {
	var taken atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range max(1, threads) {
		group.Go(func() error {
			do := worker()
			for {
				first := int(taken.Add(cacheChunk)) - cacheChunk
				if first >= g.Nodes() {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(first, min(cacheChunk, g.Nodes()-first)); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// ParentFile is a ParentCache in a file of rust-fil-proofs' format: little-endian
// 32-bit numbers and nothing else. It is for one goroutine at a time, for which it reads
// one window ahead.
type ParentFile struct {
	*os.File
	raw   []byte        // of the window that is being read
	free  [][]uint32    // lists that nobody uses
	given []uint32      // the last one, which the caller uses until the next call
	ahead *parentWindow // being read, or nil
}

// parentWindow is a part of the list that is read while another is used.
type parentWindow struct {
	first, n int
	list     []uint32
	err      error
	read     chan struct{} // closed when list or err is there
}

func (f *ParentFile) window(first, n int) ([]uint32, error) {
	f.free = append(f.free, f.given)
	w := f.ahead
	if w == nil || w.first != first || w.n != n {
		if w != nil {
			<-w.read // the buffers are its own until then
			f.free = append(f.free, w.list)
		}
		w = f.start(first, n)
	}
	<-w.read
	f.ahead, f.given = nil, w.list
	if w.err != nil {
		return nil, w.err
	}
	f.ahead = f.start(first+n, n)
	return w.list, nil
}

// start reads a window in the background, into the buffers that are free.
func (f *ParentFile) start(first, n int) *parentWindow {
	w := &parentWindow{first: first, n: n, read: make(chan struct{})}
	if last := len(f.free) - 1; last >= 0 {
		w.list, f.free = f.free[last][:0], f.free[:last]
	}
	go func() {
		defer close(w.read)
		if cap(f.raw) < n*parentBytes {
			f.raw = make([]byte, n*parentBytes)
		}
		raw := f.raw[:n*parentBytes]
		if _, w.err = f.ReadAt(raw, int64(first)*parentBytes); w.err != nil {
			return
		}
		if cap(w.list) < n*Parents {
			w.list = make([]uint32, 0, n*Parents)
		}
		for ; len(raw) > 0; raw = raw[4:] {
			w.list = append(w.list, binary.LittleEndian.Uint32(raw))
		}
	}()
	return w
}

// Close waits for what is being read, and closes the file.
func (f *ParentFile) Close() error {
	if f.ahead != nil {
		<-f.ahead.read
	}
	return f.File.Close()
}

// CacheName is the name of the graph's file in a folder of parent caches.
func (g *Graph) CacheName() string {
	const hasher = "poseidon_hasher"
	h := sha256.New()
	fmt.Fprintf(h, "%sstacked_graph::StackedGraph{expansion_degree: %d base_graph: drgraph::BucketGraph{size: %d; degree: %d; hasher: %s} }",
		hasher, ExpanderParents, g.nodes, BaseParents, hasher)
	keys := domainSeed("Filecoin_Feistel", g.porepID)
	h.Write(keys[:])
	var nodes [4]byte
	binary.LittleEndian.PutUint32(nodes[:], uint32(g.nodes))
	h.Write(nodes[:])
	return fmt.Sprintf("v28-sdr-parent-%x.cache", h.Sum(nil))
}

// CacheKnown says whether the digest of the graph's file is published, so that
// [Graph.OpenCache] can check it.
func (g *Graph) CacheKnown() bool {
	_, known := cacheDigests[g.CacheName()]
	return known
}

// OpenCache opens the graph's file in a folder of parent caches, which may be shared
// with rust-fil-proofs, and reads it through once to compare its digest with the
// published one. A file that is missing or differs is written anew, atomically, by up
// to threads goroutines.
func (g *Graph) OpenCache(ctx context.Context, folder string, threads int) (*ParentFile, error) {
	path := filepath.Join(folder, g.CacheName())
	want, known := cacheDigests[g.CacheName()]
	if !known {
		return nil, fmt.Errorf("nobody published the digest of %s", path)
	}
	f, err := os.Open(path)
	if err == nil {
		var got string
		if got, err = digest(ctx, f); err == nil && got == want {
			return &ParentFile{File: f}, nil
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	return g.writeCache(ctx, path, want, threads)
}

// writeCache writes under a temporary name. It is the same for all who write: their
// bytes are the same too, and the first who is done renames it under the others.
func (g *Graph) writeCache(ctx context.Context, path, want string, threads int) (*ParentFile, error) {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	got, err := g.write(ctx, f, threads)
	if err == nil && got != want {
		err = fmt.Errorf("%s has digest %s, want %s: another program writes to it", tmp, got, want)
	}
	if err == nil {
		if err = os.Rename(tmp, path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(tmp))
	}
	return &ParentFile{File: f}, nil
}

func (g *Graph) write(ctx context.Context, f *os.File, threads int) (digestHex string, err error) {
	if err := f.Truncate(int64(g.nodes) * parentBytes); err != nil {
		return "", err
	}
	err = g.eachChunk(ctx, threads, func() func(first, n int) error {
		buf := make([]byte, 0, cacheChunk*parentBytes)
		return func(first, n int) error {
			raw := buf
			for node := first; node < first+n; node++ {
				var parents [Parents]uint32
				g.Parents(uint32(node), &parents)
				for _, p := range parents {
					raw = binary.LittleEndian.AppendUint32(raw, p)
				}
			}
			_, err := f.WriteAt(raw, int64(first)*parentBytes)
			return err
		}
	})
	if err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return digest(ctx, f)
}

// digest gives the SHA-256 of a file in hex.
func digest(ctx context.Context, f *os.File) (string, error) {
	h, buf := sha256.New(), make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := f.ReadAt(buf, at)
		h.Write(buf[:n])
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return "", err
		}
	}
}
