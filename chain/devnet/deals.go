package devnet

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/filecoin-project/go-state-types/exitcode"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// The verified registry (f06) and the market (f05), as far as sealing meets them: allocations become claims and deals become
// active when a sector is committed. Both are made by order, not by message: datacap and escrow are without bound here.

// minAllocation is the least size of an allocation on 2 KiB networks; mainnet's is 1 MiB.
const minAllocation = 256

// Codes of the miner actor for notifications (FIP-0076; builtin-actors v18, actors/miner/src/lib.rs).
const (
	notificationSendFailed      = exitcode.ExitCode(1001)
	notificationReceiverAborted = exitcode.ExitCode(1002)
	notificationResponseInvalid = exitcode.ExitCode(1003)
	notificationRejected        = exitcode.ExitCode(1004)
)

// deals is what clients have with providers, an immutable value like all state. The zero value has none.
type deals struct {
	allocations ordered[verifreg.AllocationId, verifreg.Allocation]
	claims      ordered[verifreg.ClaimId, verifreg.Claim]
	market      ordered[abi.DealID, lotus.MarketDeal]

	lastAllocation verifreg.AllocationId // 0 is no allocation
	lastDeal       abi.DealID
}

func (d *deals) allocate(a verifreg.Allocation) {
	d.lastAllocation++
	d.allocations = d.allocations.set(d.lastAllocation, a)
}

func (d *deals) publish(p market.DealProposal) {
	d.lastDeal++
	d.market = d.market.set(d.lastDeal, lotus.MarketDeal{
		Proposal: p, State: market.DealState{SectorStartEpoch: -1, LastUpdatedEpoch: -1, SlashEpoch: -1},
	})
}

// Allocate makes an allocation of a client's datacap, as a transfer of datacap to the verified registry does (FIP-0045), and gives
// its number. It is state from the next epoch's tipset on, and gone if a reorg takes that.
func (n *Node) Allocate(a verifreg.Allocation) (verifreg.AllocationId, error) {
	n.producing.Lock()
	defer n.producing.Unlock()
	head, _ := n.chain.at(lotus.EmptyTSK)
	client, ok := head.post.actors.get(a.Client)
	switch {
	case !ok || client.kind != kindAccount:
		return 0, fmt.Errorf("allocate: client f0%d is no account", a.Client)
	case !head.post.miners.has(a.Provider):
		return 0, fmt.Errorf("allocate: allocation provider f0%d must be a miner actor", a.Provider)
	case !hasPrefix(a.Data, unsealedCIDPrefix):
		return 0, fmt.Errorf("allocate: %s is no piece CID", a.Data)
	case a.Size.Validate() != nil || a.Size < minAllocation:
		return 0, fmt.Errorf("allocate: allocation size %d is no power of two or below minimum %d", a.Size, minAllocation)
	case a.TermMin < verifreg.MinimumVerifiedAllocationTerm || a.TermMax > verifreg.MaximumVerifiedAllocationTerm || a.TermMin > a.TermMax:
		return 0, fmt.Errorf("allocate: term %d to %d is empty or not within %d to %d", a.TermMin, a.TermMax,
			verifreg.MinimumVerifiedAllocationTerm, verifreg.MaximumVerifiedAllocationTerm)
	case a.Expiration <= head.Height || a.Expiration > head.Height+verifreg.MaximumVerifiedAllocationExpiration:
		return 0, fmt.Errorf("allocate: allocation expiration %d is not within 60 days of epoch %d", a.Expiration, head.Height)
	}
	n.pending = append(n.pending, order{Allocation: &a, Amount: big.Zero()})
	return head.post.deals.lastAllocation + verifreg.AllocationId(n.ordered(func(o order) bool { return o.Allocation != nil })), nil
}

// PublishDeal publishes a deal on the market, as PublishStorageDeals does, and gives its number. It is state as [Node.Allocate] says.
func (n *Node) PublishDeal(p market.DealProposal) (abi.DealID, error) {
	n.producing.Lock()
	defer n.producing.Unlock()
	head, _ := n.chain.at(lotus.EmptyTSK)
	for _, a := range []*address.Address{&p.Client, &p.Provider} {
		found, ok := head.post.resolve(*a)
		if !ok {
			return 0, fmt.Errorf("publish deal: failed to resolve address %s", *a)
		}
		*a = idAddress(found.id)
	}
	switch {
	case !hasPrefix(p.PieceCID, unsealedCIDPrefix):
		return 0, fmt.Errorf("publish deal: proposal PieceCID undefined")
	case p.PieceSize.Validate() != nil:
		return 0, fmt.Errorf("publish deal: proposal piece size %d is invalid", p.PieceSize)
	case p.EndEpoch-p.StartEpoch < market.DealMinDuration || p.EndEpoch-p.StartEpoch > market.DealMaxDuration:
		return 0, fmt.Errorf("publish deal: deal duration %d out of bounds %d to %d", p.EndEpoch-p.StartEpoch, market.DealMinDuration, market.DealMaxDuration)
	case p.StartEpoch < head.Height:
		return 0, fmt.Errorf("publish deal: deal start epoch %d has already elapsed", p.StartEpoch)
	}
	for _, amount := range []*abi.TokenAmount{&p.StoragePricePerEpoch, &p.ProviderCollateral, &p.ClientCollateral} {
		if amount.Nil() {
			*amount = big.Zero()
		}
	}
	n.pending = append(n.pending, order{Deal: &p, Amount: big.Zero()})
	return head.post.deals.lastDeal + abi.DealID(n.ordered(func(o order) bool { return o.Deal != nil })), nil
}

// ordered counts pending orders of a kind.
func (n *Node) ordered(kind func(order) bool) (count int) {
	for _, o := range n.pending {
		if kind(o) {
			count++
		}
	}
	return count
}

// claim turns a sector's allocations into claims, all of them or none, and says with which code the registry refuses (FIP-0076).
func (c *call) claim(m *miner, s *activation) exitcode.ExitCode {
	d := c.state.deals
	info := &s.precommit.Info
	life := info.Expiration - c.epoch
	for _, p := range s.manifest.Pieces {
		key := p.VerifiedAllocationKey
		if key == nil {
			continue
		}
		a, ok := d.allocations.get(key.ID)
		switch {
		case !ok || a.Client != key.Client:
			return exitcode.ErrNotFound
		case a.Provider != m.id || a.Data != p.CID || a.Size != p.Size || c.epoch > a.Expiration || life < a.TermMin || life > a.TermMax:
			return exitcode.ErrForbidden
		}
		d.allocations = d.allocations.drop(key.ID)
		d.claims = d.claims.set(verifreg.ClaimId(key.ID), verifreg.Claim{
			Provider: a.Provider, Client: a.Client, Data: a.Data, Size: a.Size,
			TermMin: a.TermMin, TermMax: a.TermMax, TermStart: c.epoch, Sector: info.SectorNumber,
		})
		s.verified += p.Size
	}
	c.state.deals = d
	return exitcode.Ok
}

// notify tells the receivers named in the manifests that their pieces are committed. Refusals count only where all are required.
func (c *call) notify(m *miner, sectors []*activation, all bool) error {
	for _, s := range sectors {
		if s.code != exitcode.Ok {
			continue
		}
		for _, p := range s.manifest.Pieces {
			for _, n := range p.Notify {
				if err := c.notifyOne(m, s, p, n); err != nil && all {
					return err
				}
			}
		}
	}
	return nil
}

func (c *call) notifyOne(m *miner, s *activation, p miner18.PieceActivationManifest, n miner18.DataActivationNotification) error {
	notice := jobs.Notification{Address: n.Address, Payload: n.Payload}
	if id, ok := notice.Deal(); ok && c.state.deals.sectorContentChanged(idAddress(m.id), &s.precommit.Info, p, id, c.epoch) {
		return nil
	}
	if n.Address != jobs.NotifyMarket(0).Address { // FIP-0109: anybody may be told
		a, ok := c.state.resolve(n.Address)
		if !ok {
			return abortf(notificationSendFailed, "send error resource not found")
		}
		if _, is := c.state.miners.get(a.id); is {
			return abortf(notificationReceiverAborted, "receiver aborted with %d", exitcode.ErrUnhandledMessage)
		}
		return abortf(notificationResponseInvalid, "no return data") // an account answers any call with nothing
	}
	return abortf(notificationRejected, "sector change rejected by %s for sector %d piece %s payload RawBytes { %x }",
		n.Address, s.manifest.SectorNumber, p.CID, n.Payload)
}

// sectorContentChanged is the market's method of that name for one piece: it activates the deal or refuses.
func (d *deals) sectorContentChanged(provider address.Address, info *miner18.SectorPreCommitInfo, p miner18.PieceActivationManifest, id abi.DealID, now abi.ChainEpoch) bool {
	deal, ok := d.market.get(id)
	is := deal.Proposal
	if !ok || is.Provider != provider || now > is.StartEpoch || is.EndEpoch > info.Expiration || deal.State.SectorStartEpoch >= 0 ||
		p.CID != is.PieceCID || p.Size != is.PieceSize {
		return false
	}
	deal.State.SectorNumber, deal.State.SectorStartEpoch = info.SectorNumber, now
	d.market = d.market.set(id, deal)
	return true
}

func (a *api) StateGetAllocation(_ context.Context, client address.Address, id verifreg.AllocationId, key lotus.TipSetKey) (*verifreg.Allocation, error) {
	found, ts, err := a.actorAt(client, key)
	if err != nil {
		return nil, err
	}
	if is, ok := ts.pre.deals.allocations.get(id); ok && is.Client == found.id {
		return &is, nil
	}
	return nil, nil
}

func (a *api) StateGetAllocations(_ context.Context, client address.Address, key lotus.TipSetKey) (map[verifreg.AllocationId]verifreg.Allocation, error) {
	found, ts, err := a.actorAt(client, key)
	if err != nil {
		return nil, err
	}
	out := map[verifreg.AllocationId]verifreg.Allocation{}
	for id, is := range ts.pre.deals.allocations.all() {
		if is.Client == found.id {
			out[id] = is
		}
	}
	return out, nil
}

func (a *api) StateGetClaim(_ context.Context, provider address.Address, id verifreg.ClaimId, key lotus.TipSetKey) (*verifreg.Claim, error) {
	found, ts, err := a.actorAt(provider, key)
	if err != nil {
		return nil, err
	}
	if is, ok := ts.pre.deals.claims.get(id); ok && is.Provider == found.id {
		return &is, nil
	}
	return nil, nil
}

func (a *api) StateGetClaims(_ context.Context, provider address.Address, key lotus.TipSetKey) (map[verifreg.ClaimId]verifreg.Claim, error) {
	found, ts, err := a.actorAt(provider, key)
	if err != nil {
		return nil, err
	}
	out := map[verifreg.ClaimId]verifreg.Claim{}
	for id, is := range ts.pre.deals.claims.all() {
		if is.Provider == found.id {
			out[id] = is
		}
	}
	return out, nil
}

func (a *api) StateMarketStorageDeal(_ context.Context, id abi.DealID, key lotus.TipSetKey) (*lotus.MarketDeal, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return nil, err
	}
	if deal, ok := ts.pre.deals.market.get(id); ok {
		return &deal, nil
	}
	return nil, fmt.Errorf("deal %d not found - deal may not have completed sealing before deal proposal start epoch, or deal may have been slashed", id)
}

// LpsealAllocate makes an allocation; see [Node.Allocate].
func (a *api) LpsealAllocate(_ context.Context, is verifreg.Allocation) (verifreg.AllocationId, error) {
	return a.n.Allocate(is)
}

// LpsealPublishDeal publishes a deal; see [Node.PublishDeal].
func (a *api) LpsealPublishDeal(_ context.Context, p market.DealProposal) (abi.DealID, error) {
	return a.n.PublishDeal(p)
}
