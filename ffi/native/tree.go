package native

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lpseal/lpseal/ffi/native/sha256mb"
)

// tree is the geometry of a Merkle tree. leaves is a power of arity. Its file holds
// the leaves, then row after row up to the root.
type tree struct{ leaves, arity int }

// height is the number of rows above the leaves; row height is the root.
func (t tree) height() int { return log(t.leaves, t.arity) }

// width is the number of nodes in a row; row 0 are the leaves.
func (t tree) width(row int) int {
	n := t.leaves
	for range row {
		n /= t.arity
	}
	return n
}

// first is the position of a row's first node in the file.
func (t tree) first(row int) (at int) {
	for r := range row {
		at += t.width(r)
	}
	return at
}

// nodes is how many nodes the rows from row up hold.
func (t tree) nodes(row int) int { return t.first(t.height()) + 1 - t.first(row) }

// rowHasher hashes a row into the row above. Each goroutine has its own.
type rowHasher interface{ HashRow(dst, src []byte) }

// shaRow hashes pairs with SHA-256, cut to 254 bits: tree-d.
type shaRow struct{}

func (shaRow) HashRow(dst, src []byte) { sha256mb.HashRow(dst, src) }

// leafSource gives leaves chunk by chunk. Each goroutine has its own.
type leafSource interface {
	// take is told the first leaf of the chunk that leaves will ask for. Over all
	// sources of a tree, calls come one at a time and in order.
	take(first int) error
	// leaves fills dst. Calls on different sources run at the same time.
	leaves(dst []byte) error
}

// treeBuild computes a tree from its leaves, in parallel and with bounded memory:
// each goroutine holds the rows over one chunk of leaves.
type treeBuild struct {
	tree
	hasher func() rowHasher
	source func(chunk int) leafSource
	// sink takes finished nodes of a row from node first on; it may be called from
	// many goroutines, for ranges that never overlap.
	sink   func(row, first int, nodes []byte) error
	report func(leaves int) // one call at a time
}

// chunkLeaves bounds the leaves of a chunk: 256 KiB of them.
const chunkLeaves = 1 << 13

func (b treeBuild) run(ctx context.Context, threads int) (root node, err error) {
	chunk, rows := 1, 0
	for chunk < b.leaves && chunk*b.arity <= chunkLeaves {
		chunk *= b.arity
		rows++
	}
	tops := make([]byte, b.leaves/chunk*nodeSize)

	var mu sync.Mutex
	next, done := 0, 0
	group, ctx := errgroup.WithContext(ctx)
	for range min(max(1, threads), b.leaves/chunk) {
		group.Go(func() error {
			w := newChunkWorker(b, chunk, rows)
			claim := func() (first int, ok bool, err error) {
				mu.Lock()
				defer mu.Unlock()
				if err := ctx.Err(); err != nil || next == b.leaves {
					return 0, false, err
				}
				first = next
				next += chunk
				return first, true, w.source.take(first)
			}
			for {
				first, ok, err := claim()
				if err != nil || !ok {
					return err
				}
				top, err := w.chunk(first)
				if err != nil {
					return err
				}
				copy(tops[first/chunk*nodeSize:], top)
				mu.Lock()
				done += chunk
				b.report(done)
				mu.Unlock()
			}
		})
	}
	if err := group.Wait(); err != nil {
		return node{}, err
	}
	return b.top(rows, tops)
}

// top hashes the roots of the chunks, which are a whole row, up to the tree's root.
func (b treeBuild) top(row int, nodes []byte) (node, error) {
	h := b.hasher()
	for {
		if err := b.sink(row, 0, nodes); err != nil {
			return node{}, err
		}
		if len(nodes) == nodeSize {
			return node(nodes), nil
		}
		above := make([]byte, len(nodes)/b.arity)
		h.HashRow(above, nodes)
		nodes = above
		row++
	}
}

// chunkWorker is what one goroutine keeps between chunks.
type chunkWorker struct {
	treeBuild
	source leafSource
	hash   rowHasher
	rows   [][]byte // over one chunk, leaves first, its root last
}

func newChunkWorker(b treeBuild, chunk, rows int) *chunkWorker {
	w := &chunkWorker{treeBuild: b, source: b.source(chunk), hash: b.hasher()}
	for n := chunk; len(w.rows) <= rows; n /= b.arity {
		w.rows = append(w.rows, make([]byte, n*nodeSize))
	}
	return w
}

// chunk builds the rows over the leaves from first on and returns their root, which
// belongs to a row that treeBuild.top writes.
func (w *chunkWorker) chunk(first int) (top []byte, err error) {
	if err := w.source.leaves(w.rows[0]); err != nil {
		return nil, err
	}
	last := len(w.rows) - 1
	for r, nodes := range w.rows[:last] {
		if err := w.sink(r, first, nodes); err != nil {
			return nil, err
		}
		w.hash.HashRow(w.rows[r+1], nodes)
		first /= w.arity
	}
	return w.rows[last], nil
}
