package native

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// nodeSize is the length of a node in bytes: a field element or a SHA-256 digest.
const nodeSize = 32

// octArity is the arity of every base tree over replicas and columns.
const octArity = 8

// Shape is what a sector size fixes: its trees, layers and challenges.
type Shape struct {
	Size             abi.SectorSize
	Base, Sub, Top   int // arities of tree-c and tree-r-last from the leaves up; 0 is none
	Layers           int
	Challenges       int // in each partition
	Partitions       int // of the interactive proof
	NonInteractive   int // partitions of NI-PoRep
	MaxDiscardedRows int // rows of tree-r-last above the leaves that are not stored, at most
}

func testShape(size abi.SectorSize, sub, top int) Shape {
	return Shape{size, octArity, sub, top, 2, 2, 1, 13, 2}
}

func mainnetShape(size abi.SectorSize, sub, top int) Shape {
	return Shape{size, octArity, sub, top, 11, 18, 10, 126, 2}
}

// Shapes lists every sector size that the proofs know.
var Shapes = []Shape{
	testShape(2<<10, 0, 0),
	testShape(4<<10, 2, 0),
	testShape(16<<10, 8, 0),
	testShape(32<<10, 8, 2),
	testShape(8<<20, 0, 0),
	testShape(16<<20, 2, 0),
	testShape(512<<20, 0, 0),
	testShape(1<<30, 2, 0),
	mainnetShape(32<<30, 8, 0),
	mainnetShape(64<<30, 8, 2),
}

// ShapeOf gives the shape of a sector size.
func ShapeOf(size abi.SectorSize) (Shape, error) {
	for _, s := range Shapes {
		if s.Size == size {
			return s, nil
		}
	}
	return Shape{}, jobs.Failf(jobs.Rejected, "no proof has sectors of %d bytes", size)
}

// Nodes is the number of 32-byte nodes in a layer.
func (s Shape) Nodes() int { return int(s.Size / nodeSize) }

// BaseTrees is how many base trees the replica is cut into, each with its own files.
func (s Shape) BaseTrees() int { return max(1, s.Sub) * max(1, s.Top) }

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

// interactive gives the spec of a proof whose challenges come from the seed alone.
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
	if s.version > v11 {
		return spec{}, jobs.Failf(jobs.Rejected, "package native does not support synthetic and non-interactive proofs yet (seal proof %d): use backend filcrypto", proof)
	}
	return s, nil
}

func (s spec) sizeName() string { return sizeNames[int(s.proof)%len(sizeNames)] }

// name is the registered proof as rust-fil-proofs spells it; treeName is the key of
// the tree shape in its JSON, which never got a version.
func (s spec) name() string {
	if s.version == v11 {
		return s.treeName() + "_1"
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
