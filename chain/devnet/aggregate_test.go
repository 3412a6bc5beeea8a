package devnet_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/builtin"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// aggregateMessage proves sectors 1 to n by one proof.
func (n *network) aggregateMessage(sectors int, proof []byte) *lotus.Message {
	kind := abi.RegisteredAggregationProof_SnarkPackV2
	params := &miner18.ProveCommitSectors3Params{AggregateProof: proof, AggregateProofType: &kind}
	for number := range sectors {
		params.SectorActivations = append(params.SectorActivations, miner18.SectorActivationManifest{SectorNumber: abi.SectorNumber(number + 1)})
	}
	return n.message(builtin.MethodsMiner.ProveCommitSectors3, params)
}

// preCommitFour pre-commits sectors 1 to 4 and waits for their seeds.
func (n *network) preCommitFour() {
	for number := range abi.SectorNumber(4) {
		n.precommit(n.precommitInfo(number + 1))
	}
}

func TestAggregates(t *testing.T) {
	t.Parallel()
	good := []byte("an aggregate")
	missing := jobs.Failf(jobs.Busy, "the SRS is missing")
	var seen [][]devnet.SealInfo
	n := start(t, func(c *devnet.Config) {
		c.VerifyAggregate = func(_ context.Context, seals []devnet.SealInfo, aggregate []byte) error {
			if missing != nil {
				return fmt.Errorf("verify aggregate: %w", missing)
			}
			seen = append(seen, seals)
			if !bytes.Equal(aggregate, good) {
				return jobs.Failf(jobs.Input, "no")
			}
			return nil
		}
	})
	n.preCommitFour()
	n.wantReverted(n.aggregateMessage(4, good), 16, "aggregate seal verify failed: verify aggregate: busy: the SRS is missing")
	missing = nil // and what could not be told is told now
	n.wantReverted(n.aggregateMessage(4, []byte("another")), 16, "aggregate seal verify failed: the proof is not of these 4 sectors")
	n.land(n.aggregateMessage(4, good))
	for number := range abi.SectorNumber(4) {
		info, err := n.api.StateSectorGetInfo(n.ctx, n.miner, number+1, lotus.EmptyTSK)
		require.NoError(t, err)
		require.NotNil(t, info)
	}
	require.Len(t, seen, 2, "each aggregate was verified once, however often its message was executed")
	for i, seal := range seen[1] {
		require.EqualValues(t, i+1, seal.ID.Number, "in the message's order")
		require.NotEmpty(t, seal.Seed)
	}
}

// TestLateSectorOfAnAggregate: the proof is of all sectors, and those in time are committed.
func TestLateSectorOfAnAggregate(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *devnet.Config) {
		c.VerifyAggregate = func(_ context.Context, seals []devnet.SealInfo, _ []byte) error {
			if len(seals) != 4 {
				return jobs.Failf(jobs.Input, "it is of 4 sectors, and not of %d", len(seals))
			}
			return nil
		}
	})
	n.precommit(n.precommitInfo(1))
	n.advance(30 * builtin.EpochsInDay)
	for number := range abi.SectorNumber(3) {
		n.precommit(n.precommitInfo(number + 2))
	}
	found := n.land(n.aggregateMessage(4, []byte("an aggregate")))
	var ret batch.BatchReturn
	require.NoError(t, ret.UnmarshalCBOR(bytes.NewReader(found.Receipt.Return)))
	require.Equal(t, batch.BatchReturn{SuccessCount: 3, FailCodes: []batch.FailCode{{Idx: 0, Code: 16}}}, ret)
}

// TestWithoutFilecoinFFI: the error says what to build.
func TestWithoutFilecoinFFI(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.preCommitFour()
	n.wantReverted(n.aggregateMessage(4, []byte("an aggregate")), 16, "build lpseal with tag filcrypto")
}
