// Package groth16 checks Groth16 proofs over BLS12-381 in the encodings of
// bellperson, with which Filecoin's proofs are made.
package groth16

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// ProofSize is the length of one proof in bytes: A and C in G1, B in G2, compressed.
const ProofSize = bls.SizeOfG1AffineCompressed + bls.SizeOfG2AffineCompressed + bls.SizeOfG1AffineCompressed

// ErrInvalid says that a well-formed proof does not prove its statement.
var ErrInvalid = errors.New("the proof does not hold for these inputs")

// The flags in the first byte of an encoded point.
const (
	flagCompressed = 0x80
	flagInfinity   = 0x40
	flagSign       = 0x20
)

// VerifyingKey is the public half of a circuit's parameters. It never changes after
// parsing and serves any number of goroutines.
type VerifyingKey struct {
	alpha              bls.G1Affine
	beta, gamma, delta bls.G2Affine
	ic                 []bls.G1Affine // one for the constant, then one for each input
}

// ParseVerifyingKey reads a .vk file: every point uncompressed, on the curve and in
// its subgroup, and not a byte more. Whether it is the key of the network's ceremony
// is for the caller to know: keys of the same circuit have the same file name.
func ParseVerifyingKey(file []byte) (*VerifyingKey, error) {
	r := reader{rest: file}
	vk := new(VerifyingKey)
	var unused1 bls.G1Affine // beta and delta in G1 are for the prover
	r.g1(&vk.alpha)
	r.g1(&unused1)
	r.g2(&vk.beta)
	r.g2(&vk.gamma)
	r.g1(&unused1)
	r.g2(&vk.delta)
	count := r.count()
	if r.err == nil && len(r.rest) != count*bls.SizeOfG1AffineUncompressed {
		r.err = fmt.Errorf("%d bytes left for %d input points", len(r.rest), count)
	}
	if r.err != nil {
		return nil, fmt.Errorf("parse verifying key: %w", r.err)
	}
	vk.ic = make([]bls.G1Affine, count)
	for i := range vk.ic {
		r.g1(&vk.ic[i])
	}
	if r.err != nil {
		return nil, fmt.Errorf("parse verifying key: %w", r.err)
	}
	if count == 0 {
		return nil, errors.New("parse verifying key: no input points")
	}
	return vk, nil
}

// Inputs is the number of public inputs that the circuit has.
func (vk *VerifyingKey) Inputs() int { return len(vk.ic) - 1 }

// Verify checks one proof of ProofSize bytes against its public inputs. It returns
// [ErrInvalid] when the proof is well-formed and false.
func (vk *VerifyingKey) Verify(proof []byte, inputs []fr.Element) error {
	if len(inputs) != vk.Inputs() {
		return fmt.Errorf("%d public inputs for a key of %d", len(inputs), vk.Inputs())
	}
	if len(proof) != ProofSize {
		return fmt.Errorf("a proof of %d bytes, want %d", len(proof), ProofSize)
	}
	r := reader{rest: proof, compressed: true}
	var a, c, l bls.G1Affine
	var b bls.G2Affine
	r.g1(&a)
	r.g2(&b)
	r.g1(&c)
	if r.err != nil {
		return fmt.Errorf("parse proof: %w", r.err)
	}
	if _, err := l.MultiExp(vk.ic[1:], inputs, ecc.MultiExpConfig{NbTasks: 1}); err != nil {
		return fmt.Errorf("combine public inputs: %w", err)
	}
	l.Add(&l, &vk.ic[0])

	// e(A, B) = e(alpha, beta) · e(L, gamma) · e(C, delta)
	a.Neg(&a)
	ok, err := bls.PairingCheck(
		[]bls.G1Affine{a, vk.alpha, l, c},
		[]bls.G2Affine{b, vk.beta, vk.gamma, vk.delta},
	)
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	if !ok {
		return ErrInvalid
	}
	return nil
}

// reader takes points off a byte string and remembers the first error. All points
// have one form; infinity is never among them.
type reader struct {
	rest       []byte
	compressed bool
	err        error
}

func (r *reader) g1(p *bls.G1Affine) {
	if b := r.point(bls.SizeOfG1AffineUncompressed); r.err == nil {
		_, r.err = p.SetBytes(b)
	}
}

func (r *reader) g2(p *bls.G2Affine) {
	if b := r.point(bls.SizeOfG2AffineUncompressed); r.err == nil {
		_, r.err = p.SetBytes(b)
	}
}

func (r *reader) point(size int) []byte {
	flags := byte(0)
	mask := byte(flagCompressed | flagInfinity | flagSign)
	if r.compressed {
		size, flags, mask = size/2, flagCompressed, flagCompressed|flagInfinity
	}
	b := r.take(size)
	if r.err == nil && b[0]&mask != flags {
		r.err = fmt.Errorf("a point is encoded with flags %#x", b[0]&^0x1f)
	}
	return b
}

func (r *reader) count() int {
	b := r.take(4)
	if r.err != nil {
		return 0
	}
	return int(binary.BigEndian.Uint32(b))
}

func (r *reader) take(n int) []byte {
	if r.err == nil && len(r.rest) < n {
		r.err = errors.New("cut short")
	}
	if r.err != nil {
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}
