package jobs

import (
	"errors"
	"fmt"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// Names of a sector's files, as rust-fil-proofs writes them. They have no suffix
// when the replica tree has one base tree.
const (
	TreeDFile  = "sc-02-data-tree-d.dat"
	PAuxFile   = "p_aux"
	TAuxFile   = "t_aux"
	SealedFile = "sealed" // the replica, in a folder of its own
	// UnsealedFile is a sector's data where it is kept: sector-size bytes, fr32-padded.
	UnsealedFile = "unsealed"
	C1File       = "c1.json"
	// SyntheticFile holds the openings of all challenges that a seed may select, for
	// seal proofs with synthetic challenges (FIP-0059).
	SyntheticFile = "syn-porep-vanilla-proofs.dat"
)

// The kinds of trees that are cut into base trees.
const (
	TreeC = "tree-c"
	TreeR = "tree-r-last"
)

// Layers is the number of SDR layers: 2 up to 1 GiB, 11 above (published
// parameters).
func Layers(p abi.RegisteredSealProof) int { return shapeFor(p).Layers }

// LayerFile names a layer's file; layers count from 1.
func LayerFile(layer int) string { return fmt.Sprintf("sc-02-data-layer-%d.dat", layer) }

// LayerFiles names the layer files, in order.
func LayerFiles(p abi.RegisteredSealProof) []string {
	names := make([]string, Layers(p))
	for i := range names {
		names[i] = LayerFile(i + 1)
	}
	return names
}

// TreeFile names the file of base tree k of so many. A single one has no number.
func TreeFile(kind string, k, trees int) string {
	if trees == 1 {
		return "sc-02-data-" + kind + ".dat"
	}
	return fmt.Sprintf("sc-02-data-%s-%d.dat", kind, k)
}

func treeFiles(kind string, p abi.RegisteredSealProof) []string {
	names := make([]string, shapeFor(p).BaseTrees())
	for k := range names {
		names[k] = TreeFile(kind, k, len(names))
	}
	return names
}

// TreeCFiles names the column tree's files.
func TreeCFiles(p abi.RegisteredSealProof) []string { return treeFiles(TreeC, p) }

// ReleasedFiles names what drop_layers removes: the layers, and with synthetic proofs
// tree-c as well, which then serves no proof either. The data tree stays: a replica
// that must be made again needs it, and so does an unsealed copy.
func ReleasedFiles(p abi.RegisteredSealProof) []string {
	if p.IsSynthetic() {
		return append(LayerFiles(p), TreeCFiles(p)...)
	}
	return LayerFiles(p)
}

// ReplicaFiles names what tree_rc makes that is read later, the sealed file among it.
func ReplicaFiles(p abi.RegisteredSealProof) []string {
	names := append(LastingFiles(p), SealedFile)
	if p.IsSynthetic() {
		names = append(names, SyntheticFile)
	}
	return names
}

// ProvenFiles names what c1 reads and checks against the manifest first.
func ProvenFiles(p abi.RegisteredSealProof) []string {
	if p.IsSynthetic() {
		return []string{SealedFile, SyntheticFile}
	}
	return []string{SealedFile}
}

// LastingFiles names the cache files that a prover of WindowPoSt needs.
func LastingFiles(p abi.RegisteredSealProof) []string {
	return append([]string{PAuxFile, TAuxFile}, treeFiles(TreeR, p)...)
}

// CommitmentBytes takes the 32 bytes out of a CommD or CommR CID.
func CommitmentBytes(c cid.Cid) (out [32]byte, err error) {
	if !c.Defined() {
		return out, errors.New("commitment is not known yet")
	}
	b, err := commcid.CIDToReplicaCommitmentV1(c)
	if err != nil {
		if b, err = commcid.CIDToDataCommitmentV1(c); err != nil {
			return out, fmt.Errorf("commitment %s: %w", c, err)
		}
	}
	copy(out[:], b)
	return out, nil
}

// inputOf names the stage that made a bad input.
func inputOf(err error, from Stage) error {
	var f *Fault
	if errors.As(err, &f) && f.Class == Input && f.From == "" {
		g := *f
		g.From = from
		return &g
	}
	return err
}
