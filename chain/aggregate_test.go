package chain

import (
	"bytes"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

func TestMayAggregate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		sectors int
		version uint
		want    bool
	}{
		{3, 28, false}, {4, 28, true}, {819, 28, true}, {820, 28, false}, {4, 25, true}, {4, 24, false},
	} {
		require.Equal(t, tc.want, mayAggregate(tc.sectors, tc.version), "%+v", tc)
	}
}

func TestAggregateIsCheaper(t *testing.T) {
	t.Parallel()
	require.True(t, aggregateIsCheaper([]int64{300, 200}, 499))
	require.False(t, aggregateIsCheaper([]int64{300, 200}, 500), "equal gas is not worth the time")
	require.False(t, aggregateIsCheaper([]int64{300}, 400))
}

// An aggregate stands in the parameters in place of the proofs, with its kind.
func TestAggregateParams(t *testing.T) {
	t.Parallel()
	rs := []jobs.CommitRequest{{Seal: jobs.Seal{ID: jobs.SectorID{Number: 3}}, Proof: []byte{1}}, {Seal: jobs.Seal{ID: jobs.SectorID{Number: 4}}, Proof: []byte{2}}}
	raw, err := commitParams(rs, true, []byte("aggregate"))
	require.NoError(t, err)
	var got miner.ProveCommitSectors3Params
	require.NoError(t, got.UnmarshalCBOR(bytes.NewReader(raw)))
	require.Empty(t, got.SectorProofs)
	require.Equal(t, []byte("aggregate"), got.AggregateProof)
	require.Equal(t, abi.RegisteredAggregationProof_SnarkPackV2, *got.AggregateProofType)
	require.Equal(t, abi.SectorNumber(4), got.SectorActivations[1].SectorNumber)
	require.True(t, got.RequireActivationSuccess)
}
