package poseidon

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// maxWidth is the state of the largest arity, so that one hash needs no heap.
const maxWidth = 12

// Hash hashes one preimage of exactly Arity elements. Use a [Batch] for many.
func (p *Params) Hash(preimage ...fr.Element) fr.Element {
	if len(preimage) != p.arity {
		panic("poseidon: preimage does not match the arity")
	}
	var buf, scratch [maxWidth]fr.Element
	s, tmp := buf[:p.width], scratch[:p.width]
	s[0] = p.tag
	copy(s[1:], preimage)

	const half = fullRounds / 2
	for r := range half - 1 {
		p.fullRound(s, tmp, r, p.mds)
	}
	p.fullRound(s, tmp, half-1, p.bridge)
	for r := range p.sparse {
		p.partialRound(s, r)
	}
	for r := half; r < fullRounds; r++ {
		p.fullRound(s, tmp, r, p.mds)
	}
	return s[1]
}

func (p *Params) fullRound(s, tmp []fr.Element, r int, m matrix) {
	for i := range s {
		s[i].Add(&s[i], &p.full[r][i])
		quintic(&s[i])
	}
	for i := range tmp {
		tmp[i] = dot(m.row(i), s)
	}
	copy(s, tmp)
}

func (p *Params) partialRound(s []fr.Element, r int) {
	l := &p.sparse[r]
	s[0].Add(&s[0], &p.partial[r])
	quintic(&s[0])
	first := dot(l.row, s)
	var e fr.Element
	for i := range l.col {
		e.Mul(&l.col[i], &s[0])
		s[i+1].Add(&s[i+1], &e)
	}
	s[0] = first
}

func quintic(x *fr.Element) {
	var x4 fr.Element
	x4.Square(x)
	x4.Square(&x4)
	x.Mul(x, &x4)
}

func dot(a, b []fr.Element) (sum fr.Element) {
	var e fr.Element
	for i := range a {
		e.Mul(&a[i], &b[i])
		sum.Add(&sum, &e)
	}
	return sum
}
