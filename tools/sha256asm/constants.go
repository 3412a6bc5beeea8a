package main

import (
	"math/bits"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
)

// Tables in memory. Elements of a register stand in the order of memory, lowest first.
var roundConstants, initialState, flipMask, fieldMask operand.Mem

// declareTables makes them. Every generated file has its own.
func declareTables() {
	roundConstants = table("roundConstants", k256[:])
	initialState = table("initialState", []uint32{
		0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667, // F E B A
		0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372, // H G D C
	})
	flipMask = table("flipMask", []uint32{0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f})
	fieldMask = table("fieldMask", []uint32{0xffffffff, 0xffffffff, 0xffffffff, 0x3fffffff})
}

func table(name string, words []uint32) operand.Mem {
	m := GLOBL(name, attr.RODATA|attr.NOPTR)
	for i, w := range words {
		DATA(4*i, operand.U32(w))
	}
	return m
}

// padding is a last block whose message ends after the given words of it: the rest of
// the block, without them.
func padding(words, messageBytes int) []uint32 {
	p := make([]uint32, 16-words)
	p[0] = 1 << 31
	p[len(p)-1] = uint32(8 * messageBytes)
	return p
}

// keptWords are the words and round constants of a block that is always the same.
func keptWords(block []uint32) []uint32 {
	w := append([]uint32(nil), block...)
	for i := 16; i < 64; i++ {
		s0 := bits.RotateLeft32(w[i-15], -7) ^ bits.RotateLeft32(w[i-15], -18) ^ w[i-15]>>3
		s1 := bits.RotateLeft32(w[i-2], -17) ^ bits.RotateLeft32(w[i-2], -19) ^ w[i-2]>>10
		w = append(w, w[i-16]+s0+w[i-7]+s1)
	}
	for i := range w {
		w[i] += k256[i]
	}
	return w
}

var k256 = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}
