package native

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/chacha20"

	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/jobs"
)

// Synthetic proofs (FIP-0059): replica id and CommR fix a set of challenges, all of
// which are opened at once, before the seed is known. The seed then only selects some
// of them, so that layers and tree-c need not wait for it.

// syntheticSet is the set of challenges of one replica.
type syntheticSet struct {
	id, commR   node
	nodes, size int
}

func (r replica) syntheticSet(commR node) syntheticSet {
	return syntheticSet{r.id, commR, r.Nodes(), r.SyntheticChallenges()}
}

// at is the i-th challenge: 32 bytes of a key stream, as challenges of a seed are 32
// bytes of a hash.
func (s syntheticSet) at(i int) uint64 {
	var block [2 * nodeSize]byte // ChaCha20's
	stream := keyStream("Generation", s.id, s.commR)
	stream.SetCounter(uint32(i / 2))
	stream.XORKeyStream(block[:], block[:])
	return modulo(node(block[i%2*nodeSize:][:nodeSize]), uint64(s.nodes-1)) + 1
}

// indexes are the places in the set of the n challenges that a seed selects.
func (s syntheticSet) indexes(seed node, n int) []int {
	drawn := make([]byte, 4*n)
	keyStream("Selection", s.id, seed).XORKeyStream(drawn, drawn)
	out := make([]int, n)
	for i := range out {
		out[i] = int(binary.LittleEndian.Uint32(drawn[4*i:])) % s.size
	}
	return out
}

func (s syntheticSet) selected(seed node, n int) []uint64 {
	out := make([]uint64, n)
	for i, at := range s.indexes(seed, n) {
		out[i] = s.at(at)
	}
	return out
}

// keyStream is ChaCha20 under a key that a purpose and two values hash to.
func keyStream(purpose string, a, b node) *chacha20.Cipher {
	h, err := blake2b.New256([]byte("filecoin.io|PoRep|1|Synthetic|1|" + purpose))
	if err != nil {
		panic(err) // the key is shorter than 64 bytes
	}
	h.Write(a[:])
	h.Write(b[:])
	c, err := chacha20.NewUnauthenticatedCipher(h.Sum(nil), []byte("synth-porep\x00"))
	if err != nil {
		panic(err) // key and nonce have their lengths
	}
	return c
}

// syntheticFile is the layout of the proofs' file: the roots of tree-d, tree-c and
// tree-r-last, then a record of fixed size for each challenge of the set. A record holds
// the challenge, its parents, and of every opening the leaf and the siblings; what the
// graph and the places of the nodes say by themselves is left out.
type syntheticFile struct{ replica }

func (f syntheticFile) path(cache string) string { return filepath.Join(cache, jobs.SyntheticFile) }

func (f syntheticFile) offset(i int) int64 { return jobs.SyntheticRoots + int64(i)*f.SyntheticRecord() }

func appendRecord(b []byte, c uint64, p *challengeProof) []byte {
	own, parents := &p.Columns.Challenged, slices.Concat(p.Columns.Base, p.Columns.Expander)
	b = binary.LittleEndian.AppendUint64(b, c)
	for _, column := range parents {
		b = binary.LittleEndian.AppendUint64(b, uint64(column.Column.Index))
	}
	b = appendOpening(b, &p.CommD)
	for _, column := range append([]columnProof{*own}, parents...) {
		for _, label := range column.Column.Rows {
			b = append(b, label[:]...)
		}
		b = appendOpening(b, &column.Inclusion)
	}
	return appendOpening(b, &p.CommR)
}

func appendOpening(b []byte, o *opening) []byte {
	b = append(b, o.Leaf[:]...)
	for _, s := range slices.Concat(o.Paths...) {
		for _, n := range s.Hashes {
			b = append(b, n[:]...)
		}
	}
	return b
}

// parse reads a record.
func (f syntheticFile) parse(roots, record []byte) (p challengeProof, err error) {
	number := func() (n uint64) {
		n, record = binary.LittleEndian.Uint64(record), record[8:]
		return n
	}
	next := func() (n node) {
		n, record = node(record), record[nodeSize:]
		return n
	}
	open := func(t forest, root int, leaf uint32) opening {
		o := t.outline(int(leaf))
		o.Root, o.Leaf = node(roots[root*nodeSize:]), next()
		for _, s := range o.steps() {
			for i := range s.Hashes {
				s.Hashes[i] = next()
			}
		}
		return o
	}
	var columns [1 + sdr.Parents]columnProof
	for i := range columns {
		n := number()
		if n >= uint64(f.Nodes()) {
			return p, fmt.Errorf("it names node %d of %d", n, f.Nodes())
		}
		columns[i].Column.Index = uint32(n)
	}
	c := columns[0].Column.Index
	p.CommD = open(forest{base: f.Shape.data()}, 0, c)
	for i := range columns {
		column := &columns[i]
		for range f.Layers {
			column.Column.Rows = append(column.Column.Rows, next())
		}
		column.Inclusion = open(f.forest(), 1, column.Column.Index)
	}
	p.CommR = open(f.forest(), 2, c)
	p.Columns.Challenged = columns[0]
	p.Columns.Base, p.Columns.Expander = columns[1:1+sdr.BaseParents], columns[1+sdr.BaseParents:]
	p.label(uint64(c), f.Layers)
	return p, nil
}

// proveSynthetic selects the proofs of a seed. It reads nothing but their file.
func (r replica) proveSynthetic(cache string, seed, commR node) (*vanillaProof, error) {
	f, set := syntheticFile{r}, r.syntheticSet(commR)
	in, err := openWhole(f.path(cache), f.SyntheticSize())
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // only read

	roots, record := make([]byte, jobs.SyntheticRoots), make([]byte, f.SyntheticRecord())
	if err := in.nodes(0, roots); err != nil {
		return nil, err
	}
	indexes := set.indexes(seed, r.Challenges*r.Partitions)
	proofs := make([]challengeProof, len(indexes))
	for i, at := range indexes {
		if _, err := in.ReadAt(record, f.offset(at)); err != nil {
			return nil, fileFault(err)
		}
		if proofs[i], err = f.parse(roots, record); err != nil {
			return nil, jobs.Failf(jobs.Input, "%s: record %d: %w", in.Name(), at, err)
		}
	}
	return r.vanilla(proofs, seed, commR), nil
}

// writeSynthetic opens every challenge of the set. What SHA-256 binds is checked on the
// way: the data in CommD, and the labels of the node and all its parents, since its own
// labels hash theirs. Of what Poseidon binds the self-check takes samples; to check all
// of it would cost as much as a tenth of the trees.
func (r replica) writeSynthetic(ctx context.Context, threads int, folders jobs.Folders, commR node, report func(jobs.Progress)) error {
	o, err := r.openSealed(folders)
	if err != nil {
		return err
	}
	defer o.close()
	f := syntheticFile{r}
	out, err := create(f.path(folders.Cache))
	if err != nil {
		return err
	}
	defer out.discard()

	commC, commRLast := o.columns.root(), o.rows.root()
	if _, err := out.WriteAt(slices.Concat(r.commD[:], commC[:], commRLast[:]), 0); err != nil {
		return fileFault(err)
	}
	var (
		mu   sync.Mutex
		done int
	)
	places, size := r.syntheticSet(commR).places(), uint64(f.SyntheticRecord())
	todo := slices.Collect(slices.Chunk(places, syntheticChunk))
	err = spread(ctx, threads, len(todo), func() func(int) error {
		w := syntheticWriter{f, o.another(), verifier{replica: r, graph: o.graph}, out, nil}
		return func(i int) error {
			for _, p := range todo[i] {
				if err := w.write(p); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if done += len(todo[i]); report != nil {
				report(jobs.Progress{Step: "synthetic proofs", Done: uint64(done) * size, Total: uint64(len(places)) * size})
			}
			return nil
		}
	})
	if err != nil {
		return err
	}
	return out.commit()
}

// syntheticChunk is how many records a goroutine takes at a time: neighbours, which share
// rows that must be made again.
const syntheticChunk = 64

// syntheticWriter is what one goroutine keeps between records.
type syntheticWriter struct {
	syntheticFile
	open   *opener
	verify verifier
	out    *output
	buf    []byte
}

func (w *syntheticWriter) write(p place) error {
	proof, err := w.open.challenge(p.challenge)
	if err != nil {
		return fmt.Errorf("open node %d: %w", p.challenge, err)
	}
	if err := w.verify.hashed(&proof, p.challenge); err != nil {
		return jobs.Failf(jobs.Input, "the synthetic proof of node %d does not hold: %w", p.challenge, err)
	}
	w.buf = appendRecord(w.buf[:0], p.challenge, &proof)
	_, err = w.out.WriteAt(w.buf, w.offset(p.index))
	return fileFault(err)
}

// place is a challenge and where its record goes.
type place struct {
	challenge uint64
	index     int
}

// places lists the set in the order of the nodes: neighbours share the rows of
// tree-r-last that must be made again.
func (s syntheticSet) places() []place {
	out := make([]place, s.size)
	for i := range out {
		out[i] = place{s.at(i), i}
	}
	slices.SortFunc(out, func(a, b place) int { return cmp.Or(cmp.Compare(a.challenge, b.challenge), a.index-b.index) })
	return out
}
