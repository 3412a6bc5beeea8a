package chain

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// minerAddress is the ID address of an actor.
func minerAddress(id abi.ActorID) address.Address {
	a, err := address.NewIDAddress(uint64(id))
	if err != nil {
		panic(err) // only above 2^63
	}
	return a
}

func (c *Client) minerInfo(ctx context.Context, id abi.ActorID) (lotus.MinerInfo, error) {
	head, err := c.headTipSet(ctx)
	if err != nil {
		return lotus.MinerInfo{}, err
	}
	addr := minerAddress(id)
	info, err := memo(ctx, c, head.Key(), "StateMinerInfo", addr.String(), func(ctx context.Context, api *api) (lotus.MinerInfo, error) {
		return api.StateMinerInfo(ctx, addr, head.Key())
	})
	if err != nil {
		return info, fmt.Errorf("miner %s: %w", addr, err)
	}
	return info, nil
}

// Miner implements jobs.Chain.
func (c *Client) Miner(ctx context.Context, id abi.ActorID) (jobs.Miner, error) {
	info, err := c.minerInfo(ctx, id)
	if err != nil {
		return jobs.Miner{}, err
	}
	proof, ok := sealProofs[info.SectorSize]
	if !ok {
		return jobs.Miner{}, jobs.Failf(jobs.Rejected, "miner %s: no seal proof for sectors of %d bytes", minerAddress(id), info.SectorSize)
	}
	return jobs.Miner{SectorSize: info.SectorSize, SealProof: proof}, nil
}

// sealProofs are the interactive V1_1 proofs by sector size.
var sealProofs = map[abi.SectorSize]abi.RegisteredSealProof{
	2 << 10:   abi.RegisteredSealProof_StackedDrg2KiBV1_1,
	8 << 20:   abi.RegisteredSealProof_StackedDrg8MiBV1_1,
	512 << 20: abi.RegisteredSealProof_StackedDrg512MiBV1_1,
	32 << 30:  abi.RegisteredSealProof_StackedDrg32GiBV1_1,
	64 << 30:  abi.RegisteredSealProof_StackedDrg64GiBV1_1,
}

// Allocated implements jobs.Chain.
func (c *Client) Allocated(ctx context.Context, id abi.ActorID) (bitfield.BitField, error) {
	head, err := c.headTipSet(ctx)
	if err != nil {
		return bitfield.BitField{}, err
	}
	return c.allocatedAt(ctx, id, head.Key())
}

func (c *Client) allocatedAt(ctx context.Context, id abi.ActorID, at lotus.TipSetKey) (bitfield.BitField, error) {
	addr := minerAddress(id)
	used, err := memo(ctx, c, at, "StateMinerAllocated", addr.String(), func(ctx context.Context, api *api) (*bitfield.BitField, error) {
		return api.StateMinerAllocated(ctx, addr, at)
	})
	if err != nil {
		return bitfield.BitField{}, fmt.Errorf("miner %s: %w", addr, err)
	}
	return used.Copy()
}

// Ticket implements jobs.Chain.
func (c *Client) Ticket(ctx context.Context, id abi.ActorID, epoch abi.ChainEpoch) ([]byte, error) {
	return c.randomness(ctx, "StateGetRandomnessFromTickets", id, epoch, func(ctx context.Context, api *api, entropy []byte, at lotus.TipSetKey) (
		abi.Randomness, error,
	) {
		return api.StateGetRandomnessFromTickets(ctx, crypto.DomainSeparationTag_SealRandomness, epoch, entropy, at)
	})
}

// Seed implements jobs.Chain.
func (c *Client) Seed(ctx context.Context, id abi.ActorID, epoch abi.ChainEpoch) ([]byte, error) {
	return c.randomness(ctx, "StateGetRandomnessFromBeacon", id, epoch, func(ctx context.Context, api *api, entropy []byte, at lotus.TipSetKey) (
		abi.Randomness, error,
	) {
		return api.StateGetRandomnessFromBeacon(ctx, crypto.DomainSeparationTag_InteractiveSealChallengeSeed, epoch, entropy, at)
	})
}

func (c *Client) randomness(ctx context.Context, method string, id abi.ActorID, epoch abi.ChainEpoch,
	draw func(ctx context.Context, api *api, entropy []byte, at lotus.TipSetKey) (abi.Randomness, error),
) ([]byte, error) {
	head, err := c.headTipSet(ctx)
	if err != nil {
		return nil, err
	}
	var entropy bytes.Buffer
	if err := ptr(minerAddress(id)).MarshalCBOR(&entropy); err != nil {
		return nil, fmt.Errorf("miner %s: %w", minerAddress(id), err)
	}
	value, err := read(ctx, c.node, method, func(ctx context.Context, api *api) (abi.Randomness, error) {
		return draw(ctx, api, entropy.Bytes(), head.Key())
	})
	if err != nil {
		return nil, fmt.Errorf("miner %s: randomness of epoch %d: %w", minerAddress(id), epoch, err)
	}
	if len(value) != abi.RandomnessLength {
		return nil, jobs.Failf(jobs.Bug, "miner %s: randomness of epoch %d has %d bytes, not %d", minerAddress(id), epoch, len(value), abi.RandomnessLength)
	}
	return value, nil
}

func ptr[T any](v T) *T { return &v }

// sectorCache remembers what the chain said of sectors, so that a poll asks of a sector only when its answer may differ.
type sectorCache struct {
	mu    sync.Mutex
	known map[jobs.SectorID]knownSector
	full  int // the size at which what is old is dropped
	era   int // raised by clear
}

// fewSectors is the size below which nothing is dropped from a cache.
const fewSectors = 4096

type knownSector struct {
	jobs.OnChain
	at     lotus.TipSetKey // as of which
	height abi.ChainEpoch  // when it was read
	state  cid.Cid         // head of the miner's state then
	era    int             // of the cache when it was asked for
}

// lookAgain bounds for how long a sector's answer stands when nothing that we sent could have changed it (2 h at 30 s): another
// program may have proven or ended the sector.
const lookAgain = 240

// get gives the era also where nothing is known.
func (s *sectorCache) get(id jobs.SectorID) (knownSector, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.known[id]
	k.era = s.era
	return k, ok
}

// put keeps the newer of two answers, and none that was asked for before the last clear.
func (s *sectorCache) put(id jobs.SectorID, k knownSector) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.era < s.era {
		return
	}
	if s.known == nil {
		s.known = map[jobs.SectorID]knownSector{}
	}
	if s.known[id].height <= k.height {
		s.known[id] = k
	}
	if len(s.known) <= max(s.full, fewSectors) {
		return
	}
	// Sectors that nobody has asked for of late are done, or cost one question; twice as many as are in use makes this a constant on average.
	for id, old := range s.known {
		if old.height < k.height-lookAgain {
			delete(s.known, id)
		}
	}
	s.full = 2 * len(s.known)
}

// forget makes the next question go to the chain, and answers of before height useless: a message that names the sector landed.
func (s *sectorCache) forget(id jobs.SectorID, height abi.ChainEpoch) {
	now, _ := s.get(id)
	s.put(id, knownSector{height: height, era: now.era})
}

// clear forgets all: the chain was reorganised below what was believed.
func (s *sectorCache) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = nil
	s.era++
}

// OnChain implements jobs.Chain. Calls follow what changes, not how many sectors are looked at: a number not allocated has neither
// pre-commitment nor sector, and an answer stands while the miner's state does, or until one of our messages for the sector lands.
func (c *Client) OnChain(ctx context.Context, id jobs.SectorID) (jobs.OnChain, error) {
	ts, err := c.settledTipSet(ctx)
	if err != nil {
		return jobs.OnChain{}, err
	}
	if err := c.settleMessages(ctx, ts); err != nil {
		return jobs.OnChain{}, err
	}
	on, err := c.onChainAt(ctx, id, ts)
	on.AsOf = ts.Height
	return on, err
}

func (c *Client) onChainAt(ctx context.Context, id jobs.SectorID, ts *lotus.TipSet) (jobs.OnChain, error) {
	k, known := c.sectors.get(id)
	known = known && k.height <= ts.Height
	if known && (k.at == ts.Key() || c.stands(k, ts.Height)) {
		return k.OnChain, nil
	}
	addr := minerAddress(id.Miner)
	actor, err := memo(ctx, c, ts.Key(), "StateGetActor", addr.String(), func(ctx context.Context, api *api) (*lotus.Actor, error) {
		return api.StateGetActor(ctx, addr, ts.Key())
	})
	if err != nil {
		return jobs.OnChain{}, fmt.Errorf("sector %s: %w", id, err)
	}
	if known && k.state == actor.Head && (k.PreCommit == nil || ts.Height <= k.PreCommit.Expires) {
		k.at = ts.Key()
		c.sectors.put(id, k)
		return k.OnChain, nil
	}
	k = knownSector{at: ts.Key(), height: ts.Height, state: actor.Head, era: k.era}
	used, err := c.allocatedAt(ctx, id.Miner, ts.Key())
	if err != nil {
		return jobs.OnChain{}, fmt.Errorf("sector %s: %w", id, err)
	}
	if set, err := used.IsSet(uint64(id.Number)); err != nil {
		return jobs.OnChain{}, jobs.Failf(jobs.Bug, "sector %s: allocated numbers: %w", id, err)
	} else if set {
		if k.OnChain, err = c.sectorAt(ctx, id, ts); err != nil {
			return jobs.OnChain{}, err
		}
	}
	c.sectors.put(id, k)
	return k.OnChain, nil
}

// stands tells whether an answer of an earlier tipset may be given again without asking: only a client with the message journal knows
// when one of our messages changed it.
func (c *Client) stands(k knownSector, height abi.ChainEpoch) bool {
	if c.cfg.Journal == nil || height >= k.height+lookAgain {
		return false
	}
	return k.Sector != nil || k.PreCommit != nil && height <= k.PreCommit.Expires
}

// sectorAt asks the node as of a tipset. A number is pre-committed or committed, never both.
func (c *Client) sectorAt(ctx context.Context, id jobs.SectorID, ts *lotus.TipSet) (jobs.OnChain, error) {
	addr := minerAddress(id.Miner)
	pre, err := read(ctx, c.node, "StateSectorPreCommitInfo", func(ctx context.Context, api *api) (*miner.SectorPreCommitOnChainInfo, error) {
		return api.StateSectorPreCommitInfo(ctx, addr, id.Number, ts.Key())
	})
	if err != nil {
		return jobs.OnChain{}, fmt.Errorf("sector %s: %w", id, err)
	}
	if pre != nil {
		expires := pre.PreCommitEpoch + jobs.MaxProveCommit(c.network.ChallengeDelay)
		if ts.Height > expires {
			return jobs.OnChain{}, nil // the actor has not swept it yet, but takes no proof for it
		}
		out := &jobs.OnChainPreCommit{Epoch: pre.PreCommitEpoch, CommR: pre.Info.SealedCID, Expires: expires, TicketEpoch: pre.Info.SealRandEpoch}
		if commD := pre.Info.UnsealedCid; commD != nil {
			out.CommD = *commD
		}
		return jobs.OnChain{PreCommit: out}, nil
	}
	info, err := read(ctx, c.node, "StateSectorGetInfo", func(ctx context.Context, api *api) (*lotus.SectorOnChainInfo, error) {
		return api.StateSectorGetInfo(ctx, addr, id.Number, ts.Key())
	})
	if err != nil {
		return jobs.OnChain{}, fmt.Errorf("sector %s: %w", id, err)
	}
	if info == nil {
		return jobs.OnChain{}, nil
	}
	return jobs.OnChain{Sector: &jobs.OnChainSector{CommR: info.SealedCID, Activation: info.Activation, Expiration: info.Expiration}}, nil
}

// OfferVanilla implements jobs.Chain.
func (c *Client) OfferVanilla(ctx context.Context, id jobs.SectorID, c1 []byte) error {
	_, err := write(ctx, c.node, "LpsealOfferVanilla", func(ctx context.Context, api *api) (struct{}, error) {
		return struct{}{}, api.LpsealOfferVanilla(ctx, minerAddress(id.Miner), id.Number, c1)
	})
	if err != nil {
		return fmt.Errorf("sector %s: %w", id, err)
	}
	return nil
}
