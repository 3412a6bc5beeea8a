package native

import "github.com/lpseal/lpseal/ffi/native/poseidon"

// lowRows are the rows of tree-r-last that its file leaves out, the replica below them
// included: they are made again for the leaves under one stored node, and kept until
// another is asked for. It is for one goroutine.
type lowRows struct {
	sealed input
	hash   *poseidon.Batch
	rows   [][]byte // over the leaves of one stored node, leaves first
	node   int      // which one; -1 before the first
}

// newLowRows gives the rows below row lowest.
func newLowRows(sealed input, arity, lowest int) *lowRows {
	l := &lowRows{sealed: sealed, hash: poseidon.NewBatch(arity), rows: make([][]byte, lowest), node: -1}
	width := nodeSize
	for row := lowest - 1; row >= 0; row-- {
		width *= arity
		l.rows[row] = make([]byte, width)
	}
	return l
}

// read is a [rowReader] for the children of one node. What is no field element is
// hashed all the same: no proof of it holds.
func (l *lowRows) read(row, first int, dst []node) error {
	width := len(l.rows[row]) / nodeSize
	if first/width != l.node {
		if err := l.make(first / width); err != nil {
			return err
		}
	}
	for i := range dst {
		dst[i] = node(l.rows[row][(first%width+i)*nodeSize:])
	}
	return nil
}

func (l *lowRows) make(of int) error {
	l.node = -1
	if err := l.sealed.nodes(of*len(l.rows[0])/nodeSize, l.rows[0]); err != nil {
		return err
	}
	for row, below := range l.rows[:len(l.rows)-1] {
		l.hash.HashRow(l.rows[row+1], below)
	}
	l.node = of
	return nil
}
