package jobs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWaitsFor(t *testing.T) {
	t.Parallel()
	done := func(stages ...Stage) map[Stage]StageRecord {
		out := map[Stage]StageRecord{}
		for _, s := range stages {
			out[s] = StageRecord{State: Done}
		}
		return out
	}
	sealed := []Stage{TreeD, SDR, TreeRC, Store}
	seed := Randomness{Value: []byte{1}}
	for want, r := range map[string]*Record{
		"waits for a place":                    {},
		"next is tree_rc":                      {Home: "p1", Stages: done(TreeD, SDR)},
		"next is finalize":                     {Home: "p1", Activation: 9, PreCommitEpoch: 7, Seed: seed, Stages: done(append(sealed, PreCommit, C1, C2, Commit, DropLayers)...)},
		"waits for a batch of pre-commits":     {Home: "p1", Stages: done(sealed...)},
		"pre-commit sent, waits to land":       {Home: "p1", Stages: done(append(sealed, PreCommit)...)},
		"waits for the seed":                   {Home: "p1", PreCommitEpoch: 7, Stages: done(append(sealed, PreCommit)...)},
		"waits for a lane for c2":              {Home: "p1", PreCommitEpoch: 7, Seed: seed, Stages: done(append(sealed, PreCommit, C1)...)},
		"waits for a batch of commits":         {Home: "p1", PreCommitEpoch: 7, Seed: seed, Stages: done(append(sealed, PreCommit, C1, C2)...)},
		"commit sent, waits to land":           {Home: "p1", PreCommitEpoch: 7, Seed: seed, Stages: done(append(sealed, PreCommit, C1, C2, Commit)...)},
		"committed, waits for its first proof": {Home: "p1", Activation: 9, Stages: done(append(sealed, PreCommit, C1, C2, Commit, Finalize)...)},
	} {
		require.Equal(t, want, r.WaitsFor())
	}
}
