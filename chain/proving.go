package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// provingCache keeps the calls for watched sectors few: one for each sector ever, and then one for each deadline that has closed, however many
// sectors are proven in it.
type provingCache struct {
	mu        sync.Mutex
	places    map[jobs.SectorID]lotus.SectorLocation
	periods   map[abi.ActorID]*dline.Info // any of a miner's deadlines: they come round for ever
	deadlines map[deadline][]lotus.Partition
	asked     map[deadline]abi.ChainEpoch // height of the answer
}

// deadline is one of a miner's 48.
type deadline struct {
	miner abi.ActorID
	index uint64
}

// provingAgain is for how many epochs the partitions of a deadline stand once it has closed: a sector that was missed is proven a day later at the
// earliest, and terminated at any time.
const provingAgain = 60

func newProvingCache() *provingCache {
	return &provingCache{
		places: map[jobs.SectorID]lotus.SectorLocation{}, periods: map[abi.ActorID]*dline.Info{},
		deadlines: map[deadline][]lotus.Partition{}, asked: map[deadline]abi.ChainEpoch{},
	}
}

// clear forgets all: the chain was reorganised below what was believed.
func (p *provingCache) clear() {
	fresh := newProvingCache()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places, p.periods, p.deadlines, p.asked = fresh.places, fresh.periods, fresh.deadlines, fresh.asked
}

// Proving implements jobs.Chain. It reads at landing confidence, and asks for partitions only when the sector's deadline has closed: a sector is
// unproven until then, and afterwards active or faulty.
func (c *Client) Proving(ctx context.Context, id jobs.SectorID, committed abi.ChainEpoch) (jobs.Proving, error) {
	v, err := c.provingAt(ctx, id, committed)
	if errors.Is(err, errNotDue) {
		return jobs.Proving{State: jobs.ProvingTerminated}, nil
	}
	if err != nil {
		return jobs.Proving{}, fmt.Errorf("sector %s: %w", id, err)
	}
	return v, nil
}

func (c *Client) provingAt(ctx context.Context, id jobs.SectorID, committed abi.ChainEpoch) (jobs.Proving, error) {
	ts, err := c.settledTipSet(ctx)
	if err != nil {
		return jobs.Proving{}, err
	}
	if ts.Height <= committed {
		return jobs.Proving{}, jobs.Failf(jobs.Transient, "it was committed at epoch %d, and what the node has settled ends at %d; waiting for it to sync", committed, ts.Height)
	}
	period, err := c.provingPeriod(ctx, id.Miner, ts)
	if err != nil {
		return jobs.Proving{}, err
	}
	// Twice, if the sector has moved: the owner may compact partitions.
	for range 2 {
		place, err := c.placeOf(ctx, id, ts)
		if err != nil {
			return jobs.Proving{}, err
		}
		v := jobs.Proving{State: jobs.ProvingDue, Deadline: place.Deadline, Partition: place.Partition, Closes: firstClose(period, place.Deadline, committed)}
		if ts.Height < v.Closes {
			return v, nil
		}
		partitions, err := c.partitionsSince(ctx, deadline{id.Miner, place.Deadline}, v.Closes, ts)
		if err != nil {
			return v, err
		}
		v.State, err = stateIn(partitions, place.Partition, uint64(id.Number))
		if v.State == jobs.ProvingDone || v.State == "" && err == nil { // nobody asks again, or its place is another
			c.proving.mu.Lock()
			delete(c.proving.places, id)
			c.proving.mu.Unlock()
		}
		if v.State != "" || err != nil {
			return v, err
		}
	}
	return jobs.Proving{}, jobs.Failf(jobs.Transient, "its partition does not name it")
}

// firstClose is when a deadline that opened after an epoch closes. A new sector is never put into a deadline that is open.
func firstClose(any *dline.Info, index uint64, after abi.ChainEpoch) abi.ChainEpoch {
	opens := any.PeriodStart + abi.ChainEpoch(index)*any.WPoStChallengeWindow
	ahead := (opens - after - 1) % any.WPoStProvingPeriod // of the first opening after the epoch, less one
	if ahead < 0 {
		ahead += any.WPoStProvingPeriod
	}
	return after + 1 + ahead + any.WPoStChallengeWindow
}

func (c *Client) provingPeriod(ctx context.Context, miner abi.ActorID, ts *lotus.TipSet) (*dline.Info, error) {
	c.proving.mu.Lock()
	period := c.proving.periods[miner]
	c.proving.mu.Unlock()
	if period != nil {
		return period, nil
	}
	addr := minerAddress(miner)
	period, err := memo(ctx, c, ts.Key(), "StateMinerProvingDeadline", addr.String(), func(ctx context.Context, api *api) (*dline.Info, error) {
		return api.StateMinerProvingDeadline(ctx, addr, ts.Key())
	})
	if err != nil {
		return nil, err
	}
	if period.WPoStProvingPeriod <= 0 {
		return nil, jobs.Failf(jobs.Bug, "miner %s has a proving period of %d epochs", addr, period.WPoStProvingPeriod)
	}
	c.proving.mu.Lock()
	defer c.proving.mu.Unlock()
	c.proving.periods[miner] = period
	return period, nil
}

func (c *Client) placeOf(ctx context.Context, id jobs.SectorID, ts *lotus.TipSet) (lotus.SectorLocation, error) {
	c.proving.mu.Lock()
	place, ok := c.proving.places[id]
	c.proving.mu.Unlock()
	if ok {
		return place, nil
	}
	addr := minerAddress(id.Miner)
	asked, err := memo(ctx, c, ts.Key(), "StateSectorPartition", id.String(), func(ctx context.Context, api *api) (*lotus.SectorLocation, error) {
		return api.StateSectorPartition(ctx, addr, id.Number, ts.Key())
	})
	if err != nil {
		return place, err
	}
	c.proving.mu.Lock()
	defer c.proving.mu.Unlock()
	c.proving.places[id] = *asked
	return *asked, nil
}

// partitionsSince are a deadline's partitions as of an epoch or later.
func (c *Client) partitionsSince(ctx context.Context, d deadline, since abi.ChainEpoch, ts *lotus.TipSet) ([]lotus.Partition, error) {
	c.proving.mu.Lock()
	partitions, asked := c.proving.deadlines[d], c.proving.asked[d]
	c.proving.mu.Unlock()
	if partitions != nil && asked >= since && asked <= ts.Height && ts.Height < asked+provingAgain {
		return partitions, nil
	}
	addr := minerAddress(d.miner)
	partitions, err := memo(ctx, c, ts.Key(), "StateMinerPartitions", fmt.Sprintf("%s %d", addr, d.index), func(ctx context.Context, api *api) ([]lotus.Partition, error) {
		return api.StateMinerPartitions(ctx, addr, d.index, ts.Key())
	})
	if err != nil {
		return nil, err
	}
	c.proving.mu.Lock()
	defer c.proving.mu.Unlock()
	c.proving.deadlines[d], c.proving.asked[d] = partitions, ts.Height
	return partitions, nil
}

// stateIn reads a partition after its deadline has closed; the state is empty if the sector is not in it.
func stateIn(partitions []lotus.Partition, at, number uint64) (jobs.ProvingState, error) {
	if at >= uint64(len(partitions)) {
		return "", nil
	}
	p := partitions[at]
	all, err1 := p.AllSectors.IsSet(number)
	live, err2 := p.LiveSectors.IsSet(number)
	faulty, err3 := p.FaultySectors.IsSet(number)
	active, err4 := p.ActiveSectors.IsSet(number)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return "", jobs.Failf(jobs.Bug, "partition %d: %w", at, err)
	}
	switch {
	case !all:
		return "", nil
	case !live:
		return jobs.ProvingTerminated, nil
	case faulty:
		return jobs.ProvingFaulty, nil
	case active:
		return jobs.ProvingDone, nil
	}
	return jobs.ProvingUnproven, nil
}
