package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
)

// nodes hashes pairs of tree nodes, two pairs at a time. The second block of such a
// message is nothing but padding.
func nodes() {
	const pair, node = 64, 32
	ended := table("ended", keptWords(padding(0, pair)))

	TEXT("hashPairs", NOSPLIT, "func(dst, src *byte, twos int)")
	Pragma("noescape")
	Doc("hashPairs hashes 2·twos pairs of nodes of src into the nodes of dst.")
	dst, src, twos := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("twos"), GP64())
	VZEROUPPER()
	VMOVDQU(flipMask, flip)
	lanes := newLanes(2)

	Label("next")
	for i, l := range lanes {
		l.load(0, 4, operand.Mem{Base: src, Disp: i * pair})
		l.start()
	}
	compress(lanes, nil)
	again(lanes, []operand.Mem{ended, ended})
	for i, l := range lanes {
		l.store(operand.Mem{Base: dst, Disp: i * node})
	}
	ADDQ(operand.Imm(2*pair), src)
	ADDQ(operand.Imm(2*node), dst)
	DECQ(twos)
	JNZ(operand.LabelRef("next"))
	RET()
}
