package chain

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// SendPreCommits implements jobs.Chain.
func (c *Client) SendPreCommits(ctx context.Context, batch string, rs []jobs.PreCommitRequest) ([]jobs.Sent, error) {
	if len(rs) == 0 {
		return nil, nil
	}
	return c.sendBatch(ctx, batch, rs[0].Seal.ID.Miner, len(rs), &preCommits{c, rs, map[priceKey]abi.TokenAmount{}})
}

// preCommits are the members of a PreCommitSectorBatch2. All its checks fail the whole message, so it is strict by itself.
type preCommits struct {
	c        *Client
	rs       []jobs.PreCommitRequest
	deposits map[priceKey]abi.TokenAmount // that the node gave
}

// priceKey is what the collateral of a sector depends on.
type priceKey struct {
	at       lotus.TipSetKey
	proof    abi.RegisteredSealProof
	lifetime abi.ChainEpoch
	verified abi.PaddedPieceSize
}

func (p *preCommits) method() abi.MethodNum      { return preCommitBatch2 }
func (p *preCommits) meaning(i int) jobs.Meaning { return p.rs[i].Meaning }
func (p *preCommits) bytes(i int) int            { return p.rs[i].Bytes() }
func (p *preCommits) most() int                  { return miner.PreCommitSectorBatchMaxSize }

// deadline is the end of the ticket's window or, if that is sooner, when the seed of a proof that lands before the deals start must begin to be waited for.
func (p *preCommits) deadline(i int) abi.ChainEpoch {
	r := &p.rs[i]
	if r.Terms.Start == 0 {
		return r.TicketEpoch + maxTicketAge
	}
	return min(r.TicketEpoch+maxTicketAge, r.Terms.Start-p.c.network.ChallengeDelay)
}

func (p *preCommits) there(i int, on jobs.OnChain) (bool, error) {
	return samePreCommit(p.rs[i].Seal, on)
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

func (p *preCommits) ticket(set []int) abi.ChainEpoch {
	oldest := p.rs[set[0]].TicketEpoch
	for _, i := range set {
		oldest = min(oldest, p.rs[i].TicketEpoch)
	}
	return oldest
}

func (p *preCommits) infos(head *lotus.TipSet, set []int) []miner.SectorPreCommitInfo {
	rs := make([]jobs.PreCommitRequest, len(set))
	for j, i := range set {
		rs[j] = p.rs[i]
	}
	return preCommitInfos(head.Height, p.c.network.ChallengeDelay, rs)
}

func (p *preCommits) params(head *lotus.TipSet, set []int, _ bool) ([]byte, error) {
	return preCommitParams(p.infos(head, set))
}

// locks gives the deposit. It is the same for all sectors of a proof and lifetime, and asked for once.
func (p *preCommits) locks(ctx context.Context, head *lotus.TipSet, i int) (abi.TokenAmount, error) {
	info := p.infos(head, []int{i})[0]
	key := priceKey{head.Key(), info.SealProof, info.Expiration - head.Height, 0}
	if deposit, ok := p.deposits[key]; ok {
		return deposit, nil
	}
	deposit, err := read(ctx, p.c.node, "StateMinerPreCommitDepositForPower", func(ctx context.Context, api *api) (abi.TokenAmount, error) {
		return api.StateMinerPreCommitDepositForPower(ctx, minerAddress(p.rs[i].Seal.ID.Miner), info, head.Key())
	})
	if err != nil {
		return big.Zero(), fmt.Errorf("deposit of sector %d: %w", info.SectorNumber, err)
	}
	p.deposits[key] = deposit
	return deposit, nil
}

// ticketBounds are the actor's words for a ticket outside its window.
var ticketBounds = regexp.MustCompile(`seal challenge epoch -?\d+ (too old, must be after|must be before now) (-?\d+)`)

func (p *preCommits) blamed(i int, text string) bool {
	if m := ticketBounds.FindStringSubmatch(text); m != nil {
		bound, err := strconv.ParseInt(m[2], 10, 64)
		ticket := p.rs[i].TicketEpoch
		if strings.HasPrefix(m[1], "too old") {
			return err == nil && ticket < abi.ChainEpoch(bound)
		}
		return err == nil && ticket >= abi.ChainEpoch(bound)
	}
	return namesSector(text, p.rs[i].Seal.ID.Number)
}

// SendCommits implements jobs.Chain.
func (c *Client) SendCommits(ctx context.Context, batch string, rs []jobs.CommitRequest, agg jobs.Aggregator) ([]jobs.Sent, error) {
	if len(rs) == 0 {
		return nil, nil
	}
	return c.sendBatch(ctx, batch, rs[0].Seal.ID.Miner, len(rs), newCommits(c, rs, agg))
}

// commits are the members of a ProveCommitSectors3.
type commits struct {
	c       *Client
	rs      []jobs.CommitRequest
	agg     jobs.Aggregator                   // nil: never aggregates
	pledges map[priceKey]abi.TokenAmount      // that the node gave
	short   map[jobs.SectorID]abi.TokenAmount // of each sector's pledge
}

func newCommits(c *Client, rs []jobs.CommitRequest, agg jobs.Aggregator) *commits {
	if c.cfg.NeverAggregate {
		agg = nil
	}
	return &commits{c, rs, agg, map[priceKey]abi.TokenAmount{}, map[jobs.SectorID]abi.TokenAmount{}}
}

func (p *commits) method() abi.MethodNum          { return proveCommit3 }
func (p *commits) meaning(i int) jobs.Meaning     { return p.rs[i].Meaning }
func (p *commits) bytes(i int) int                { return p.rs[i].Bytes() }
func (p *commits) most() int                      { return miner.MaxAggregatedSectors }
func (p *commits) ticket([]int) abi.ChainEpoch    { return 0 }
func (p *commits) blamed(i int, text string) bool { return namesSector(text, p.rs[i].Seal.ID.Number) }

func (p *commits) deadline(i int) abi.ChainEpoch { return p.rs[i].Deadline }

func (p *commits) there(_ int, on jobs.OnChain) (bool, error) {
	if on.Sector == nil && on.PreCommit == nil {
		return false, jobs.Failf(jobs.Deadline, "the chain has no pre-commitment to prove: it expired, or was reorganised away")
	}
	return on.Sector != nil, nil
}

func (p *commits) params(_ *lotus.TipSet, set []int, strict bool) ([]byte, error) {
	return commitParams(p.of(set), strict, nil)
}

func (p *commits) of(set []int) []jobs.CommitRequest {
	rs := make([]jobs.CommitRequest, len(set))
	for j, i := range set {
		rs[j] = p.rs[i]
	}
	return rs
}

// locks gives the initial pledge less the deposit that already lies with the miner.
func (p *commits) locks(ctx context.Context, head *lotus.TipSet, i int) (abi.TokenAmount, error) {
	id := p.rs[i].Seal.ID
	if short, ok := p.short[id]; ok {
		return short, nil
	}
	short, err := p.pledgeShort(ctx, &p.rs[i], head)
	if err != nil {
		return big.Zero(), fmt.Errorf("pledge of sector %s: %w", id, err)
	}
	p.short[id] = short
	return short, nil
}

func (p *commits) pledgeShort(ctx context.Context, r *jobs.CommitRequest, head *lotus.TipSet) (abi.TokenAmount, error) {
	id := r.Seal.ID
	var verified abi.PaddedPieceSize
	for _, piece := range r.Pieces {
		verified += piece.Verified()
	}
	pre, err := read(ctx, p.c.node, "StateSectorPreCommitInfo", func(ctx context.Context, api *api) (*miner.SectorPreCommitOnChainInfo, error) {
		return api.StateSectorPreCommitInfo(ctx, minerAddress(id.Miner), id.Number, head.Key())
	})
	if err != nil {
		return big.Zero(), err
	}
	if pre == nil {
		return big.Zero(), nil // it was proven meanwhile; the estimate will tell
	}
	key := priceKey{head.Key(), pre.Info.SealProof, pre.Info.Expiration - head.Height, verified}
	pledge, ok := p.pledges[key]
	if !ok {
		size, err := pre.Info.SealProof.SectorSize()
		if err != nil {
			return big.Zero(), jobs.Failf(jobs.Bug, "seal proof %d: %w", pre.Info.SealProof, err)
		}
		pledge, err = read(ctx, p.c.node, "StateMinerInitialPledgeForSector", func(ctx context.Context, api *api) (abi.TokenAmount, error) {
			return api.StateMinerInitialPledgeForSector(ctx, key.lifetime, size, uint64(verified), head.Key())
		})
		if err != nil {
			return big.Zero(), err
		}
		p.pledges[key] = pledge
	}
	return big.Max(big.Zero(), big.Sub(pledge, pre.PreCommitDeposit)), nil
}

// The actors' words where a failure is one sector's, or several sectors'.
var (
	oneSector   = regexp.MustCompile(`(?:\bsector(?: number)?|\bprecommit|sector_number:) (\d+)\b`)
	manySectors = regexp.MustCompile(`sector numbers BitField \{ ranges: \[([0-9., ]*)\]`)
)

// namesSector tells whether the text of a failed execution names a sector number.
func namesSector(text string, number abi.SectorNumber) bool {
	if m := manySectors.FindStringSubmatch(text); m != nil {
		for r := range strings.SplitSeq(m[1], ", ") {
			from, to, _ := strings.Cut(r, "..")
			first, err1 := strconv.ParseUint(from, 10, 64)
			end, err2 := strconv.ParseUint(to, 10, 64)
			if err1 == nil && err2 == nil && first <= uint64(number) && uint64(number) < end {
				return true
			}
		}
		return false
	}
	m := oneSector.FindStringSubmatch(text)
	return m != nil && m[1] == strconv.FormatUint(uint64(number), 10)
}
