package chain

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// PieceTerms implements jobs.Chain.
func (c *Client) PieceTerms(ctx context.Context, miner abi.ActorID, p jobs.Piece) (jobs.Terms, error) {
	var terms jobs.Terms
	if p.Allocation == nil && len(p.Notify) == 0 {
		return terms, nil
	}
	head, err := c.headTipSet(ctx)
	if err != nil {
		return terms, err
	}
	if p.Allocation != nil {
		if terms, err = c.allocationTerms(ctx, miner, p, head); err != nil {
			return terms, fmt.Errorf("allocation %s: %w", p.Allocation, err)
		}
	}
	for _, n := range p.Notify {
		id, ok := n.Deal()
		if !ok {
			continue // another receiver's terms are its own
		}
		deal, err := c.dealTerms(ctx, miner, p, id, head)
		if err != nil {
			return terms, fmt.Errorf("deal %d: %w", id, err)
		}
		terms = terms.And(deal)
	}
	return terms, nil
}

// allocationTerms checks what the verified registry will check when the sector is committed (FIP-0045): provider, data, size and time.
func (c *Client) allocationTerms(ctx context.Context, miner abi.ActorID, p jobs.Piece, head *lotus.TipSet) (jobs.Terms, error) {
	a, err := read(ctx, c.node, "StateGetAllocation", func(ctx context.Context, api *api) (*verifreg.Allocation, error) {
		return api.StateGetAllocation(ctx, minerAddress(p.Allocation.Client), verifreg.AllocationId(p.Allocation.ID), head.Key())
	})
	switch {
	case err != nil:
		return jobs.Terms{}, err
	case a == nil:
		return jobs.Terms{}, jobs.Failf(jobs.Rejected, "the chain has none: it was claimed already, or is over, or client f0%d never made it", p.Allocation.Client)
	case a.Provider != miner:
		return jobs.Terms{}, jobs.Failf(jobs.Rejected, "it is for provider f0%d, not for f0%d", a.Provider, miner)
	case a.Data != p.CID || a.Size != p.Size:
		return jobs.Terms{}, jobs.Failf(jobs.Rejected, "it is for piece %s of %d padded bytes, not for %s of %d", a.Data, a.Size, p.CID, p.Size)
	case a.Expiration <= head.Height:
		return jobs.Terms{}, jobs.Failf(jobs.Deadline, "it ended at epoch %d (head %d)", a.Expiration, head.Height)
	}
	return jobs.Terms{Start: a.Expiration, LifeMin: a.TermMin, LifeMax: a.TermMax}, nil
}

// dealTerms checks what the market actor will check when it is told that the deal's piece is committed.
func (c *Client) dealTerms(ctx context.Context, miner abi.ActorID, p jobs.Piece, id abi.DealID, head *lotus.TipSet) (jobs.Terms, error) {
	d, err := read(ctx, c.node, "StateMarketStorageDeal", func(ctx context.Context, api *api) (*lotus.MarketDeal, error) {
		return api.StateMarketStorageDeal(ctx, id, head.Key())
	})
	if err != nil {
		return jobs.Terms{}, err
	}
	switch is := d.Proposal; {
	case is.Provider != minerAddress(miner):
		return jobs.Terms{}, jobs.Failf(jobs.Rejected, "it is with provider %s, not with f0%d", is.Provider, miner)
	case is.PieceCID != p.CID || is.PieceSize != p.Size:
		return jobs.Terms{}, jobs.Failf(jobs.Rejected, "it is about piece %s of %d padded bytes, not about %s of %d", is.PieceCID, is.PieceSize, p.CID, p.Size)
	case d.State.SectorStartEpoch >= 0:
		return jobs.Terms{}, jobs.Failf(jobs.Rejected, "it is active in sector %d since epoch %d", d.State.SectorNumber, d.State.SectorStartEpoch)
	case is.StartEpoch <= head.Height:
		return jobs.Terms{}, jobs.Failf(jobs.Deadline, "it started at epoch %d (head %d)", is.StartEpoch, head.Height)
	}
	return jobs.Terms{Start: d.Proposal.StartEpoch, End: d.Proposal.EndEpoch}, nil
}
