package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A label hashes a prefix of one block, 37 parents and an end of half a block.
const (
	labelSize    = 32
	baseParents  = 6
	allParents   = 14
	messageBytes = blockSize + 37*labelSize
	// lookAhead is how many nodes before its turn a node's parents are fetched: the time
	// of some labels is longer than memory's.
	lookAhead = 8
)

// labels writes the functions that label nodes of layer 1 and of those above, in one
// sector or in two whose labels of a node lie side by side.
func labels() {
	end := table("labelEnd", padding(8, messageBytes))
	for _, sectors := range []int{1, 2} {
		for _, above := range []bool{false, true} {
			newLabeler(sectors, above, end).write()
		}
	}
}

// labeler is one function being written.
type labeler struct {
	sectors int
	above   bool
	end     operand.Mem
	lanes   []lane
	kept    []operand.Mem

	current, previous, parents, last, replicas reg.Register
	layer, node, count                         reg.Register
}

func newLabeler(sectors int, above bool, end operand.Mem) *labeler {
	return &labeler{sectors: sectors, above: above, end: end}
}

// blocks is how many blocks of parents differ: all others repeat them.
func (l *labeler) blocks() int {
	if l.above {
		return allParents / 2
	}
	return baseParents / 2
}

func (l *labeler) write() {
	kind, previous := "First", ""
	if l.above {
		kind, previous = "Above", "previous *byte, "
	}
	name := fmt.Sprintf("label%s%d", kind, l.sectors)
	TEXT(name, 0, fmt.Sprintf("func(current *byte, %sparents, last *uint32, replicas *byte, layer, node, count uint64)", previous))
	Pragma("noescape")
	Doc(name+" labels count nodes from node on, which is not 0. parents is of the first of them,",
		"and last of the last whose parents may be fetched ahead.")
	l.current = Load(Param("current"), GP64())
	if l.above {
		l.previous = Load(Param("previous"), GP64())
	}
	l.parents, l.last = Load(Param("parents"), GP64()), Load(Param("last"), GP64())
	l.replicas = Load(Param("replicas"), GP64())
	l.layer, l.node, l.count = Load(Param("layer"), GP64()), Load(Param("node"), GP64()), Load(Param("count"), GP64())
	VZEROUPPER()
	VMOVDQU(flipMask, flip)
	l.lanes = newLanes(2)
	for range l.sectors {
		l.kept = append(l.kept, AllocLocal(keptSize*l.blocks()))
	}
	if l.sectors == 1 {
		l.alone()
	} else {
		l.together()
	}
	RET()
}

// alone labels one sector. All blocks of a label wait for the ones before, but the
// prefix of the next label waits for nothing: it is hashed beside the end of this one.
func (l *labeler) alone() {
	now, ahead := l.lanes[0], l.lanes[1]
	l.prefix(ahead, 0)
	compress([]lane{ahead}, nil)
	Label("next")
	l.fetch()
	VMOVDQA(ahead.abef, now.abef)
	VMOVDQA(ahead.cdgh, now.cdgh)
	l.middle([]lane{now})
	l.finish([]lane{now})
	INCQ(l.node)
	l.prefix(ahead, 0)
	compress([]lane{now, ahead}, nil)
	l.keep([]lane{now}, -1)
	ADDQ(operand.Imm(4*allParents), l.parents)
	DECQ(l.count)
	JNZ(operand.LabelRef("next"))
}

// together labels sectors whose rounds take turns.
func (l *labeler) together() {
	Label("next")
	l.fetch()
	for i, lane := range l.lanes {
		l.prefix(lane, i)
	}
	compress(l.lanes, nil)
	l.middle(l.lanes)
	l.finish(l.lanes)
	compress(l.lanes, nil)
	l.keep(l.lanes, 0)
	INCQ(l.node)
	ADDQ(operand.Imm(4*allParents), l.parents)
	DECQ(l.count)
	JNZ(operand.LabelRef("next"))
}

// prefix starts a label: replica id, layer and node.
func (l *labeler) prefix(to lane, sector int) {
	to.load(0, 2, operand.Mem{Base: l.replicas, Disp: sector * labelSize})
	VMOVQ(l.layer, to.w[2])
	VPINSRQ(operand.Imm(1), l.node, to.w[2], to.w[2])
	VPXOR(to.w[3], to.w[3], to.w[3])
	to.start()
}

// middle adds the parents, again and again up to the last of the 37.
func (l *labeler) middle(lanes []lane) {
	for b := range l.blocks() {
		l.parent(lanes, 2*b, 0)
		l.parent(lanes, 2*b+1, 2)
		var part []operand.Mem
		for _, k := range l.kept {
			part = append(part, k.Offset(b*keptSize))
		}
		compress(lanes, part)
	}

	at, left, zero := GP64(), GP64(), GP64()
	XORQ(at, at)
	XORQ(zero, zero)
	MOVQ(operand.U32((messageBytes-blockSize)/blockSize-l.blocks()), left)
	Label("again")
	var part []operand.Mem
	for _, k := range l.kept {
		part = append(part, k.Idx(at, 1))
	}
	again(lanes, part)
	ADDQ(operand.U32(keptSize), at)
	CMPQ(at, operand.U32(keptSize*l.blocks()))
	CMOVQEQ(zero, at)
	DECQ(left)
	JNZ(operand.LabelRef("again"))
}

// finish loads the last block: the last of the 37 parents and the padding.
func (l *labeler) finish(lanes []lane) {
	l.parent(lanes, 36%(2*l.blocks()), 0)
	for _, lane := range lanes {
		VMOVDQU(l.end, lane.w[2])
		VMOVDQU(l.end.Offset(16), lane.w[3])
	}
}

// parent loads label number k of the node's parents into half a block.
func (l *labeler) parent(lanes []lane, k, half int) {
	at := l.address(l.parents, k)
	for i, lane := range lanes {
		at.Disp = i * labelSize
		lane.load(half, 2, at)
	}
}

// address finds the labels of parent k in a list.
func (l *labeler) address(list reg.Register, k int) operand.Mem {
	from := l.current
	if k >= baseParents {
		from = l.previous
	}
	at := GP64()
	MOVL(operand.Mem{Base: list, Disp: 4 * k}, at.As32())
	SHLQ(l.shift(), at)
	return operand.Mem{Base: from, Index: at, Scale: 1}
}

// shift turns a node into the offset of its labels.
func (l *labeler) shift() operand.Constant {
	return operand.Imm(uint64(4 + l.sectors)) // 32 or 64 bytes
}

// fetch asks for the labels that a later node hashes.
func (l *labeler) fetch() {
	list := GP64()
	LEAQ(operand.Mem{Base: l.parents, Disp: 4 * allParents * lookAhead}, list)
	CMPQ(list, l.last)
	CMOVQHI(l.last, list)
	for k := range 2 * l.blocks() {
		PREFETCHT0(l.address(list, k))
	}
}

// keep writes the labels of node + offset.
func (l *labeler) keep(lanes []lane, offset int) {
	at := GP64()
	MOVQ(l.node, at)
	SHLQ(l.shift(), at)
	for i, lane := range lanes {
		lane.store(operand.Mem{Base: l.current, Index: at, Scale: 1, Disp: (offset*l.sectors + i) * labelSize})
	}
}
