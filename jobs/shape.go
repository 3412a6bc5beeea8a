package jobs

import "github.com/filecoin-project/go-state-types/abi"

// NodeSize is the length of a node of every tree and layer in bytes.
const NodeSize = 32

// Shape is what a sector size fixes of its layers and trees, and so of its files.
type Shape struct {
	Size abi.SectorSize
	// Base, Sub and Top are the arities of tree-c and tree-r-last from the leaves up; 0
	// is none. The replica is cut into base trees, each with its own files.
	Base, Sub, Top int
	Layers         int
}

// Shapes lists every sector size that the proofs know, also those that no parameters
// are published for and that no registered proof has.
var Shapes = []Shape{
	{2 << 10, 8, 0, 0, 2},
	{4 << 10, 8, 2, 0, 2},
	{16 << 10, 8, 8, 0, 2},
	{32 << 10, 8, 8, 2, 2},
	{8 << 20, 8, 0, 0, 2},
	{16 << 20, 8, 2, 0, 2},
	{512 << 20, 8, 0, 0, 2},
	{1 << 30, 8, 2, 0, 2},
	{32 << 30, 8, 8, 0, 11},
	{64 << 30, 8, 8, 2, 11},
}

// ShapeOf gives the shape of a sector size; class Rejected if no proof has it.
func ShapeOf(size abi.SectorSize) (Shape, error) {
	for _, s := range Shapes {
		if s.Size == size {
			return s, nil
		}
	}
	return Shape{}, Failf(Rejected, "no proof has sectors of %d bytes", size)
}

// shapeFor is the zero shape, which has no layers, for a proof that nobody knows.
func shapeFor(p abi.RegisteredSealProof) Shape {
	size, err := p.SectorSize()
	if err != nil {
		return Shape{}
	}
	s, _ := ShapeOf(size) // every registered proof has one
	return s
}

// Nodes is the number of nodes in a layer.
func (s Shape) Nodes() int { return int(s.Size / NodeSize) }

// BaseTrees is how many base trees tree-c and tree-r-last have.
func (s Shape) BaseTrees() int { return max(1, s.Sub) * max(1, s.Top) }

// maxSynthetic bounds the challenges that a replica with synthetic proofs is opened at.
const maxSynthetic = 1 << 18

// SyntheticChallenges is how many challenges a replica with synthetic proofs is opened
// at: as many as it has nodes, up to 2^18.
func (s Shape) SyntheticChallenges() int { return min(s.Nodes(), maxSynthetic) }

// parents of a node in the graph.
const parents = 14

// SyntheticRoots is the length of the head of [SyntheticFile] in bytes: the roots of
// tree-d, tree-c and tree-r-last.
const SyntheticRoots = 3 * NodeSize

// SyntheticRecord is the length of a challenge's record in [SyntheticFile] in bytes: the
// numbers of the node and its parents, then of every opening the leaf and the siblings,
// with the labels of each column.
func (s Shape) SyntheticRecord() int64 {
	data := 1 + log2(s.Nodes())
	opening, leaves := 1, s.Nodes()/s.BaseTrees()
	for ; leaves > 1; leaves /= s.Base {
		opening += s.Base - 1
	}
	opening += max(s.Sub, 1) - 1 + max(s.Top, 1) - 1
	const columns = 1 + parents
	return columns*8 + int64(data+columns*(s.Layers+opening)+opening)*NodeSize
}

// SyntheticSize is the length of [SyntheticFile] in bytes.
func (s Shape) SyntheticSize() int64 {
	return SyntheticRoots + int64(s.SyntheticChallenges())*s.SyntheticRecord()
}

// log2 of a power of two.
func log2(n int) (log int) {
	for ; n > 1; n /= 2 {
		log++
	}
	return log
}
