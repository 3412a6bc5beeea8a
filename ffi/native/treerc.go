package native

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/ffi/native/poseidon"
	"github.com/lpseal/lpseal/jobs"
)

// TreeRC makes tree-c, the sealed file, tree-r-last, both aux files, and synthetic
// proofs for seals of their type. See [jobs.Prover]. Memory does not grow with the sector.
func (p *Prover) TreeRC(ctx context.Context, s jobs.Seal, f jobs.Folders, report func(jobs.Progress)) (cid.Cid, error) {
	r, err := newReplica(s)
	if err != nil {
		return cid.Undef, fmt.Errorf("tree_rc %s: %w", s.ID, err)
	}
	commR, err := r.writeTrees(ctx, p.threads, f, report)
	if err != nil {
		return cid.Undef, fmt.Errorf("tree_rc %s: %w", s.ID, err)
	}
	return replicaCID(commR)
}

func (r replica) writeTrees(ctx context.Context, threads int, f jobs.Folders, report func(jobs.Progress)) (node, error) {
	in, err := r.openInputs(f.Cache)
	if err != nil {
		return node{}, err
	}
	defer in.close()

	commC, err := r.treeC(ctx, threads, in, f.Cache, report)
	if err != nil {
		return node{}, fmt.Errorf("tree-c: %w", err)
	}
	commRLast, err := r.treeR(ctx, threads, in, f, report)
	if err != nil {
		return node{}, fmt.Errorf("tree-r-last: %w", err)
	}
	if err := writeFile(filepath.Join(f.Cache, jobs.PAuxFile), append(commC[:], commRLast[:]...)); err != nil {
		return node{}, err
	}
	if err := writeFile(filepath.Join(f.Cache, jobs.TAuxFile), r.tAux(f.Cache)); err != nil {
		return node{}, err
	}
	commR, err := poseidonHash(commC, commRLast)
	if err != nil || !r.synthetic() {
		return commR, err
	}
	if err := r.writeSynthetic(ctx, threads, f, commR, report); err != nil {
		return node{}, fmt.Errorf("synthetic proofs: %w", err)
	}
	return commR, nil
}

// inputs are the files that the trees and the vanilla proof read.
type inputs struct {
	data   input // tree-d: its leaves are the sector's data
	layers []input
}

// openInputs opens tree-d, which must be of the seal's CommD, and the layers.
func (r replica) openInputs(cache string) (in inputs, err error) {
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	d := r.Shape.data()
	path := filepath.Join(cache, jobs.TreeDFile)
	if in.data, err = openNodes(path, d.nodes(0)); err != nil {
		return in, err
	}
	root, err := in.data.node(d.first(d.height()))
	if err != nil {
		return in, err
	}
	if root != r.commD {
		f := jobs.Failf(jobs.Input, "%s has root %x, not the seal's CommD %x: build tree-d again", path, root, r.commD)
		f.From = jobs.TreeD
		return in, f
	}
	for layer := 1; layer <= r.Layers; layer++ {
		l, err := openNodes(filepath.Join(cache, jobs.LayerFile(layer)), r.Nodes())
		if err != nil {
			return in, err
		}
		in.layers = append(in.layers, l)
	}
	return in, nil
}

// close lets go of files that were only read.
func (in inputs) close() {
	for _, f := range append(in.layers, in.data) {
		if f.File != nil {
			_ = f.Close()
		}
	}
}

// key is the last layer, which hides the data.
func (in inputs) key() input { return in.layers[len(in.layers)-1] }

func (r replica) treeC(ctx context.Context, threads int, in inputs, cache string, report func(jobs.Progress)) (node, error) {
	f := r.forest()
	return f.grow(func(k int) (node, error) {
		out, err := createForest(cache, jobs.TreeC, f, k)
		if err != nil {
			return node{}, err
		}
		defer out.discard()
		t, start := f.base, k*f.base.leaves
		root, err := treeBuild{
			tree:   t,
			hasher: func() rowHasher { return poseidon.NewBatch(t.arity) },
			source: func(chunk int) leafSource { return newColumnSource(in.layers, start, chunk, threads) },
			sink:   func(row, first int, nodes []byte) error { return out.putNodes(t.first(row)+first, nodes) },
			report: func(n int) { tell(report, jobs.TreeC, start+n, r.Nodes()) },
		}.run(ctx, threads)
		if err != nil {
			return node{}, err
		}
		return root, out.commit()
	})
}

// columnSource hashes the labels of a node in all layers: the leaves of tree-c.
type columnSource struct {
	layers []input
	start  int // of the base tree
	ahead  int // nodes between the chunk that is read and the one that is asked for
	first  int
	labels [][]byte
	batch  *poseidon.Batch
}

func newColumnSource(layers []input, start, chunk, threads int) *columnSource {
	s := &columnSource{layers: layers, start: start, ahead: threads * chunk, batch: poseidon.NewBatch(len(layers))}
	for range layers {
		s.labels = append(s.labels, make([]byte, chunk*nodeSize))
	}
	return s
}

func (s *columnSource) take(first int) error {
	s.first = s.start + first
	for i, l := range s.layers {
		l.soon(s.first+s.ahead, len(s.labels[i])/nodeSize)
	}
	return nil
}

func (s *columnSource) leaves(dst []byte) error {
	for i, l := range s.layers {
		if err := l.nodes(s.first, s.labels[i]); err != nil {
			return err
		}
	}
	s.batch.HashColumns(dst, s.labels)
	return nil
}

// treeR encodes the data into the sealed file and builds tree-r-last over it.
func (r replica) treeR(ctx context.Context, threads int, in inputs, f jobs.Folders, report func(jobs.Progress)) (node, error) {
	sealed, err := create(f.Sealed)
	if err != nil {
		return node{}, err
	}
	defer sealed.discard()
	root, err := r.forest().grow(func(k int) (node, error) {
		return r.baseTreeR(ctx, threads, in, f.Cache, sealed, k, report)
	})
	if err != nil {
		return node{}, err
	}
	return root, sealed.commit()
}

func (r replica) baseTreeR(ctx context.Context, threads int, in inputs, cache string, sealed *output, k int, report func(jobs.Progress)) (node, error) {
	rows, err := createForest(cache, jobs.TreeR, r.forest(), k)
	if err != nil {
		return node{}, err
	}
	defer rows.discard()
	t, start := r.base(), k*r.base().leaves
	stored := r.DiscardedRows() + 1 // the lowest row that is kept
	root, err := treeBuild{
		tree:   t,
		hasher: func() rowHasher { return poseidon.NewBatch(t.arity) },
		source: func(chunk int) leafSource {
			return &replicaSource{key: in.key(), data: in.data, start: start, ahead: threads * chunk, buf: make([]byte, chunk*nodeSize)}
		},
		sink: func(row, first int, nodes []byte) error {
			switch {
			case row == 0:
				return sealed.putNodes(start+first, nodes)
			case row < stored:
				return nil
			default:
				return rows.putNodes(t.first(row)-t.first(stored)+first, nodes)
			}
		},
		report: func(n int) { tell(report, jobs.TreeR, start+n, r.Nodes()) },
	}.run(ctx, threads)
	if err != nil {
		return node{}, err
	}
	return root, rows.commit()
}

// replicaSource encodes data with the key: the leaves of tree-r-last.
type replicaSource struct {
	key, data input
	start     int // of the base tree
	ahead     int // as of columnSource
	first     int
	buf       []byte
}

func (s *replicaSource) take(first int) error {
	s.first = s.start + first
	s.key.soon(s.first+s.ahead, len(s.buf)/nodeSize)
	s.data.soon(s.first+s.ahead, len(s.buf)/nodeSize)
	return nil
}

func (s *replicaSource) leaves(dst []byte) error {
	if err := errors.Join(s.key.nodes(s.first, dst), s.data.nodes(s.first, s.buf)); err != nil {
		return err
	}
	encode(dst, dst, s.buf)
	return nil
}

// tAux describes the cache folder's stores to rust-fil-proofs, in bincode: the
// layers, then tree-d, tree-r-last and tree-c. Readers replace the path by the
// folder they found the file in.
func (r replica) tAux(cache string) []byte {
	var b []byte
	number := func(n int) { b = binary.LittleEndian.AppendUint64(b, uint64(n)) }
	text := func(s string) {
		number(len(s))
		b = append(b, s...)
	}
	store := func(id string, nodes, discarded int) {
		text(cache)
		text(id)
		b = append(b, 1) // the size is given
		number(nodes)
		number(discarded)
	}
	number(r.Layers)
	for layer := 1; layer <= r.Layers; layer++ {
		store(fmt.Sprintf("layer-%d", layer), r.Nodes(), 0)
	}
	store("tree-d", r.Shape.data().nodes(0), 0)
	store(jobs.TreeR, r.base().nodes(0), r.DiscardedRows())
	store(jobs.TreeC, r.base().nodes(0), 0)
	return b
}
