package files

import (
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// TestUnread: with synthetic proofs c1 needs what tree_rc opened, and no layers.
func TestUnread(t *testing.T) {
	t.Parallel()
	const layer = "sc-02-data-layer-1.dat"
	for proof, wants := range map[abi.RegisteredSealProof]map[string]bool{
		abi.RegisteredSealProof_StackedDrg2KiBV1_1:                     {layer: true, jobs.TreeDFile: true, jobs.SyntheticFile: false, jobs.SealedFile: true},
		abi.RegisteredSealProof_StackedDrg2KiBV1_1_Feat_SyntheticPoRep: {layer: false, jobs.TreeDFile: false, jobs.SyntheticFile: true, jobs.SealedFile: true},
	} {
		r := &jobs.Record{Proof: proof, Stages: map[jobs.Stage]jobs.StageRecord{}}
		for _, s := range []jobs.Stage{jobs.TreeD, jobs.SDR, jobs.TreeRC, jobs.Store, jobs.PreCommit} {
			r.Stages[s] = jobs.StageRecord{State: jobs.Done, Fence: 1}
		}
		for name, want := range wants {
			require.Equal(t, want, slices.Contains(unread(r), name), "seal proof %d: %s", proof, name)
			require.Equal(t, true, knownFiles[name], name)
		}
		r.Stages[jobs.TreeRC] = jobs.StageRecord{Fence: 2}
		require.Contains(t, unread(r), layer, "tree_rc reads them")
		require.NotContains(t, unread(r), jobs.SyntheticFile)
	}
}
