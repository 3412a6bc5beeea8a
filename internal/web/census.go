package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// standing is how a sector stands, the one word for its row.
type standing string

const (
	held     standing = "held"     // for a person
	faulted  standing = "fault"    // the poller tries again by itself, or watches that others do
	running  standing = "running"  // somebody works on it
	waiting  standing = "waiting"  // for a slot, the chain or time
	finished standing = "finished" // out of the pipeline
)

// standings in the order of how much they want to be looked at.
var standings = []standing{held, faulted, running, waiting, finished}

func standingOf(r *jobs.Record) standing {
	is := waiting
	if r.Outcome != jobs.Open {
		return finished
	}
	if r.Hold != nil {
		return held
	}
	if r.NotProven != nil {
		return faulted
	}
	for _, sr := range r.Stages {
		switch sr.State {
		case jobs.Faulted:
			return faulted
		case jobs.Running:
			is = running
		}
	}
	return is
}

// lastMove is when a sector last changed its stage.
func lastMove(r *jobs.Record) time.Time {
	last := r.Created
	for _, sr := range r.Stages {
		if sr.Since.After(last) {
			last = sr.Since
		}
	}
	if r.Hold != nil && r.Outcome == jobs.Open {
		last = r.Hold.Since
	}
	return last
}

// entry is what the census keeps of an open sector: enough to count, find and order it.
type entry struct {
	id       jobs.SectorID
	standing standing
	in       uint32 // bit i: its row i of the table is queued, running or faulted
	moved    time.Time
}

// count is sectors of a miner with a stage in a state.
type count struct {
	miner abi.ActorID
	stage jobs.Stage
	state jobs.StageState
}

// tally is the whole fleet at one moment.
type tally struct {
	at         time.Time
	open       []entry // by miner and number
	done       []jobs.SectorID
	doneBy     map[abi.ActorID]int
	unreadable []jobs.SectorID     // records of a newer lpseal, or damaged
	unread     map[string][]string // what else is, by kind
	stages     map[count]int
	notProven  map[missed]int
	commitBy   map[abi.ActorID]abi.ChainEpoch // when the next deposit is lost
	pace       jobs.Pace
	owed       []jobs.Payment
}

// missed is committed sectors of a miner that should have been proven and stand in a state.
type missed struct {
	miner abi.ActorID
	state jobs.ProvingState
}

// miners that have sectors, in order.
func (t *tally) miners() []abi.ActorID {
	seen := map[abi.ActorID]bool{}
	for _, e := range t.open {
		seen[e.id.Miner] = true
	}
	for miner, n := range t.doneBy {
		if n > 0 {
			seen[miner] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// census counts the fleet.
type census struct {
	store   *sectors.Store
	miners  []abi.ActorID
	clock   jobs.Clock
	network func(context.Context) jobs.Network // what is known of it; payments are foretold by it
	counted paced[*tally]
}

// minCount is how long a count stands at least.
const minCount = time.Second

func newCensus(store *sectors.Store, miners []abi.ActorID, clock jobs.Clock, network func(context.Context) jobs.Network) *census {
	c := &census{store: store, miners: miners, clock: clock, network: network}
	c.counted = paced[*tally]{clock: clock, minAge: minCount, make: c.count}
	return c
}

// take gives a count that is fresh enough.
func (c *census) take(ctx context.Context) (*tally, error) {
	t, err := c.counted.take(ctx)
	if err != nil {
		return nil, fmt.Errorf("count sectors: %w", err)
	}
	return t, nil
}

// everyDone is more than any miner has.
const everyDone = 1 << 40

func (c *census) count(ctx context.Context) (*tally, error) {
	ids, err := c.store.Open(ctx)
	if err != nil {
		return nil, err
	}
	t := &tally{at: c.clock.Now(), stages: map[count]int{}, notProven: map[missed]int{}, commitBy: map[abi.ActorID]abi.ChainEpoch{}, unread: map[string][]string{}, doneBy: map[abi.ActorID]int{}}
	network := c.network(ctx)
	miners := map[abi.ActorID]bool{}
	for _, m := range c.miners {
		miners[m] = true
	}
	// A chunk at a time: ten thousand whole records need not be in memory together.
	for part := range slices.Chunk(ids, 1000) {
		records, err := c.store.LoadMany(ctx, part)
		var unreadable *sectors.UnreadableError
		if errors.As(err, &unreadable) {
			t.unreadable = append(t.unreadable, unreadable.IDs...)
		} else if err != nil {
			return nil, err
		}
		if t.pace == nil {
			t.pace = jobs.MeasurePace(records) // a thousand show it
		}
		for _, r := range records {
			if r == nil || r.Outcome != jobs.Open {
				continue // the index is a hint
			}
			miners[r.ID.Miner] = true
			t.add(r)
			t.owed = append(t.owed, jobs.Payments(r, t.pace, &network, t.at)...)
		}
	}
	slices.SortFunc(t.open, func(a, b entry) int { return compareIDs(a.id, b.id) })
	_, batches := c.store.OpenBatches(ctx, t.at)
	_, deals := c.store.OpenDeals(ctx)
	for kind, err := range map[string]error{"batch": batches, "deal": deals} {
		unread, err := sectors.Unread(err)
		if err != nil {
			return nil, err
		}
		t.unread[kind] = nil
		if unread != nil {
			t.unread[kind] = unread.Names
		}
	}
	for _, miner := range slices.Sorted(maps.Keys(miners)) {
		done, err := c.store.Done(ctx, miner, 0, everyDone)
		if err != nil {
			return nil, err
		}
		t.done = append(t.done, done...)
		t.doneBy[miner] = len(done)
	}
	return t, nil
}

func (t *tally) add(r *jobs.Record) {
	e := entry{id: r.ID, standing: standingOf(r), moved: lastMove(r)}
	for i, row := range jobs.Stages {
		state := r.Stage(row.Stage).State
		if state == jobs.Idle {
			continue
		}
		t.stages[count{r.ID.Miner, row.Stage, state}]++
		if state != jobs.Done {
			e.in |= 1 << i
		}
	}
	if r.NotProven != nil {
		t.notProven[missed{r.ID.Miner, r.NotProven.State}]++
	}
	if first, ok := t.commitBy[r.ID.Miner]; atStake(r) && (!ok || r.CommitDeadline < first) {
		t.commitBy[r.ID.Miner] = r.CommitDeadline
	}
	t.open = append(t.open, e)
}

// atStake says that a deposit lies with the miner which is lost unless the sector is proven in time. One that is known to be too late is a person's already.
func atStake(r *jobs.Record) bool {
	return r.PreCommitted() && r.Activation == 0 && !r.Abandoned && (r.Hold == nil || r.Hold.Class != jobs.Deadline)
}

func compareIDs(a, b jobs.SectorID) int {
	return cmp.Or(cmp.Compare(a.Miner, b.Miner), cmp.Compare(a.Number, b.Number))
}
