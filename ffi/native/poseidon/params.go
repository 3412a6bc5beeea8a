package poseidon

import (
	"fmt"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// fullRounds is R_F, half before and half after the partial rounds.
const fullRounds = 8

// partialRounds is R_P by arity: 128-bit security over a 255-bit field with the
// margin that Filecoin's specification adds.
var partialRounds = map[int]int{2: 55, 4: 56, 8: 57, 11: 57}

var byArity = map[int]func() *Params{
	2:  sync.OnceValue(func() *Params { return derive(2) }),
	4:  sync.OnceValue(func() *Params { return derive(4) }),
	8:  sync.OnceValue(func() *Params { return derive(8) }),
	11: sync.OnceValue(func() *Params { return derive(11) }),
}

// Params are the constants of one arity, in the form the fast permutation wants.
// They never change after [Of] returned them.
type Params struct {
	arity int
	width int        // t = arity+1
	tag   fr.Element // 2^arity-1, the state's element 0

	full    [fullRounds]fr.Vector // added before the S-boxes of a full round
	partial fr.Vector             // added to element 0 before its S-box
	mds     matrix
	bridge  matrix   // replaces mds in the last full round before the partial rounds
	sparse  []sparse // the linear layers of the partial rounds
}

// sparse is a linear layer that differs from the identity only in its first row
// and first column.
type sparse struct {
	row fr.Vector // t elements
	col fr.Vector // t-1 elements: rows 1..t-1 of column 0
}

// Of gives the constants for preimages of arity elements. They are computed at the
// first call. It panics for an arity that Filecoin does not use: arities are
// constants of the program, never input.
func Of(arity int) *Params {
	p, ok := byArity[arity]
	if !ok {
		panic(fmt.Sprintf("poseidon: no parameters for arity %d", arity))
	}
	return p()
}

// Arity is the number of elements in a preimage.
func (p *Params) Arity() int { return p.arity }

func derive(arity int) *Params {
	t := arity + 1
	p := &Params{arity: arity, width: t, mds: cauchy(t)}
	p.tag.SetUint64(1<<arity - 1)

	rounds := fullRounds + partialRounds[arity]
	constants := make([]fr.Vector, rounds)
	g := newGrain(t, fullRounds, partialRounds[arity])
	for i := range constants {
		constants[i] = make(fr.Vector, t)
		for j := range constants[i] {
			constants[i][j] = g.element()
		}
	}
	p.foldConstants(constants)
	p.factorPartialRounds()
	return p
}

// foldConstants moves, in every partial round, what is added to the elements
// without an S-box through the linear layer into the next round, so that one scalar
// per partial round is left.
func (p *Params) foldConstants(c []fr.Vector) {
	const half = fullRounds / 2
	partials := len(c) - fullRounds
	p.partial = make(fr.Vector, partials)
	for r := range partials {
		now, next := c[half+r], c[half+r+1]
		p.partial[r] = now[0]
		now[0].SetZero()
		carried := p.mds.apply(now)
		next.Add(next, carried)
	}
	copy(p.full[:half], c[:half])
	copy(p.full[half:], c[half+partials:])
}

// factorPartialRounds writes the matrix of each partial round as sparse × diag(1, Â).
// The right factor leaves element 0 alone, so it commutes with the partial S-box and
// is multiplied into the round before; the one left over makes bridge.
func (p *Params) factorPartialRounds() {
	t := p.width
	p.sparse = make([]sparse, len(p.partial))
	a := p.mds
	for r := len(p.sparse) - 1; r >= 0; r-- {
		hat := a.minor()
		s := sparse{row: make(fr.Vector, t), col: make(fr.Vector, t-1)}
		s.row[0] = a.at(0, 0)
		copy(s.row[1:], hat.inverse().transpose().apply(a.row(0)[1:]))
		for i := range s.col {
			s.col[i] = a.at(i+1, 0)
		}
		p.sparse[r] = s
		a = hat.bordered().mul(p.mds)
	}
	p.bridge = a
}

// grain is the self-shrinking LFSR of the Poseidon paper, from which the round
// constants are drawn.
type grain struct{ state [80]byte }

func newGrain(t, rf, rp int) *grain {
	g := new(grain)
	i := 0
	put := func(v, bits int) {
		for b := bits - 1; b >= 0; b-- {
			g.state[i] = byte(v >> b & 1)
			i++
		}
	}
	put(1, 2)        // a prime field
	put(1, 4)        // S-box x^5, as neptune numbers it
	put(fr.Bits, 12) // 255
	put(t, 12)
	put(rf, 10)
	put(rp, 10)
	put(1<<30-1, 30)
	for range 160 {
		g.step()
	}
	return g
}

func (g *grain) step() byte {
	s := &g.state
	b := s[62] ^ s[51] ^ s[38] ^ s[23] ^ s[13] ^ s[0]
	copy(s[:], s[1:])
	s[len(s)-1] = b
	return b
}

// bit takes bits in pairs: the second counts when the first is 1.
func (g *grain) bit() byte {
	for {
		keep, b := g.step(), g.step()
		if keep == 1 {
			return b
		}
	}
}

// element draws 255-bit big-endian numbers until one is below the field's modulus.
func (g *grain) element() fr.Element {
	for {
		var b [fr.Bytes]byte
		for i := range fr.Bits {
			at := i + 8*fr.Bytes - fr.Bits
			b[at/8] |= g.bit() << (7 - at%8)
		}
		if e, err := fr.BigEndian.Element(&b); err == nil {
			return e
		}
	}
}
