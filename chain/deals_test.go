package chain_test

import (
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

const day = 2880

var dealPiece = jobs.Piece{CID: cid.MustParse("baga6ea4seaqicoyiliijespbati3bqmuyubusdfbrk5hj6tuzqgkrvlvzdnwadi"), Size: 1024}

// allocate makes an allocation for the piece, as changed.
func allocate(t *testing.T, node *devnet.Node, p jobs.Piece, change ...func(*verifreg.Allocation)) *jobs.Allocation {
	t.Helper()
	a := verifreg.Allocation{
		Client: 101, Provider: minerID, Data: p.CID, Size: p.Size, TermMin: 180 * day, TermMax: 1000 * day, Expiration: node.Head().Height + 5000,
	}
	for _, c := range change {
		c(&a)
	}
	id, err := node.Allocate(a)
	require.NoError(t, err)
	return &jobs.Allocation{Client: 101, ID: uint64(id)}
}

// publish makes a deal about the piece, as changed.
func publish(t *testing.T, node *devnet.Node, p jobs.Piece, change ...func(*market.DealProposal)) jobs.Notification {
	t.Helper()
	start := node.Head().Height + 4000
	d := market.DealProposal{
		PieceCID: p.CID, PieceSize: p.Size, Client: actorAddress(t, 101), Provider: actorAddress(t, minerID), StartEpoch: start, EndEpoch: start + 300*day,
	}
	for _, c := range change {
		c(&d)
	}
	id, err := node.PublishDeal(d)
	require.NoError(t, err)
	return jobs.NotifyMarket(id)
}

// withPiece pre-commits a sector that holds the piece, and gives its proof.
func withPiece(t *testing.T, c *chain.Client, number abi.SectorNumber, p jobs.Piece) jobs.CommitRequest {
	t.Helper()
	terms, err := c.PieceTerms(t.Context(), minerID, p)
	require.NoError(t, err)
	pre := preCommitOf(t, c, number)
	pre.CC, pre.Terms = false, terms
	pre.Seal.CommD, err = jobs.CommD(pre.Seal.Proof, []jobs.Piece{p})
	require.NoError(t, err)
	_, err = sendPreCommit(t.Context(), c, pre)
	require.NoError(t, err)
	r := commitOf(pre.Seal.ID)
	r.Pieces = []jobs.Piece{p}
	return r
}

func actorAddress(t *testing.T, id abi.ActorID) address.Address {
	t.Helper()
	a, err := address.NewIDAddress(uint64(id))
	require.NoError(t, err)
	return a
}

// What an allocation and a deal demand, and every way in which they can be others than the piece says.
func TestPieceTerms(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node)
	head := node.Head().Height
	p := dealPiece
	p.Allocation, p.Notify = allocate(t, node, p), []jobs.Notification{publish(t, node, p)}
	with := func(a *jobs.Allocation, n ...jobs.Notification) jobs.Piece {
		p := dealPiece
		p.Allocation, p.Notify = a, n
		return p
	}
	other := dealPiece
	other.Size = 2048
	type bad struct {
		piece jobs.Piece
		class jobs.FaultClass
		says  string
	}
	bads := map[string]bad{
		"no allocation":        {with(&jobs.Allocation{Client: 101, ID: 999}), jobs.Rejected, "the chain has none"},
		"of another client":    {with(&jobs.Allocation{Client: 100, ID: p.Allocation.ID}), jobs.Rejected, "client f0100"},
		"no client":            {with(&jobs.Allocation{Client: 4242, ID: 1}), jobs.Rejected, "actor not found"},
		"for another size":     {with(allocate(t, node, other)), jobs.Rejected, "of 2048 padded bytes"},
		"allocation is over":   {with(allocate(t, node, dealPiece, func(a *verifreg.Allocation) { a.Expiration = head + 1 })), jobs.Deadline, "it ended at epoch"},
		"no deal":              {with(nil, jobs.NotifyMarket(999)), jobs.Rejected, "never published"},
		"deal about another":   {with(nil, publish(t, node, other)), jobs.Rejected, "it is about piece"},
		"deal with another":    {with(nil, publish(t, node, dealPiece, func(d *market.DealProposal) { d.Provider = actorAddress(t, 100) })), jobs.Rejected, "with provider t0100"},
		"deal that is started": {with(nil, publish(t, node, dealPiece, func(d *market.DealProposal) { d.StartEpoch, d.EndEpoch = head+1, head+200*day })), jobs.Deadline, "it started at"},
	}
	advance(t, node, 2)
	terms, err := c.PieceTerms(t.Context(), minerID, p)
	require.NoError(t, err)
	require.Equal(t, jobs.Terms{Start: head + 4000, End: head + 4000 + 300*day, LifeMin: 180 * day, LifeMax: 1000 * day}, terms)
	for name, b := range bads {
		_, err := c.PieceTerms(t.Context(), minerID, b.piece)
		requireClass(t, b.class, err)
		require.ErrorContains(t, err, b.says, name)
	}
	_, err = c.PieceTerms(t.Context(), 1001, p)
	require.ErrorContains(t, err, "it is for provider f01000, not for f01001")
	terms, err = c.PieceTerms(t.Context(), minerID, dealPiece)
	require.NoError(t, err)
	require.Zero(t, terms, "plain data demands nothing")
}

// A verified deal from pre-commit to claim, through the client's own messages; and what becomes of one that comes too late.
func TestCommitClaimsAndNotifies(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	ctx := t.Context()
	commit := map[string]jobs.CommitRequest{}
	for i, name := range []string{"good", "claimed twice", "deal started"} {
		p := dealPiece
		p.Allocation, p.Notify = allocate(t, node, p), []jobs.Notification{publish(t, node, p, func(d *market.DealProposal) {
			if name == "deal started" {
				d.StartEpoch = node.Head().Height + 15
				d.EndEpoch = d.StartEpoch + 300*day
			}
		})}
		if name == "claimed twice" {
			p.Allocation, p.Notify = commit["good"].Pieces[0].Allocation, nil
		}
		advance(t, node, 2)
		commit[name] = withPiece(t, c, abi.SectorNumber(10+i), p)
	}
	advance(t, node, 20)
	_, err := sendCommit(ctx, c, commit["deal started"])
	requireClass(t, jobs.Rejected, err)
	require.ErrorContains(t, err, "a deal that started")

	_, err = sendCommit(ctx, c, commit["good"])
	require.NoError(t, err)
	advance(t, node, 2)
	api := rawAPI(t, node)
	claims, err := api.StateGetClaims(ctx, actorAddress(t, minerID), lotus.EmptyTSK)
	require.NoError(t, err)
	require.Len(t, claims, 1)
	deal, ok := commit["good"].Pieces[0].Notify[0].Deal()
	require.True(t, ok)
	active, err := api.StateMarketStorageDeal(ctx, deal, lotus.EmptyTSK)
	require.NoError(t, err)
	require.EqualValues(t, 10, active.State.SectorNumber)
	sector, err := api.StateSectorGetInfo(ctx, actorAddress(t, minerID), 10, lotus.EmptyTSK)
	require.NoError(t, err)
	require.LessOrEqual(t, sector.Expiration, sector.Activation+1000*day, "within the term")
	require.Greater(t, sector.Expiration, sector.Activation+999*day, "as long as the term allows")

	_, err = sendCommit(ctx, c, commit["claimed twice"])
	requireClass(t, jobs.Rejected, err)
	require.ErrorContains(t, err, "cannot be claimed")
}
