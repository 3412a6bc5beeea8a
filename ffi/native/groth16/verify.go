package groth16

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// ProofSize is the length of one proof in bytes: A and C in G1, B in G2, compressed.
const ProofSize = bls.SizeOfG1AffineCompressed + bls.SizeOfG2AffineCompressed + bls.SizeOfG1AffineCompressed

// ErrInvalid says that well-formed proofs do not prove their statements.
var ErrInvalid = errors.New("the proof does not hold for these inputs")

// weightSize is the length of a random weight in bytes: a false proof among several
// passes with a chance of 2^-128.
const weightSize = 16

// Verify checks proofs of ProofSize bytes each, one after the other in proofs, against
// the public inputs of each. All share one check, a random combination of them, so ten
// cost little more than one; which of them is false does not come out of it. It returns
// [ErrInvalid] when all are well-formed and one is false.
func (vk *VerifyingKey) Verify(proofs []byte, inputs ...[]fr.Element) error {
	if want := len(inputs) * ProofSize; len(proofs) != want || want == 0 {
		return fmt.Errorf("a proof of %d bytes, want %d", len(proofs), want)
	}
	c, err := vk.combine(proofs, inputs)
	if err != nil {
		return err
	}
	return vk.holds(c)
}

// combination is the weighted sum of what several proofs claim: for each
// e(A, B) = e(alpha, beta) · e(L, gamma) · e(C, delta), where its inputs combine ic to L.
type combination struct {
	a       []bls.G1Affine // weighted
	b       []bls.G2Affine
	c       bls.G1Affine // the weighted sum
	scalars []fr.Element // of ic; the first, the sum of the weights, is alpha's too
}

func (vk *VerifyingKey) combine(proofs []byte, inputs [][]fr.Element) (combination, error) {
	n := len(inputs)
	s := combination{a: make([]bls.G1Affine, n), b: make([]bls.G2Affine, n), scalars: make([]fr.Element, len(vk.ic))}
	r := reader{rest: proofs, compressed: true}
	for k, in := range inputs {
		if len(in) != vk.Inputs() {
			return s, fmt.Errorf("%d public inputs for a key of %d", len(in), vk.Inputs())
		}
		var c bls.G1Affine
		r.g1(&s.a[k])
		r.g2(&s.b[k])
		r.g1(&c)
		if r.err != nil {
			return s, fmt.Errorf("parse proof %d: %w", k, r.err)
		}
		w := fr.One()
		if k > 0 { // the first needs no weight: the others are weighed against it
			if err := random(&w); err != nil {
				return s, err
			}
			scalar := w.BigInt(new(big.Int))
			s.a[k].ScalarMultiplication(&s.a[k], scalar)
			c.ScalarMultiplication(&c, scalar)
		}
		s.c.Add(&s.c, &c)
		s.scalars[0].Add(&s.scalars[0], &w)
		for i := range in {
			var e fr.Element
			s.scalars[i+1].Add(&s.scalars[i+1], e.Mul(&in[i], &w))
		}
	}
	return s, nil
}

func random(e *fr.Element) error {
	var b [weightSize]byte
	if _, err := rand.Read(b[:]); err != nil {
		return fmt.Errorf("draw a weight: %w", err)
	}
	e.SetBytes(b[:])
	return nil
}

func (vk *VerifyingKey) holds(s combination) error {
	var alpha, l bls.G1Affine
	alpha.ScalarMultiplication(&vk.alpha, s.scalars[0].BigInt(new(big.Int)))
	if _, err := l.MultiExp(vk.ic, s.scalars, ecc.MultiExpConfig{NbTasks: 1}); err != nil {
		return fmt.Errorf("combine public inputs: %w", err)
	}
	for _, p := range []*bls.G1Affine{&alpha, &l, &s.c} {
		p.Neg(p)
	}
	// Not the pairing with prepared points: in gnark-crypto v0.22 it writes to them, and
	// one point at infinity makes its whole product pass.
	ok, err := bls.PairingCheck(append(s.a, alpha, l, s.c), append(s.b, vk.beta, vk.gamma, vk.delta))
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	if !ok {
		return ErrInvalid
	}
	return nil
}
