package groth16

import (
	"encoding/binary"
	"errors"
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// The flags in the first byte of an encoded point.
const (
	flagCompressed = 0x80
	flagInfinity   = 0x40
	flagSign       = 0x20
)

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
