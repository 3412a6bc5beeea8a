package devnet

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/dline"

	"github.com/lpseal/lpseal/chain/lotus"
)

// consensusMinerMinPower is, in bytes, what a miner needs to win blocks on a 2 KiB network.
const consensusMinerMinPower = 2048

// minerAt gives a miner as of a tipset.
func (a *api) minerAt(addr address.Address, key lotus.TipSetKey) (*miner, actor, *tipset, error) {
	found, ts, err := a.actorAt(addr, key)
	if err != nil {
		return nil, actor{}, nil, fmt.Errorf("failed to load miner actor: %w", err)
	}
	m, ok := ts.pre.miners.get(found.id)
	if !ok {
		return nil, actor{}, nil, fmt.Errorf("failed to load miner actor state: unknown actor code %s", network28.Actors[string(found.kind)])
	}
	return m, found, ts, nil
}

func (a *api) StateMinerInfo(_ context.Context, addr address.Address, key lotus.TipSetKey) (lotus.MinerInfo, error) {
	m, _, _, err := a.minerAt(addr, key)
	if err != nil {
		return lotus.MinerInfo{}, err
	}
	return m.info, nil
}

func (a *api) StateMinerSectorSize(_ context.Context, addr address.Address, key lotus.TipSetKey) (abi.SectorSize, error) {
	m, _, _, err := a.minerAt(addr, key)
	if err != nil {
		return 0, err
	}
	return m.info.SectorSize, nil
}

// StateMinerPower counts proven sectors. All of them are of quality 1: there are no verified deals.
func (a *api) StateMinerPower(_ context.Context, addr address.Address, key lotus.TipSetKey) (*lotus.MinerPower, error) {
	m, _, ts, err := a.minerAt(addr, key)
	if err != nil {
		return nil, err
	}
	total := big.Zero()
	for _, other := range ts.pre.miners.all() {
		total = big.Add(total, other.power())
	}
	own := m.power()
	return &lotus.MinerPower{
		MinerPower:  lotus.Claim{RawBytePower: own, QualityAdjPower: own},
		TotalPower:  lotus.Claim{RawBytePower: total, QualityAdjPower: total},
		HasMinPower: own.GreaterThanEqual(big.NewInt(consensusMinerMinPower)),
	}, nil
}

func (m *miner) power() abi.StoragePower {
	proven := uint64(0)
	for _, p := range m.placements.all() {
		if p.status == Proven {
			proven++
		}
	}
	return big.Mul(big.NewIntUnsigned(proven), big.NewIntUnsigned(uint64(m.info.SectorSize)))
}

func (a *api) StateMinerAvailableBalance(_ context.Context, addr address.Address, key lotus.TipSetKey) (abi.TokenAmount, error) {
	m, found, _, err := a.minerAt(addr, key)
	if err != nil {
		return abi.TokenAmount{}, err
	}
	return m.available(found.balance), nil
}

func (a *api) StateMinerProvingDeadline(_ context.Context, addr address.Address, key lotus.TipSetKey) (*dline.Info, error) {
	m, _, ts, err := a.minerAt(addr, key)
	if err != nil {
		return nil, err
	}
	return m.deadline(ts.Height), nil
}

// StateMinerDeadlines lists deadlines without a single WindowPoSt.
func (a *api) StateMinerDeadlines(_ context.Context, addr address.Address, key lotus.TipSetKey) ([]lotus.Deadline, error) {
	if _, _, _, err := a.minerAt(addr, key); err != nil {
		return nil, err
	}
	out := make([]lotus.Deadline, miner18.WPoStPeriodDeadlines)
	for i := range out {
		out[i].PostSubmissions = bitfield.New()
	}
	return out, nil
}

func (a *api) StateMinerPartitions(_ context.Context, addr address.Address, deadline uint64, key lotus.TipSetKey) ([]lotus.Partition, error) {
	m, _, _, err := a.minerAt(addr, key)
	if err != nil {
		return nil, err
	}
	if deadline >= miner18.WPoStPeriodDeadlines {
		return nil, fmt.Errorf("failed to load the deadline: invalid deadline %d", deadline)
	}
	return m.partitions(deadline), nil
}

func (a *api) StateMinerFaults(_ context.Context, addr address.Address, key lotus.TipSetKey) (bitfield.BitField, error) {
	m, _, _, err := a.minerAt(addr, key)
	if err != nil {
		return bitfield.BitField{}, err
	}
	return m.withStatus(Faulty, Recovering), nil
}

func (a *api) StateMinerRecoveries(_ context.Context, addr address.Address, key lotus.TipSetKey) (bitfield.BitField, error) {
	m, _, _, err := a.minerAt(addr, key)
	if err != nil {
		return bitfield.BitField{}, err
	}
	return m.withStatus(Recovering), nil
}

func (a *api) StateMinerAllocated(_ context.Context, addr address.Address, key lotus.TipSetKey) (*bitfield.BitField, error) {
	m, _, _, err := a.minerAt(addr, key)
	if err != nil {
		return nil, err
	}
	set := bitfield.New()
	for n := range m.allocated.all() {
		set.Set(uint64(n))
	}
	return &set, nil
}

func (a *api) StateMinerSectorAllocated(_ context.Context, addr address.Address, n abi.SectorNumber, key lotus.TipSetKey) (bool, error) {
	m, _, _, err := a.minerAt(addr, key)
	if err != nil {
		return false, err
	}
	return m.allocated.has(n), nil
}

// StateMinerSectors lists the committed sectors in filter, or all without one.
func (a *api) StateMinerSectors(_ context.Context, addr address.Address, filter *bitfield.BitField, key lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	m, _, _, err := a.minerAt(addr, key)
	if err != nil {
		return nil, err
	}
	out := []*lotus.SectorOnChainInfo{}
	for n, info := range m.sectors.all() {
		if filter != nil {
			if wanted, err := filter.IsSet(uint64(n)); err != nil {
				return nil, err
			} else if !wanted {
				continue
			}
		}
		out = append(out, info)
	}
	return out, nil
}

func (a *api) StateMinerActiveSectors(ctx context.Context, addr address.Address, key lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	m, _, _, err := a.minerAt(addr, key)
	if err != nil {
		return nil, err
	}
	proven := m.withStatus(Proven)
	return a.StateMinerSectors(ctx, addr, &proven, key)
}

// sectorAt gives a miner for a question about one sector, whose errors Lotus marks.
func (a *api) sectorAt(addr address.Address, key lotus.TipSetKey) (*miner, error) {
	m, _, _, err := a.minerAt(addr, key)
	if err != nil {
		return nil, fmt.Errorf("(get sset) %w", err)
	}
	return m, nil
}

// StateSectorPreCommitInfo is nil when the sector is not, or no longer, pre-committed.
func (a *api) StateSectorPreCommitInfo(_ context.Context, addr address.Address, n abi.SectorNumber, key lotus.TipSetKey) (*miner18.SectorPreCommitOnChainInfo, error) {
	m, err := a.sectorAt(addr, key)
	if err != nil {
		return nil, err
	}
	pc, _ := m.precommits.get(n)
	return pc, nil
}

// StateSectorGetInfo is nil when the sector is not committed.
func (a *api) StateSectorGetInfo(_ context.Context, addr address.Address, n abi.SectorNumber, key lotus.TipSetKey) (*lotus.SectorOnChainInfo, error) {
	m, err := a.sectorAt(addr, key)
	if err != nil {
		return nil, err
	}
	info, _ := m.sectors.get(n)
	return info, nil
}

func (a *api) StateSectorExpiration(_ context.Context, addr address.Address, n abi.SectorNumber, key lotus.TipSetKey) (*lotus.SectorExpiration, error) {
	m, _, _, err := a.minerAt(addr, key)
	if err != nil {
		return nil, err
	}
	info, ok := m.sectors.get(n)
	if !ok {
		return nil, fmt.Errorf("failed to find sector %d", n)
	}
	return &lotus.SectorExpiration{OnTime: info.Expiration}, nil
}

func (a *api) StateSectorPartition(_ context.Context, addr address.Address, n abi.SectorNumber, key lotus.TipSetKey) (*lotus.SectorLocation, error) {
	m, _, _, err := a.minerAt(addr, key)
	if err != nil {
		return nil, err
	}
	p, ok := m.placements.get(n)
	if !ok {
		return nil, fmt.Errorf("sector %d not due at any deadline", n)
	}
	return &p.SectorLocation, nil
}

func (a *api) StateMinerPreCommitDepositForPower(_ context.Context, addr address.Address, info miner18.SectorPreCommitInfo, key lotus.TipSetKey) (abi.TokenAmount, error) {
	return a.estimate(addr, info.SealProof, key, preCommitDeposit)
}

func (a *api) StateMinerInitialPledgeCollateral(_ context.Context, addr address.Address, info miner18.SectorPreCommitInfo, key lotus.TipSetKey) (abi.TokenAmount, error) {
	return a.estimate(addr, info.SealProof, key, initialPledge)
}

func (a *api) estimate(addr address.Address, proof abi.RegisteredSealProof, key lotus.TipSetKey, amount func(abi.SectorSize) abi.TokenAmount) (abi.TokenAmount, error) {
	if _, _, _, err := a.minerAt(addr, key); err != nil {
		return abi.TokenAmount{}, err
	}
	size, err := proof.SectorSize()
	if err != nil {
		return abi.TokenAmount{}, fmt.Errorf("failed to resolve sector size for seal proof: %w", err)
	}
	return withMargin(amount(size)), nil
}

// StateMinerInitialPledgeForSector ignores the duration, as the cap that rules here does; verified bytes count ten-fold.
func (a *api) StateMinerInitialPledgeForSector(_ context.Context, duration abi.ChainEpoch, size abi.SectorSize, verified uint64, key lotus.TipSetKey) (abi.TokenAmount, error) {
	switch {
	case duration <= 0:
		return abi.TokenAmount{}, fmt.Errorf("sector duration must greater than 0")
	case size == 0:
		return abi.TokenAmount{}, fmt.Errorf("sector size must be non-zero")
	case verified > uint64(size):
		return abi.TokenAmount{}, fmt.Errorf("verified size must be less than or equal to sector size")
	}
	if _, err := a.n.chain.at(key); err != nil {
		return abi.TokenAmount{}, err
	}
	return withMargin(initialPledge(adjusted(size, abi.PaddedPieceSize(verified)))), nil
}

func withMargin(amount abi.TokenAmount) abi.TokenAmount {
	return big.Div(big.Mul(amount, big.NewInt(estimatePercent)), big.NewInt(100))
}
