package devnet_test

import (
	"bytes"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

const (
	pieceA = "baga6ea4seaqicoyiliijespbati3bqmuyubusdfbrk5hj6tuzqgkrvlvzdnwadi"
	pieceB = "baga6ea4seaqekyuwjfhhpomkehojv26qwx2coiatatbrlxiug3vi5zwpacvfkei"
)

// verified makes an allocation for a whole sector's piece, and the manifest that claims it.
func (n *network) verified(piece string, client abi.ActorID, change ...func(*verifreg.Allocation)) miner18.PieceActivationManifest {
	n.Helper()
	a := verifreg.Allocation{
		Client: client, Provider: 1000, Data: cid.MustParse(piece), Size: 2048,
		TermMin: 180 * builtin.EpochsInDay, TermMax: 1278 * builtin.EpochsInDay, Expiration: n.node.Head().Height + 10_000,
	}
	for _, c := range change {
		c(&a)
	}
	id, err := n.node.Allocate(a)
	require.NoError(n, err)
	return miner18.PieceActivationManifest{
		CID: cid.MustParse(piece), Size: 2048, VerifiedAllocationKey: &miner18.VerifiedAllocationKey{Client: client, ID: id},
	}
}

// proposal is a deal about a piece.
func (n *network) proposal(p miner18.PieceActivationManifest) market.DealProposal {
	label, err := market.NewLabelFromString("1")
	require.NoError(n, err)
	start := n.node.Head().Height + 10_000
	return market.DealProposal{
		Label:    label,
		PieceCID: p.CID, PieceSize: p.Size, VerifiedDeal: true, Client: id(n.T, 100), Provider: n.miner,
		StartEpoch: start, EndEpoch: start + 200*builtin.EpochsInDay,
	}
}

// precommitData pre-commits sectors from 0 on and waits for their seeds.
func (n *network) precommitData(sectors ...[]miner18.PieceActivationManifest) {
	n.Helper()
	var infos []miner18.SectorPreCommitInfo
	for i, manifests := range sectors {
		info := n.precommitInfo(abi.SectorNumber(i))
		var pieces []jobs.Piece
		for _, m := range manifests {
			pieces = append(pieces, jobs.Piece{CID: m.CID, Size: m.Size})
		}
		commD, err := jobs.CommD(proof2K, pieces)
		require.NoError(n, err)
		info.UnsealedCid = &commD
		infos = append(infos, info)
	}
	n.land(n.precommitMessage(infos...))
	n.advance(10)
}

func (n *network) proveData(number abi.SectorNumber, proof []byte, pieces ...miner18.PieceActivationManifest) *lotus.Message {
	return n.message(builtin.MethodsMiner.ProveCommitSectors3, &miner18.ProveCommitSectors3Params{
		SectorActivations: []miner18.SectorActivationManifest{{SectorNumber: number, Pieces: pieces}}, SectorProofs: [][]byte{proof},
		RequireNotificationSuccess: true,
	})
}

// TestCommittingClaimsAllocationsAndActivatesDeals follows one verified deal through the registry and the market.
func TestCommittingClaimsAllocationsAndActivatesDeals(t *testing.T) {
	t.Parallel()
	n := start(t)
	piece := n.verified(pieceA, 100)
	key := *piece.VerifiedAllocationKey
	deal, err := n.node.PublishDeal(n.proposal(piece))
	require.NoError(t, err)
	notice := jobs.NotifyMarket(deal)
	piece.Notify = []miner18.DataActivationNotification{{Address: notice.Address, Payload: notice.Payload}}
	n.precommitData([]miner18.PieceActivationManifest{piece})

	allocation, err := n.api.StateGetAllocation(n.ctx, id(t, 100), key.ID, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, piece.CID, allocation.Data)
	found, err := n.api.StateMarketStorageDeal(n.ctx, deal, lotus.EmptyTSK)
	require.NoError(t, err)
	require.EqualValues(t, -1, found.State.SectorStartEpoch)

	landed := n.land(n.proveData(0, snark(n.seal(0)), piece))
	gone, err := n.api.StateGetAllocation(n.ctx, id(t, 100), key.ID, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Nil(t, gone, "it was claimed")
	claims, err := n.api.StateGetClaims(n.ctx, n.miner, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, map[verifreg.ClaimId]verifreg.Claim{verifreg.ClaimId(key.ID): {
		Provider: 1000, Client: 100, Data: piece.CID, Size: 2048, TermMin: allocation.TermMin, TermMax: allocation.TermMax,
		TermStart: landed.Height - 1, Sector: 0,
	}}, claims)
	found, err = n.api.StateMarketStorageDeal(n.ctx, deal, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, landed.Height-1, found.State.SectorStartEpoch)
	sector, err := n.api.StateSectorGetInfo(n.ctx, n.miner, 0, lotus.EmptyTSK)
	require.NoError(t, err)
	require.True(t, sector.DealWeight.IsZero())
	pledge, err := n.api.StateMinerInitialPledgeForSector(n.ctx, 1, 2048, 2048, lotus.EmptyTSK)
	require.NoError(t, err)
	require.True(t, sector.InitialPledge.LessThan(pledge), "the estimate has a margin")
	plain, err := n.api.StateMinerInitialPledgeForSector(n.ctx, 1, 2048, 0, lotus.EmptyTSK)
	require.NoError(t, err)
	require.True(t, sector.InitialPledge.GreaterThan(plain), "verified data counts ten-fold")
}

// TestAllocationsThatCannotBeClaimed: the registry's conditions, one by one.
func TestAllocationsThatCannotBeClaimed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*verifreg.Allocation)
		key    func(*miner18.VerifiedAllocationKey)
	}{
		"unknown":        {key: func(k *miner18.VerifiedAllocationKey) { k.ID++ }},
		"another client": {key: func(k *miner18.VerifiedAllocationKey) { k.Client++ }},
		"another piece":  {change: func(a *verifreg.Allocation) { a.Data = cid.MustParse(pieceB) }},
		"another size":   {change: func(a *verifreg.Allocation) { a.Size = 1024 }},
		"over":           {change: func(a *verifreg.Allocation) { a.Expiration = 3 }},
		"term too long":  {change: func(a *verifreg.Allocation) { a.TermMin = a.TermMax }},
		"term too short": {change: func(a *verifreg.Allocation) { a.TermMax = a.TermMin }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t)
			if c.change == nil {
				c.change = func(*verifreg.Allocation) {}
			}
			piece := n.verified(pieceA, 100, c.change)
			if c.key != nil {
				c.key(piece.VerifiedAllocationKey)
			}
			n.precommitData([]miner18.PieceActivationManifest{piece})
			n.refused(n.proveData(0, snark(n.seal(0)), piece), 16, "all data activations failed")
		})
	}
}

// TestOneUnclaimableSectorOfABatch falls out with the registry's code; the other one is committed.
func TestOneUnclaimableSectorOfABatch(t *testing.T) {
	t.Parallel()
	n := start(t)
	good, bad := n.verified(pieceA, 100), n.verified(pieceB, 100)
	bad.VerifiedAllocationKey.ID = good.VerifiedAllocationKey.ID // claimed by the first already
	n.precommitData([]miner18.PieceActivationManifest{good}, []miner18.PieceActivationManifest{bad})
	found := n.land(n.message(builtin.MethodsMiner.ProveCommitSectors3, &miner18.ProveCommitSectors3Params{
		SectorActivations: []miner18.SectorActivationManifest{
			{SectorNumber: 0, Pieces: []miner18.PieceActivationManifest{good}}, {SectorNumber: 1, Pieces: []miner18.PieceActivationManifest{bad}},
		},
		SectorProofs: [][]byte{snark(n.seal(0)), snark(n.seal(1))},
	}))
	var ret batch.BatchReturn
	require.NoError(t, ret.UnmarshalCBOR(bytes.NewReader(found.Receipt.Return)))
	require.Equal(t, batch.BatchReturn{SuccessCount: 1, FailCodes: []batch.FailCode{{Idx: 1, Code: 17}}}, ret)
}

// TestRefusedNotifications fail the message where they are required, and nothing otherwise.
func TestRefusedNotifications(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		notice func(abi.DealID) jobs.Notification
		change func(*market.DealProposal)
		code   int64
		text   string
	}{
		"unknown deal":     {notice: func(id abi.DealID) jobs.Notification { return jobs.NotifyMarket(id + 1) }, code: 1004, text: "sector change rejected by"},
		"no deal number":   {notice: func(id abi.DealID) jobs.Notification { n := jobs.NotifyMarket(id); n.Payload = []byte{0x60}; return n }, code: 1004, text: "sector change rejected by"},
		"another piece":    {change: func(p *market.DealProposal) { p.PieceCID = cid.MustParse(pieceB) }, code: 1004, text: "sector change rejected by"},
		"started":          {change: func(p *market.DealProposal) { p.StartEpoch = 3; p.EndEpoch = 3 + 180*builtin.EpochsInDay }, code: 1004, text: "sector change rejected by"},
		"outlives sector":  {change: func(p *market.DealProposal) { p.EndEpoch = p.StartEpoch + 1000*builtin.EpochsInDay }, code: 1004, text: "sector change rejected by"},
		"receiver unknown": {notice: func(abi.DealID) jobs.Notification { return jobs.Notification{Address: id(t, 9999)} }, code: 1001, text: "send error"},
		"receiver fails":   {notice: func(abi.DealID) jobs.Notification { return jobs.Notification{Address: id(t, 1000)} }, code: 1002, text: "receiver aborted with 22"},
		"receiver mute":    {notice: func(abi.DealID) jobs.Notification { return jobs.Notification{Address: id(t, 100)} }, code: 1003, text: "no return data"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t)
			piece := miner18.PieceActivationManifest{CID: cid.MustParse(pieceA), Size: 2048}
			p := n.proposal(piece)
			if c.change != nil {
				c.change(&p)
			}
			deal, err := n.node.PublishDeal(p)
			require.NoError(t, err)
			notice := jobs.NotifyMarket(deal)
			if c.notice != nil {
				notice = c.notice(deal)
			}
			piece.Notify = []miner18.DataActivationNotification{{Address: notice.Address, Payload: notice.Payload}}
			n.precommitData([]miner18.PieceActivationManifest{piece})
			n.refused(n.proveData(0, snark(n.seal(0)), piece), c.code, c.text)

			n.land(n.message(builtin.MethodsMiner.ProveCommitSectors3, &miner18.ProveCommitSectors3Params{
				SectorActivations: []miner18.SectorActivationManifest{{SectorNumber: 0, Pieces: []miner18.PieceActivationManifest{piece}}},
				SectorProofs:      [][]byte{snark(n.seal(0))},
			}))
			found, err := n.api.StateMarketStorageDeal(n.ctx, deal, lotus.EmptyTSK)
			require.NoError(t, err)
			require.EqualValues(t, -1, found.State.SectorStartEpoch, "committed without its deal")
		})
	}
}

// TestDealsOutliveARestart: orders are journaled with their tipset.
func TestDealsOutliveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kept := func(c *devnet.Config) { c.Dir = dir }
	n := start(t, kept)
	piece := n.verified(pieceA, 100)
	deal, err := n.node.PublishDeal(n.proposal(piece))
	require.NoError(t, err)
	n.advance(1)
	require.NoError(t, n.node.Close())
	n = start(t, kept)
	allocations, err := n.api.StateGetAllocations(n.ctx, id(t, 100), lotus.EmptyTSK)
	require.NoError(t, err)
	require.Contains(t, allocations, piece.VerifiedAllocationKey.ID)
	found, err := n.api.StateMarketStorageDeal(n.ctx, deal, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, piece.CID, found.Proposal.PieceCID)
	require.Equal(t, piece.VerifiedAllocationKey.ID+1, n.verified(pieceB, 100).VerifiedAllocationKey.ID)
}
