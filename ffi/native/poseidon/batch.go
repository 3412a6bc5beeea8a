package poseidon

import (
	"encoding/binary"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Size is the length of an element in bytes.
const Size = fr.Bytes

// stateBytes bounds the working set of a Batch so that it stays in the first-level
// cache: the number of lanes follows from it.
const stateBytes = 32 << 10

// rSquare and one are Montgomery factors as raw limbs: multiplying a vector of plain
// numbers by rSquare brings it into Montgomery form, multiplying by one takes it out.
var (
	rSquare = montgomerySquare()
	one     = fr.Element{1}
)

// montgomerySquare is 2^256 as a field element: its limbs are R·R.
func montgomerySquare() fr.Element {
	var r fr.Element
	r.SetOne()
	for range 64 * fr.Limbs {
		r.Double(&r)
	}
	return r
}

// Batch hashes many preimages of one arity. It allocates nothing after New and is
// for one goroutine at a time.
type Batch struct {
	p     *Params
	lanes int
	state []fr.Vector // width vectors of lanes
	next  []fr.Vector // the state after a dense linear layer
	tmp   fr.Vector
}

// NewBatch makes a Batch for preimages of arity elements.
func NewBatch(arity int) *Batch {
	p := Of(arity)
	b := &Batch{p: p, lanes: max(8, stateBytes/(2*p.width+1)/Size&^7)}
	vectors := make(fr.Vector, (2*p.width+1)*b.lanes)
	take := func() fr.Vector {
		v := vectors[:b.lanes:b.lanes]
		vectors = vectors[b.lanes:]
		return v
	}
	for range p.width {
		b.state = append(b.state, take())
		b.next = append(b.next, take())
	}
	b.tmp = take()
	return b
}

// HashRow hashes each run of Arity elements of src into one element of dst: one row
// of a Merkle tree into the row above. len(src) must be Arity times len(dst).
func (b *Batch) HashRow(dst, src []byte) {
	if len(src) != b.p.arity*len(dst) || len(dst)%Size != 0 {
		panic("poseidon: the row above does not match the row below")
	}
	stride := b.p.arity * Size
	for len(dst) > 0 {
		n := min(b.lanes, len(dst)/Size)
		for i := range b.p.arity {
			load(b.state[i+1][:n], src[i*Size:], stride)
		}
		b.permute(n)
		store(dst, b.state[1][:n])
		dst, src = dst[n*Size:], src[n*stride:]
	}
}

// HashColumns hashes element i of every column into element i of dst. There must be
// Arity columns, each as long as dst.
func (b *Batch) HashColumns(dst []byte, columns [][]byte) {
	if len(columns) != b.p.arity || len(dst)%Size != 0 {
		panic("poseidon: columns do not match the arity")
	}
	for at := 0; at < len(dst); at += b.lanes * Size {
		n := min(b.lanes, (len(dst)-at)/Size)
		for i, c := range columns {
			load(b.state[i+1][:n], c[at:len(dst)], Size)
		}
		b.permute(n)
		store(dst[at:], b.state[1][:n])
	}
}

// load reads plain little-endian elements that lie stride bytes apart.
func load(v fr.Vector, src []byte, stride int) {
	for i := range v {
		e := src[i*stride : i*stride+Size]
		v[i] = fr.Element{
			binary.LittleEndian.Uint64(e),
			binary.LittleEndian.Uint64(e[8:]),
			binary.LittleEndian.Uint64(e[16:]),
			binary.LittleEndian.Uint64(e[24:]),
		}
	}
	v.ScalarMul(v, &rSquare)
}

// store writes v as plain little-endian elements; v is left in that form.
func store(dst []byte, v fr.Vector) {
	v.ScalarMul(v, &one)
	for i := range v {
		e := dst[i*Size : (i+1)*Size]
		binary.LittleEndian.PutUint64(e, v[i][0])
		binary.LittleEndian.PutUint64(e[8:], v[i][1])
		binary.LittleEndian.PutUint64(e[16:], v[i][2])
		binary.LittleEndian.PutUint64(e[24:], v[i][3])
	}
}

// permute runs the permutation on the first n lanes, whose preimages are loaded.
func (b *Batch) permute(n int) {
	tag := b.state[0][:n]
	for i := range tag {
		tag[i] = b.p.tag
	}
	const half = fullRounds / 2
	for r := range half - 1 {
		b.fullRound(n, r, b.p.mds)
	}
	b.fullRound(n, half-1, b.p.bridge)
	for r := range b.p.sparse {
		b.partialRound(n, r)
	}
	for r := half; r < fullRounds; r++ {
		b.fullRound(n, r, b.p.mds)
	}
}

func (b *Batch) fullRound(n, r int, m matrix) {
	for i := range b.state {
		b.quintic(b.state[i][:n], &b.p.full[r][i])
	}
	tmp := b.tmp[:n]
	for i := range b.next {
		out, row := b.next[i][:n], m.row(i)
		out.ScalarMul(b.state[0][:n], &row[0])
		for j := 1; j < len(row); j++ {
			tmp.ScalarMul(b.state[j][:n], &row[j])
			out.Add(out, tmp)
		}
	}
	b.state, b.next = b.next, b.state
}

func (b *Batch) partialRound(n, r int) {
	l := &b.p.sparse[r]
	first, sum, tmp := b.state[0][:n], b.next[0][:n], b.tmp[:n]
	b.quintic(first, &b.p.partial[r])
	sum.ScalarMul(first, &l.row[0])
	for i := range l.col {
		v := b.state[i+1][:n]
		tmp.ScalarMul(v, &l.row[i+1])
		sum.Add(sum, tmp)
		tmp.ScalarMul(first, &l.col[i])
		v.Add(v, tmp)
	}
	b.state[0], b.next[0] = b.next[0], b.state[0]
}

// quintic is v = (v+c)^5 in every lane.
func (b *Batch) quintic(v fr.Vector, c *fr.Element) {
	for i := range v {
		v[i].Add(&v[i], c)
	}
	tmp := b.tmp[:len(v)]
	tmp.Mul(v, v)
	tmp.Mul(tmp, tmp)
	v.Mul(v, tmp)
}
