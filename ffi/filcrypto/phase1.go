package filcrypto

import (
	"encoding/json"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// nodeSize is the length of a tree node in bytes.
const nodeSize = 32

// sizeNames are the sector sizes in the order of the registered numbers, five for
// each version of the proof.
var sizeNames = [...]string{"2KiB", "8MiB", "512MiB", "32GiB", "64GiB"}

// treeName is the variant of Rust's enum of labels; it never got a version.
func treeName(p abi.RegisteredSealProof) string {
	return fmt.Sprintf("StackedDrg%sV1", sizeNames[int(p)%len(sizeNames)])
}

// versions are what Rust's enum of seal proofs adds to the name of the shape, in the
// order of the registered numbers.
var versions = [...]string{"", "_1", "_1_Feat_SyntheticPoRep"}

func proofName(p abi.RegisteredSealProof) string {
	return treeName(p) + versions[int(p)/len(sizeNames)]
}

// phase1Output is what SealPreCommitPhase1 returns and Phase2 takes. It holds no
// data, only names of files: so it can be written for layers and a data tree that
// were made apart.
type phase1Output struct {
	Proof  string            `json:"registered_proof"`
	Labels map[string]labels `json:"labels"`
	Config storeConfig       `json:"config"` // of tree-d
	CommD  [32]int           `json:"comm_d"` // serde writes bytes as numbers
}

type labels struct {
	Labels []storeConfig `json:"labels"`
	H      any           `json:"_h"` // PhantomData: null
}

// storeConfig names a file sc-02-data-ID.dat of Size nodes.
type storeConfig struct {
	Path      string `json:"path"`
	ID        string `json:"id"`
	Size      uint64 `json:"size"`
	Discarded int    `json:"rows_to_discard"`
}

// phase1 describes the layers and the data tree in a cache folder.
func phase1(s jobs.Seal, cache string) ([]byte, error) {
	size, err := s.Proof.SectorSize()
	if err != nil {
		return nil, jobs.Failf(jobs.Rejected, "seal proof %d: %w", s.Proof, err)
	}
	nodes := uint64(size) / nodeSize
	commD, err := jobs.CommitmentBytes(s.CommD)
	if err != nil {
		return nil, jobs.Failf(jobs.Bug, "CommD: %w", err)
	}
	out := phase1Output{Proof: proofName(s.Proof), Config: storeConfig{Path: cache, ID: "tree-d", Size: 2*nodes - 1}}
	for i, b := range commD {
		out.CommD[i] = int(b)
	}
	var l labels
	for i := range jobs.Layers(s.Proof) {
		l.Labels = append(l.Labels, storeConfig{Path: cache, ID: fmt.Sprintf("layer-%d", i+1), Size: nodes})
	}
	out.Labels = map[string]labels{treeName(s.Proof): l}
	return json.Marshal(out)
}
