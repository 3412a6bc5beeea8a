package e2e

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// balances are what everybody has who can have anything: the two accounts of the
// network, the miner, and f099, where burnt gas and forfeited deposits go.
func (s *storm) balances() map[string]abi.TokenAmount {
	s.Helper()
	out := map[string]abi.TokenAmount{}
	for name, id := range map[string]uint64{"owner": 100, "control": 101, "miner": uint64(stormMiner), "burnt": 99} {
		addr, err := address.NewIDAddress(id)
		require.NoError(s, err)
		actor, err := s.api.StateGetActor(s.Context(), addr, lotus.EmptyTSK)
		require.NoError(s, err)
		out[name] = actor.Balance
	}
	return out
}

// settleLedger compares what was paid with what the chain holds for it.
func (s *storm) settleLedger(before map[string]abi.TokenAmount) {
	s.Helper()
	c := &cluster{t: s, node: s.api}
	tips, messages := big.Zero(), 0
	// Of some messages the node was ordered to lose the receipt: they may have failed.
	landed, unknown := map[jobs.Meaning]int{}, map[jobs.Meaning]int{}
	head := c.walk(func(ts *lotus.TipSet, name cid.Cid, m *lotus.Message) {
		messages++
		tips = big.Add(tips, lotus.ChargeGas(m, 1, ts.Blocks[0].ParentBaseFee).Tip)
		found, err := s.api.StateSearchMsg(s.Context(), lotus.EmptyTSK, name, -1, false)
		require.NoError(s, err)
		stage, ids := c.members(m)
		for _, id := range ids {
			switch of := (jobs.Meaning{Stage: stage, ID: id}); {
			case found == nil:
				unknown[of]++
			case found.Receipt.ExitCode == 0:
				landed[of]++
			}
		}
	})
	for number := range abi.SectorNumber(stormSectors) {
		for _, stage := range []jobs.Stage{jobs.PreCommit, jobs.Commit} {
			of := jobs.Meaning{Stage: stage, ID: jobs.SectorID{Miner: stormMiner, Number: number}}
			require.LessOrEqual(s, landed[of], 1, "%s landed more than once", of)
			require.Positive(s, landed[of]+unknown[of], "%s never landed", of)
		}
	}

	after := s.balances()
	grown := func(name string) abi.TokenAmount { return big.Sub(after[name], before[name]) }
	spent := big.Sum(grown("owner"), grown("control")).Neg()
	require.Equal(s, spent.String(), big.Sum(grown("miner"), grown("burnt"), tips).String(), "all that senders spent is with the miner, burnt, or was a tip")

	miner, err := address.NewIDAddress(uint64(stormMiner))
	require.NoError(s, err)
	pledged := big.Zero()
	infos, err := s.api.StateMinerSectors(s.Context(), miner, nil, lotus.EmptyTSK)
	require.NoError(s, err)
	require.Len(s, infos, stormSectors)
	for _, info := range infos {
		pledged = big.Add(pledged, info.InitialPledge)
	}
	available, err := s.api.StateMinerAvailableBalance(s.Context(), miner, lotus.EmptyTSK)
	require.NoError(s, err)
	require.Equal(s, after["miner"].String(), big.Add(available, pledged).String(), "what is locked is the pledge of the sectors: no deposit is left, and none was burnt")
	s.Logf("%d sectors in %d messages by epoch %d: %s attoFIL spent, %s pledged, %s burnt, %s tips", stormSectors, messages, head.Height, spent, pledged, grown("burnt"), tips)
}
