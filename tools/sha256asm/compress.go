package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// blockSize is a block of a message, and what its 64 words with the round constants
// added take when they are kept.
const (
	blockSize = 64
	keptSize  = 64 * 4
)

// lane is one stream of SHA-256 in registers.
type lane struct {
	abef, cdgh reg.VecPhysical
	w          [4]reg.VecPhysical // 16 words of the schedule
	save       operand.Mem        // 32 bytes: the state before a block
}

// Registers that lanes share. SHA256RNDS2 takes the words of its two rounds from X0.
var (
	words   = reg.X0
	scratch = reg.X13
	flip    = reg.X15 // swaps the bytes of words
)

// newLanes gives n lanes that keep their states in the frame.
func newLanes(n int) []lane {
	all := []lane{
		{abef: reg.X1, cdgh: reg.X2, w: [4]reg.VecPhysical{reg.X3, reg.X4, reg.X5, reg.X6}},
		{abef: reg.X7, cdgh: reg.X8, w: [4]reg.VecPhysical{reg.X9, reg.X10, reg.X11, reg.X12}},
	}[:n]
	for i := range all {
		all[i].save = AllocLocal(32)
	}
	return all
}

// compress adds one block to every lane: the words in lane.w, of which it computes the
// schedule. With kept, the words and round constants of lane i are stored there for
// [again].
func compress(lanes []lane, kept []operand.Mem) {
	enter(lanes)
	for g := range 16 {
		at, before, after := g%4, (g+3)%4, (g+1)%4
		for i, l := range lanes {
			VPADDD(roundConstants.Offset(16*g), l.w[at], words)
			if kept != nil {
				VMOVDQU(words, kept[i].Offset(16*g))
			}
			SHA256RNDS2(words, l.abef, l.cdgh)
			if g >= 3 && g <= 14 {
				VPALIGNR(operand.Imm(4), l.w[before], l.w[at], scratch)
				PADDD(scratch, l.w[after])
				SHA256MSG2(l.w[at], l.w[after])
			}
			PSHUFD(operand.Imm(0x0e), words, words)
			SHA256RNDS2(words, l.cdgh, l.abef)
			if g >= 1 && g <= 12 {
				SHA256MSG1(l.w[at], l.w[before])
			}
		}
	}
	leave(lanes)
}

// again adds a block whose words and round constants were kept.
func again(lanes []lane, kept []operand.Mem) {
	enter(lanes)
	for g := range 16 {
		for i, l := range lanes {
			VMOVDQU(kept[i].Offset(16*g), words)
			SHA256RNDS2(words, l.abef, l.cdgh)
			PSHUFD(operand.Imm(0x0e), words, words)
			SHA256RNDS2(words, l.cdgh, l.abef)
		}
	}
	leave(lanes)
}

func enter(lanes []lane) {
	for _, l := range lanes {
		VMOVDQU(l.abef, l.save)
		VMOVDQU(l.cdgh, l.save.Offset(16))
	}
}

func leave(lanes []lane) {
	for _, l := range lanes {
		VPADDD(l.save, l.abef, l.abef)
		VPADDD(l.save.Offset(16), l.cdgh, l.cdgh)
	}
}

// start gives a lane SHA-256's initial state.
func (l lane) start() {
	VMOVDQU(initialState, l.abef)
	VMOVDQU(initialState.Offset(16), l.cdgh)
}

// load takes a part of a block from memory: n registers of four words from the k-th on.
func (l lane) load(k, n int, from operand.Mem) {
	for i := range n {
		VMOVDQU(from.Offset(16*i), l.w[k+i])
		PSHUFB(flip, l.w[k+i])
	}
}

// store writes the digest, cut to 254 bits, and leaves the lane without a state.
func (l lane) store(to operand.Mem) {
	PSHUFD(operand.Imm(0x1b), l.abef, l.abef)           // from the top FEBA become ABEF
	PSHUFD(operand.Imm(0xb1), l.cdgh, l.cdgh)           // GHCD
	VPALIGNR(operand.Imm(8), l.abef, l.cdgh, scratch)   // HGFE
	VPBLENDW(operand.Imm(0xf0), l.cdgh, l.abef, l.abef) // DCBA
	PSHUFB(flip, l.abef)
	PSHUFB(flip, scratch)
	PAND(fieldMask, scratch)
	VMOVDQU(l.abef, to)
	VMOVDQU(scratch, to.Offset(16))
}
