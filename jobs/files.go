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
)

// Layers is the number of SDR layers: 2 up to 1 GiB, 11 above (published
// parameters).
func Layers(p abi.RegisteredSealProof) int {
	if size, err := p.SectorSize(); err == nil && size < 32<<30 {
		return 2
	}
	return 11
}

// baseTrees is the number of trees that tree-c and tree-r-last are split into.
func baseTrees(p abi.RegisteredSealProof) int {
	switch size, _ := p.SectorSize(); size {
	case 32 << 30:
		return 8
	case 64 << 30:
		return 16
	}
	return 1
}

// LayerFiles names the layer files, in order.
func LayerFiles(p abi.RegisteredSealProof) []string {
	names := make([]string, Layers(p))
	for i := range names {
		names[i] = fmt.Sprintf("sc-02-data-layer-%d.dat", i+1)
	}
	return names
}

func treeFiles(kind string, p abi.RegisteredSealProof) []string {
	n := baseTrees(p)
	if n == 1 {
		return []string{"sc-02-data-" + kind + ".dat"}
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("sc-02-data-%s-%d.dat", kind, i)
	}
	return names
}

// TreeCFiles names the column tree's files.
func TreeCFiles(p abi.RegisteredSealProof) []string { return treeFiles("tree-c", p) }

// LastingFiles names the cache files that a prover of WindowPoSt needs.
func LastingFiles(p abi.RegisteredSealProof) []string {
	return append([]string{PAuxFile, TAuxFile}, treeFiles("tree-r-last", p)...)
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
