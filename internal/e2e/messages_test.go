package e2e

import (
	"bytes"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// messages reads every message that the node ever took in, from its blocks and its
// mempool: what each stage sent of a sector, by CID.
func (c *cluster) messages() map[jobs.Stage]map[jobs.SectorID][]cid.Cid {
	c.t.Helper()
	sent := map[jobs.Stage]map[jobs.SectorID][]cid.Cid{jobs.PreCommit: {}, jobs.Commit: {}}
	seen := map[cid.Cid]bool{}
	take := func(name cid.Cid, m *lotus.Message) {
		if seen[name] {
			return // landed, and still remembered by the mempool
		}
		seen[name] = true
		stage, ids := c.members(m)
		for _, id := range ids {
			sent[stage][id] = append(sent[stage][id], name)
		}
	}
	ctx := c.t.Context()
	pending, err := c.node.MpoolPending(ctx, lotus.EmptyTSK)
	require.NoError(c.t, err)
	for _, m := range pending {
		take(m.Cid(), &m.Message)
	}
	c.walk(func(_ *lotus.TipSet, name cid.Cid, m *lotus.Message) { take(name, m) })
	return sent
}

// walk visits every message of the chain, the latest first, with the tipset that
// includes it. It gives the head.
func (c *cluster) walk(visit func(ts *lotus.TipSet, name cid.Cid, m *lotus.Message)) *lotus.TipSet {
	c.t.Helper()
	ctx := c.t.Context()
	head, err := c.node.ChainHead(ctx)
	require.NoError(c.t, err)
	for ts := head; ts.Height > 0; {
		for _, block := range ts.Cids {
			in, err := c.node.ChainGetBlockMessages(ctx, block)
			require.NoError(c.t, err)
			for _, m := range in.BlsMessages {
				visit(ts, m.Cid(), m)
			}
			for _, m := range in.SecpkMessages {
				visit(ts, m.Cid(), &m.Message)
			}
		}
		ts, err = c.node.ChainGetTipSet(ctx, ts.Parents())
		require.NoError(c.t, err)
	}
	return head
}

// members are the sectors of a message, and the stage that sends such messages; none
// for one that does nothing but use a nonce that was reserved and not used in time.
func (c *cluster) members(m *lotus.Message) (stage jobs.Stage, ids []jobs.SectorID) {
	if m.Method == builtin.MethodSend {
		return jobs.PreCommit, nil
	}
	actor, err := address.IDFromAddress(m.To)
	require.NoError(c.t, err)
	of := abi.ActorID(actor)
	switch m.Method {
	case builtin.MethodsMiner.PreCommitSectorBatch2:
		var p miner.PreCommitSectorBatchParams2
		require.NoError(c.t, p.UnmarshalCBOR(bytes.NewReader(m.Params)))
		for _, s := range p.Sectors {
			ids = append(ids, jobs.SectorID{Miner: of, Number: s.SectorNumber})
		}
		return jobs.PreCommit, ids
	case builtin.MethodsMiner.ProveCommitSectors3:
		var p miner.ProveCommitSectors3Params
		require.NoError(c.t, p.UnmarshalCBOR(bytes.NewReader(m.Params)))
		for _, s := range p.SectorActivations {
			ids = append(ids, jobs.SectorID{Miner: of, Number: s.SectorNumber})
		}
		return jobs.Commit, ids
	}
	c.t.Fatalf("nobody sends messages of method %d here", m.Method)
	return "", nil
}

// sentOnce sees that one message of each meaning exists, or none, and that what
// exists was executed well.
func (c *cluster) sentOnce(id jobs.SectorID, times int) {
	c.t.Helper()
	for stage, sent := range c.messages() {
		require.Len(c.t, sent[id], times, "%s messages", stage)
		for _, name := range sent[id] {
			found, err := c.node.StateSearchMsg(c.t.Context(), lotus.EmptyTSK, name, -1, false)
			require.NoError(c.t, err)
			require.NotNil(c.t, found, "%s message %s has no receipt", stage, name)
			require.Zero(c.t, found.Receipt.ExitCode, "%s message %s", stage, name)
		}
	}
}
