package sdr

import (
	"encoding/binary"
	"math/bits"
)

// chacha8 is the key stream of ChaCha with 8 rounds, a 64-bit block counter and a
// zero nonce, read as little-endian 64-bit words. The generator of that name in
// math/rand/v2 is another construction, and golang.org/x/crypto has 20 rounds only.
type chacha8 struct {
	state [16]uint32
	block [16]uint32
	used  int // words of block already given
}

// newChaCha8 keys the stream with the graph's seed and the node.
func newChaCha8(seed [28]byte, node uint32) chacha8 {
	c := chacha8{used: 16}
	c.state = [16]uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574} // "expand 32-byte k"
	for i := range 7 {
		c.state[4+i] = binary.LittleEndian.Uint32(seed[4*i:])
	}
	c.state[11] = node
	return c
}

func (c *chacha8) next() uint64 {
	if c.used == len(c.block) {
		c.refill()
	}
	w := uint64(c.block[c.used]) | uint64(c.block[c.used+1])<<32
	c.used += 2
	return w
}

func (c *chacha8) refill() {
	// Sixteen variables and not an array: the compiler keeps them in registers.
	s := &c.state
	x0, x1, x2, x3 := s[0], s[1], s[2], s[3]
	x4, x5, x6, x7 := s[4], s[5], s[6], s[7]
	x8, x9, x10, x11 := s[8], s[9], s[10], s[11]
	x12, x13, x14, x15 := s[12], s[13], s[14], s[15]
	for range 4 {
		x0, x4, x8, x12 = quarter(x0, x4, x8, x12)
		x1, x5, x9, x13 = quarter(x1, x5, x9, x13)
		x2, x6, x10, x14 = quarter(x2, x6, x10, x14)
		x3, x7, x11, x15 = quarter(x3, x7, x11, x15)
		x0, x5, x10, x15 = quarter(x0, x5, x10, x15)
		x1, x6, x11, x12 = quarter(x1, x6, x11, x12)
		x2, x7, x8, x13 = quarter(x2, x7, x8, x13)
		x3, x4, x9, x14 = quarter(x3, x4, x9, x14)
	}
	c.block = [16]uint32{x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15}
	for i := range c.block {
		c.block[i] += s[i]
	}
	s[12]++ // a node needs two blocks, so the high half of the counter stays zero
	c.used = 0
}

func quarter(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	a += b
	d = bits.RotateLeft32(d^a, 16)
	c += d
	b = bits.RotateLeft32(b^c, 12)
	a += b
	d = bits.RotateLeft32(d^a, 8)
	c += d
	b = bits.RotateLeft32(b^c, 7)
	return a, b, c, d
}
