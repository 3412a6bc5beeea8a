package devnet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/network"

	"github.com/lpseal/lpseal/chain/lotus"
)

// networkVersion is what the node's rules, codecs and errors are those of.
const networkVersion = network.Version28

// Protocol constants in epochs that go-state-types does not give.
const (
	maxProveCommitDays    = 30                       // FIP-0013; plus the challenge delay
	preCommitCleanUpDelay = 8 * builtin.EpochsInHour // after expiry, the deposit is burnt
	maxAggregateProof     = 81960                    // bytes; builtin-actors v18, runtime/src/runtime/policy.rs
	maxPreCommitBatch     = miner18.PreCommitSectorBatchMaxSize
)

// Amounts in attoFIL per byte, taken from a recorded 2 KiB network. The pledge is exactly the actors' cap of 1 FIL per 32 GiB,
// which rules on a small network; the deposit is per quality-adjusted byte, at the ten-fold quality that the actors assume.
const (
	pledgePerByte          = 29_103_830
	depositPerAdjustedByte = 48_754_066
	maxQuality             = 10
	dailyFeePerByteMilli   = 90_722 // FIP-0100 at the recorded circulating supply
)

// estimatePercent is what Lotus adds to deposit and pledge when asked for them.
const estimatePercent = 110

func preCommitDeposit(size abi.SectorSize) abi.TokenAmount {
	return big.Mul(big.NewInt(depositPerAdjustedByte*maxQuality), big.NewIntUnsigned(uint64(size)))
}

// adjusted is the size that counts for pledge and fee: verified data counts ten-fold.
func adjusted(size abi.SectorSize, verified abi.PaddedPieceSize) abi.SectorSize {
	return size + abi.SectorSize(verified)*(maxQuality-1)
}

func initialPledge(size abi.SectorSize) abi.TokenAmount {
	return big.Mul(big.NewInt(pledgePerByte), big.NewIntUnsigned(uint64(size)))
}

func dailyFee(size abi.SectorSize) abi.TokenAmount {
	return big.Div(big.Mul(big.NewInt(dailyFeePerByteMilli), big.NewIntUnsigned(uint64(size))), big.NewInt(1000))
}

// SectorStatus is what WindowPoSts, which nobody makes here, would have made of a committed sector.
type SectorStatus int

// A sector is Unproven from its commitment on until somebody says otherwise through [Node.SetSector].
const (
	Unproven SectorStatus = iota
	Proven
	Faulty
	Recovering // declared recovered, still faulty until proven
	Terminated // ended by its owner
)

// String names the status.
func (s SectorStatus) String() string {
	return [...]string{"unproven", "proven", "faulty", "recovering", "terminated"}[s]
}

// placement is where and how a committed sector is proven.
type placement struct {
	lotus.SectorLocation
	status SectorStatus
}

// miner is a storage miner's state, immutable once in a state: change a copy.
type miner struct {
	id          abi.ActorID
	info        lotus.MinerInfo
	periodStart abi.ChainEpoch // of some proving period, in (-2880, 0]

	allocated  ordered[abi.SectorNumber, struct{}]
	precommits ordered[abi.SectorNumber, *miner18.SectorPreCommitOnChainInfo]
	sectors    ordered[abi.SectorNumber, *lotus.SectorOnChainInfo]
	placements ordered[abi.SectorNumber, placement]
	expiries   ordered[abi.ChainEpoch, []abi.SectorNumber] // pre-commitments to clean up after the epoch

	deposits, pledge abi.TokenAmount
	load             [miner18.WPoStPeriodDeadlines]uint64 // sectors ever assigned to each deadline
}

func (m *miner) copy() *miner {
	c := *m
	return &c
}

// available is what a balance leaves for deposits, pledge and withdrawal.
func (m *miner) available(balance abi.TokenAmount) abi.TokenAmount {
	return big.Sub(balance, big.Add(m.deposits, m.pledge))
}

// callers are the ID addresses that may send sealing messages.
func (m *miner) mayCall(caller abi.ActorID) bool {
	from := idAddress(caller)
	return from == m.info.Owner || from == m.info.Worker || slices.Contains(m.info.ControlAddresses, from)
}

// cleanUp drops pre-commitments whose time for a proof is long over and returns the deposits that are burnt.
func (m *miner) cleanUp(now abi.ChainEpoch) (*miner, abi.TokenAmount) {
	burnt := big.Zero()
	c := m.copy()
	for due, numbers := range m.expiries.all() {
		if due >= now {
			break
		}
		for _, n := range numbers {
			if pc, ok := c.precommits.get(n); ok {
				burnt = big.Add(burnt, pc.PreCommitDeposit)
				c.precommits = c.precommits.drop(n)
			}
		}
		c.expiries = c.expiries.drop(due)
	}
	c.deposits = big.Sub(c.deposits, burnt)
	return c, burnt
}

// deadline is the proving deadline that is open at an epoch.
func (m *miner) deadline(now abi.ChainEpoch) *dline.Info {
	elapsed := (now - m.periodStart) % miner18.WPoStProvingPeriod
	return deadlineInfo(now-elapsed, uint64(elapsed/miner18.WPoStChallengeWindow), now)
}

func deadlineInfo(periodStart abi.ChainEpoch, index uint64, now abi.ChainEpoch) *dline.Info {
	return dline.NewInfo(periodStart, index, now, miner18.WPoStPeriodDeadlines, miner18.WPoStProvingPeriod,
		miner18.WPoStChallengeWindow, miner18.WPoStChallengeLookback, miner18.FaultDeclarationCutoff)
}

// assign places a new sector as the actor does: in no deadline that is open or next, so that its first WindowPoSt is due 30 minutes
// from now at the earliest; of the others in one of fewest partitions, rather without opening a new one, and of those the first.
func (m *miner) assign(n abi.SectorNumber, now abi.ChainEpoch) {
	const deadlines = miner18.WPoStPeriodDeadlines
	size := m.info.WindowPoStPartitionSectors
	rank := func(d uint64) []uint64 { return []uint64{m.load[d] / size, size - m.load[d]%size, d} }
	open := m.deadline(now).Index
	best := (open + 2) % deadlines
	for i := uint64(3); i < deadlines; i++ {
		if d := (open + i) % deadlines; slices.Compare(rank(d), rank(best)) < 0 {
			best = d
		}
	}
	m.placements = m.placements.set(n, placement{
		SectorLocation: lotus.SectorLocation{Deadline: best, Partition: m.load[best] / size},
	})
	m.load[best]++
}

// partitions are the sectors of a deadline by partition and state.
func (m *miner) partitions(deadline uint64) []lotus.Partition {
	var parts []lotus.Partition
	for n, p := range m.placements.all() {
		if p.Deadline != deadline {
			continue
		}
		for uint64(len(parts)) <= p.Partition {
			parts = append(parts, lotus.Partition{
				AllSectors: bitfield.New(), FaultySectors: bitfield.New(), RecoveringSectors: bitfield.New(),
				LiveSectors: bitfield.New(), ActiveSectors: bitfield.New(),
			})
		}
		part := &parts[p.Partition]
		part.AllSectors.Set(uint64(n))
		if p.status != Terminated {
			part.LiveSectors.Set(uint64(n))
		}
		switch p.status {
		case Proven:
			part.ActiveSectors.Set(uint64(n))
		case Recovering:
			part.RecoveringSectors.Set(uint64(n))
			part.FaultySectors.Set(uint64(n))
		case Faulty:
			part.FaultySectors.Set(uint64(n))
		}
	}
	return parts
}

// withStatus is the set of sector numbers in one of the states.
func (m *miner) withStatus(any ...SectorStatus) bitfield.BitField {
	set := bitfield.New()
	for n, p := range m.placements.all() {
		if slices.Contains(any, p.status) {
			set.Set(uint64(n))
		}
	}
	return set
}

// rangesOf prints sector numbers as the actors print a bitfield.
func rangesOf(numbers []abi.SectorNumber) string {
	slices.Sort(numbers)
	var ranges []string
	for i := 0; i < len(numbers); {
		j := i + 1
		for j < len(numbers) && numbers[j] == numbers[j-1]+1 {
			j++
		}
		ranges = append(ranges, fmt.Sprintf("%d..%d", numbers[i], numbers[j-1]+1))
		i = j
	}
	return "BitField { ranges: [" + strings.Join(ranges, ", ") + "], set: {}, unset: {} }"
}
