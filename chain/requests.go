package chain

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// SendPreCommits implements jobs.Chain. Each member goes in a message of its own.
func (c *Client) SendPreCommits(ctx context.Context, _ string, rs []jobs.PreCommitRequest) ([]jobs.Sent, error) {
	return oneByOne(ctx, rs, func(r jobs.PreCommitRequest) (string, error) { return c.sendPreCommits(ctx, r) })
}

// oneByOne sends members in messages of their own. Trouble that is not a member's own ends it.
func oneByOne[R any](ctx context.Context, rs []R, send func(R) (string, error)) ([]jobs.Sent, error) {
	sent := make([]jobs.Sent, len(rs))
	for i, r := range rs {
		name, err := send(r)
		if err == nil {
			sent[i].Message = name
			continue
		}
		fault, ok := jobs.Classify(ctx, err)
		if !ok || fault.Class == jobs.Transient || fault.Class == jobs.Funds || fault.Class == jobs.Busy {
			return nil, err
		}
		sent[i].Fault = fault
	}
	return sent, nil
}

// sendPreCommits sends one message for requests of one miner. The CID is empty when the chain has them from a message that the journal does not know.
func (c *Client) sendPreCommits(ctx context.Context, requests ...jobs.PreCommitRequest) (string, error) {
	d := draft{miner: requests[0].Seal.ID.Miner, method: preCommitBatch2, maxFee: c.cfg.MaxFeePreCommit, ticket: requests[0].TicketEpoch}
	for _, r := range requests {
		d.members = append(d.members, r.Meaning)
		d.ticket = min(d.ticket, r.TicketEpoch)
	}
	d.done = func(ctx context.Context) (bool, error) {
		return c.allAtHead(ctx, len(requests), func(i int) (jobs.SectorID, func(jobs.OnChain) (bool, error)) {
			seal := requests[i].Seal
			return seal.ID, func(on jobs.OnChain) (bool, error) { return samePreCommit(seal, on) }
		})
	}
	d.build = func(ctx context.Context, head *lotus.TipSet) ([]byte, abi.TokenAmount, error) {
		infos := preCommitInfos(head.Height, c.network.ChallengeDelay, requests)
		params, err := preCommitParams(infos)
		if err != nil {
			return nil, big.Zero(), err
		}
		deposit := big.Zero()
		for _, info := range infos {
			one, err := read(ctx, c.node, "StateMinerPreCommitDepositForPower", func(ctx context.Context, api *api) (abi.TokenAmount, error) {
				return api.StateMinerPreCommitDepositForPower(ctx, minerAddress(d.miner), info, head.Key())
			})
			if err != nil {
				return nil, big.Zero(), fmt.Errorf("deposit of sector %d: %w", info.SectorNumber, err)
			}
			deposit = big.Add(deposit, one)
		}
		value, err := c.lessAvailable(ctx, d.miner, deposit, head)
		return params, value, err
	}
	return c.send(ctx, d)
}

// samePreCommit tells whether the chain has the seal; another CommR under its number is nothing that sending could mend (design rule 4).
func samePreCommit(s jobs.Seal, on jobs.OnChain) (bool, error) {
	var commR cid.Cid
	switch {
	case on.PreCommit != nil:
		commR = on.PreCommit.CommR
	case on.Sector != nil:
		commR = on.Sector.CommR
	default:
		return false, nil
	}
	if commR != s.CommR {
		return false, jobs.Failf(jobs.Rejected, "the chain has CommR %s, this replica is %s; keep its files and find out which program used the number", commR, s.CommR)
	}
	return true, nil
}

// SendCommits implements jobs.Chain. Each member goes in a message of its own.
func (c *Client) SendCommits(ctx context.Context, _ string, rs []jobs.CommitRequest, _ jobs.Aggregator) ([]jobs.Sent, error) {
	return oneByOne(ctx, rs, func(r jobs.CommitRequest) (string, error) { return c.sendCommits(ctx, r) })
}

// sendCommits sends one message with the proofs of sectors of one miner.
func (c *Client) sendCommits(ctx context.Context, requests ...jobs.CommitRequest) (string, error) {
	d := draft{miner: requests[0].Seal.ID.Miner, method: proveCommit3, maxFee: c.cfg.MaxFeeCommit}
	for _, r := range requests {
		d.members = append(d.members, r.Meaning)
	}
	d.done = func(ctx context.Context) (bool, error) {
		return c.allAtHead(ctx, len(requests), func(i int) (jobs.SectorID, func(jobs.OnChain) (bool, error)) {
			return requests[i].Seal.ID, func(on jobs.OnChain) (bool, error) {
				if on.Sector == nil && on.PreCommit == nil {
					return false, jobs.Failf(jobs.Deadline, "the chain has no pre-commitment to prove: it expired, or was reorganised away")
				}
				return on.Sector != nil, nil
			}
		})
	}
	d.build = func(ctx context.Context, head *lotus.TipSet) ([]byte, abi.TokenAmount, error) {
		params, err := commitParams(requests)
		if err != nil {
			return nil, big.Zero(), err
		}
		missing := big.Zero()
		for _, r := range requests {
			short, err := c.pledgeShort(ctx, r, head)
			if err != nil {
				return nil, big.Zero(), fmt.Errorf("pledge of sector %s: %w", r.Seal.ID, err)
			}
			missing = big.Add(missing, short)
		}
		value, err := c.lessAvailable(ctx, d.miner, missing, head)
		return params, value, err
	}
	return c.send(ctx, d)
}

// pledgeShort is the initial pledge less the deposit that already lies with the miner.
func (c *Client) pledgeShort(ctx context.Context, r jobs.CommitRequest, head *lotus.TipSet) (abi.TokenAmount, error) {
	id := r.Seal.ID
	var verified abi.PaddedPieceSize
	for _, p := range r.Pieces {
		verified += p.Verified()
	}
	pre, err := read(ctx, c.node, "StateSectorPreCommitInfo", func(ctx context.Context, api *api) (*miner.SectorPreCommitOnChainInfo, error) {
		return api.StateSectorPreCommitInfo(ctx, minerAddress(id.Miner), id.Number, head.Key())
	})
	if err != nil {
		return big.Zero(), err
	}
	if pre == nil {
		return big.Zero(), nil // it was proven meanwhile; the estimate will tell
	}
	size, err := pre.Info.SealProof.SectorSize()
	if err != nil {
		return big.Zero(), jobs.Failf(jobs.Bug, "seal proof %d: %w", pre.Info.SealProof, err)
	}
	pledge, err := read(ctx, c.node, "StateMinerInitialPledgeForSector", func(ctx context.Context, api *api) (abi.TokenAmount, error) {
		return api.StateMinerInitialPledgeForSector(ctx, pre.Info.Expiration-head.Height, size, uint64(verified), head.Key())
	})
	if err != nil {
		return big.Zero(), err
	}
	return big.Max(big.Zero(), big.Sub(pledge, pre.PreCommitDeposit)), nil
}

// lessAvailable takes what the miner's free balance covers off an amount, where the configuration says so.
func (c *Client) lessAvailable(ctx context.Context, id abi.ActorID, amount abi.TokenAmount, head *lotus.TipSet) (abi.TokenAmount, error) {
	if !c.cfg.CollateralFromMiner {
		return amount, nil
	}
	free, err := read(ctx, c.node, "StateMinerAvailableBalance", func(ctx context.Context, api *api) (abi.TokenAmount, error) {
		return api.StateMinerAvailableBalance(ctx, minerAddress(id), head.Key())
	})
	if err != nil {
		return amount, fmt.Errorf("miner %s: available balance: %w", minerAddress(id), err)
	}
	return big.Max(big.Zero(), big.Sub(amount, big.Max(big.Zero(), free))), nil
}

// allAtHead asks the chain about every member as of the head.
func (c *Client) allAtHead(ctx context.Context, n int, member func(int) (jobs.SectorID, func(jobs.OnChain) (bool, error))) (bool, error) {
	head, err := c.freshHead(ctx)
	if err != nil {
		return false, err
	}
	all := true
	for i := range n {
		id, there := member(i)
		on, err := c.sectorAt(ctx, id, head)
		if err != nil {
			return false, err
		}
		ok, err := there(on)
		if err != nil {
			return false, fmt.Errorf("sector %s: %w", id, err)
		}
		all = all && ok
	}
	return all, nil
}
