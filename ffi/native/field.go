package native

import (
	"encoding/binary"
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/lpseal/lpseal/ffi/native/poseidon"
)

// r0…r3 are the field's modulus, least significant first.
const (
	r0 = 0xffffffff00000001
	r1 = 0x53bda402fffe5bfe
	r2 = 0x3339d80809a1d805
	r3 = 0x73eda753299d7d48
)

// encode writes key + data into dst, element by element: the replica. All are below
// 2^254, so a single subtraction brings a sum back into the field.
func encode(dst, key, data []byte) {
	for ; len(dst) > 0; dst, key, data = dst[nodeSize:], key[nodeSize:], data[nodeSize:] {
		s0, c := bits.Add64(limb(key, 0), limb(data, 0), 0)
		s1, c := bits.Add64(limb(key, 1), limb(data, 1), c)
		s2, c := bits.Add64(limb(key, 2), limb(data, 2), c)
		s3, _ := bits.Add64(limb(key, 3), limb(data, 3), c)
		d0, b := bits.Sub64(s0, r0, 0)
		d1, b := bits.Sub64(s1, r1, b)
		d2, b := bits.Sub64(s2, r2, b)
		d3, b := bits.Sub64(s3, r3, b)
		if b == 0 {
			s0, s1, s2, s3 = d0, d1, d2, d3
		}
		putLimbs(dst, s0, s1, s2, s3)
	}
}

// decode undoes [encode]: it writes replica - key into dst.
func decode(dst, key, replica []byte) {
	for ; len(dst) > 0; dst, key, replica = dst[nodeSize:], key[nodeSize:], replica[nodeSize:] {
		d0, b := bits.Sub64(limb(replica, 0), limb(key, 0), 0)
		d1, b := bits.Sub64(limb(replica, 1), limb(key, 1), b)
		d2, b := bits.Sub64(limb(replica, 2), limb(key, 2), b)
		d3, b := bits.Sub64(limb(replica, 3), limb(key, 3), b)
		if b == 1 {
			var c uint64
			d0, c = bits.Add64(d0, r0, 0)
			d1, c = bits.Add64(d1, r1, c)
			d2, c = bits.Add64(d2, r2, c)
			d3, _ = bits.Add64(d3, r3, c)
		}
		putLimbs(dst, d0, d1, d2, d3)
	}
}

func limb(e []byte, i int) uint64 { return binary.LittleEndian.Uint64(e[8*i:]) }

func putLimbs(e []byte, l0, l1, l2, l3 uint64) {
	binary.LittleEndian.PutUint64(e, l0)
	binary.LittleEndian.PutUint64(e[8:], l1)
	binary.LittleEndian.PutUint64(e[16:], l2)
	binary.LittleEndian.PutUint64(e[24:], l3)
}

// modulo reads n as a little-endian number and reduces it.
func modulo(n node, m uint64) (rem uint64) {
	for i := 3; i >= 0; i-- {
		_, rem = bits.Div64(rem, limb(n[:], i), m)
	}
	return rem
}

// poseidonHash hashes nodes; it refuses one that is no canonical field element.
func poseidonHash(nodes ...node) (node, error) {
	preimage := make([]fr.Element, len(nodes))
	for i := range nodes {
		e, err := fr.LittleEndian.Element((*[nodeSize]byte)(&nodes[i]))
		if err != nil {
			return node{}, err
		}
		preimage[i] = e
	}
	var out node
	fr.LittleEndian.PutElement((*[nodeSize]byte)(&out), poseidon.Of(len(nodes)).Hash(preimage...))
	return out, nil
}
