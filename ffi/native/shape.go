package native

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// nodeSize is the length of a node in bytes: a field element or a SHA-256 digest.
const nodeSize = jobs.NodeSize

// maxArity is the largest arity of a tree: that of every base tree over replicas and
// columns.
const maxArity = 8

// Shape is what a sector size fixes: its trees, layers and challenges.
type Shape struct {
	jobs.Shape
	Challenges       int // in each partition
	Partitions       int // of the interactive proof
	NonInteractive   int // partitions of NI-PoRep
	MaxDiscardedRows int // rows of tree-r-last above the leaves that are not stored, at most
}

// shapeOf adds the challenges: few for the sizes that are for tests.
func shapeOf(s jobs.Shape) Shape {
	if s.Size < 32<<30 {
		return Shape{s, 2, 1, 13, 2}
	}
	return Shape{s, 18, 10, 126, 2}
}

// ShapeOf gives the shape of a sector size.
func ShapeOf(size abi.SectorSize) (Shape, error) {
	s, err := jobs.ShapeOf(size)
	if err != nil {
		return Shape{}, err
	}
	return shapeOf(s), nil
}

// forest is the tree over columns or the replica.
func (s Shape) forest() forest {
	above := slices.DeleteFunc([]int{s.Sub, s.Top}, func(arity int) bool { return arity == 0 })
	return forest{s.base(), above}
}

// DiscardedRows is how many rows above the leaves tree-r-last leaves out: they are
// quickly made again from the replica. The row below the root always stays.
func (s Shape) DiscardedRows() int {
	switch rows := s.base().height() + 1; {
	case rows <= 2:
		return 0
	case rows == 3:
		return 1
	default:
		return min(rows-2, s.MaxDiscardedRows)
	}
}

// base is one base tree over columns or the replica.
func (s Shape) base() tree { return tree{leaves: s.Nodes() / s.BaseTrees(), arity: s.Base} }

// data is the tree over the sector's data.
func (s Shape) data() tree { return tree{leaves: s.Nodes(), arity: 2} }

// version is a generation of seal proofs: they differ in name, graph and challenges.
type version int

// The generations, in the order of the registered numbers: five sizes each.
const (
	v1 version = iota
	v11
	v11Synthetic
	v12NonInteractive
)

var sizeNames = [...]string{"2KiB", "8MiB", "512MiB", "32GiB", "64GiB"}

// spec is a registered seal proof.
type spec struct {
	Shape
	proof   abi.RegisteredSealProof
	version version
}

// interactive gives the spec of a proof whose challenges come from a seed of the chain.
func interactive(proof abi.RegisteredSealProof) (spec, error) {
	size, err := proof.SectorSize()
	if err != nil {
		return spec{}, jobs.Failf(jobs.Rejected, "seal proof %d: %w", proof, err)
	}
	shape, err := ShapeOf(size)
	if err != nil {
		return spec{}, err
	}
	s := spec{shape, proof, version(int(proof) / len(sizeNames))}
	if s.version > v11Synthetic {
		return spec{}, jobs.Failf(jobs.Rejected, "seal proof %d is non-interactive: package native seals numbers 0 to %d", proof, 3*len(sizeNames)-1)
	}
	return s, nil
}

// synthetic says that the replica's proofs are made before the seed is known.
func (s spec) synthetic() bool { return s.version == v11Synthetic }

func (s spec) sizeName() string { return sizeNames[int(s.proof)%len(sizeNames)] }

// name is the registered proof as rust-fil-proofs spells it; treeName is the key of
// the tree shape in its JSON, which never got a version.
func (s spec) name() string {
	switch s.version {
	case v11:
		return s.treeName() + "_1"
	case v11Synthetic:
		return s.treeName() + "_1_Feat_SyntheticPoRep"
	}
	return s.treeName()
}

func (s spec) treeName() string { return fmt.Sprintf("StackedDrg%sV1", s.sizeName()) }

// porepID seeds graph and replica id: the proof's number and a nonce that is zero.
func (s spec) porepID() (id [32]byte) {
	id[0] = byte(s.proof)
	return id
}

// log gives the base-arity logarithm of a power of it.
func log(n, arity int) int {
	return bits.TrailingZeros(uint(n)) / bits.TrailingZeros(uint(arity))
}
