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
	x := c.state
	for range 4 {
		quarter(&x, 0, 4, 8, 12)
		quarter(&x, 1, 5, 9, 13)
		quarter(&x, 2, 6, 10, 14)
		quarter(&x, 3, 7, 11, 15)
		quarter(&x, 0, 5, 10, 15)
		quarter(&x, 1, 6, 11, 12)
		quarter(&x, 2, 7, 8, 13)
		quarter(&x, 3, 4, 9, 14)
	}
	for i := range x {
		c.block[i] = x[i] + c.state[i]
	}
	c.state[12]++ // a node needs two blocks, so the high half of the counter stays zero
	c.used = 0
}

func quarter(x *[16]uint32, a, b, c, d int) {
	x[a] += x[b]
	x[d] = bits.RotateLeft32(x[d]^x[a], 16)
	x[c] += x[d]
	x[b] = bits.RotateLeft32(x[b]^x[c], 12)
	x[a] += x[b]
	x[d] = bits.RotateLeft32(x[d]^x[a], 8)
	x[c] += x[d]
	x[b] = bits.RotateLeft32(x[b]^x[c], 7)
}
