package worker

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

// TestStaleDelivery: what is no longer wanted is done with, and nothing runs.
func TestStaleDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	w.set(t, scene{Act: "gate"})
	for name, stale := range map[string]jobs.TaskRef{
		"older delivery": {ID: task.ID, Stage: task.Stage, Fence: task.Fence, Attempt: task.Attempt, Delivery: task.Delivery - 1},
		"older attempt":  {ID: task.ID, Stage: task.Stage, Fence: task.Fence, Attempt: task.Attempt - 1, Delivery: task.Delivery},
		"older fence":    {ID: task.ID, Stage: task.Stage, Fence: task.Fence - 1, Attempt: task.Attempt, Delivery: task.Delivery},
		"no such sector": {ID: jobs.SectorID{Miner: 1, Number: 1}, Stage: task.Stage, Fence: 1, Attempt: 1, Delivery: 1},
	} {
		require.NoError(t, worker.lanes[0].handle(w.ctx, stale), name)
	}
	require.Zero(t, w.load(task.ID).Stage(jobs.SDR).Claim)
	require.Empty(t, w.starts(t))
}

// deafStore loses the answers to some writes: done says whether they were done.
type deafStore struct {
	*sectors.Store
	lose atomic.Int32
	done bool
}

func (s *deafStore) Apply(ctx context.Context, id jobs.SectorID, e jobs.Event, by string, now time.Time) (*jobs.Record, error) {
	_, completion := e.(jobs.Completed)
	if _, failed := e.(jobs.Failed); !completion && !failed || s.lose.Add(-1) < 0 {
		return s.Store.Apply(ctx, id, e, by, now)
	}
	if s.done {
		if _, err := s.Store.Apply(ctx, id, e, by, now); err != nil {
			return nil, err
		}
	}
	return nil, sectors.ErrUnknown
}

// TestUnknownCompletionIsRepeated until the record answers; the answer to one that
// had been written is "accepted" for a result and "stale" for a fault.
func TestUnknownCompletionIsRepeated(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{false, true} {
		for _, fault := range []bool{false, true} {
			w := newWorld(t)
			store := &deafStore{Store: w.store, done: done}
			store.lose.Store(2)
			worker, task := w.idle(jobs.DropLayers)
			worker.Store = store
			want := jobs.Done
			if fault {
				w.set(t, scene{Fault: jobs.Failf(jobs.Transient, "once")})
				want = jobs.Faulted
			}
			require.NoError(t, worker.lanes[3].handle(w.ctx, task))
			sr := w.load(task.ID).Stage(jobs.DropLayers)
			require.Equal(t, want, sr.State, "done %v, fault %v", done, fault)
			require.Equal(t, 1, sr.Claim)
			require.LessOrEqual(t, sr.Faults, 1)
		}
	}
}

// TestUnknownCompletionAtTheEnd: without an answer the queue must deliver again.
func TestUnknownCompletionAtTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &deafStore{Store: w.store}
	store.lose.Store(1 << 20)
	worker, task := w.idle(jobs.DropLayers)
	worker.Store = store
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() { ended <- worker.lanes[3].handle(ctx, task) }()
	await(t, "some tries", func() bool { return store.lose.Load() < 1<<20-3 })
	cancel()
	err := <-ended
	require.ErrorIs(t, err, sectors.ErrUnknown)
	require.False(t, answered(err))
}

// TestTicketIsRedrawn at claim when it grew old, and only then.
func TestTicketIsRedrawn(t *testing.T) {
	t.Parallel()
	fresh := jobs.DefaultPolicy().TicketFresh
	for name, c := range map[string]struct {
		pass   abi.ChainEpoch // since it was drawn
		before func(*world, *jobs.Record)
		redraw bool
	}{
		"fresh":           {pass: fresh},
		"old":             {pass: fresh + 1, redraw: true},
		"old, a layer is": {pass: fresh + 1, before: layered},
		"old, on chain":   {pass: fresh + 1, before: preCommitted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			worker, task := w.idle(jobs.SDR)
			r := w.load(task.ID)
			if c.before != nil {
				c.before(w, r)
			}
			w.chain.Advance(c.pass)
			require.NoError(t, worker.lanes[0].handle(w.ctx, task))
			after := w.load(task.ID)
			require.Equal(t, jobs.Done, after.Stage(jobs.SDR).State)
			if !c.redraw {
				require.Equal(t, r.Ticket, after.Ticket)
				return
			}
			head, err := w.chain.Head(w.ctx)
			require.NoError(t, err)
			require.Equal(t, head.Epoch, after.Ticket.At)
			require.Equal(t, head.Epoch-900, after.Ticket.Epoch)
			require.NotEqual(t, r.Ticket.Value, after.Ticket.Value)
			require.Zero(t, after.Retickets, "a redraw is not counted")
			started, err := worker.Files.Started(w.ctx, after)
			require.NoError(t, err)
			require.True(t, started, "the layers are of the new ticket")
		})
	}
}

func layered(w *world, r *jobs.Record) {
	_, err := jobs.RowOf(jobs.SDR).Do(w.ctx, w.env(w.chain), r)
	require.NoError(w.t, err)
}

func preCommitted(w *world, r *jobs.Record) {
	_, err := w.store.Apply(w.ctx, r.ID, jobs.PreCommitLanded{PreCommit: jobs.OnChainPreCommit{Epoch: 1, CommR: r.CommR, Expires: 1 << 40}}, "test", time.Now())
	require.NoError(w.t, err)
}

// TestAChangedSeedIsNoticedBeforeC2: no child is started for a proof that the chain would
// refuse. A node that does not answer keeps no GPU idle.
func TestAChangedSeedIsNoticedBeforeC2(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		changed, away bool
		class         jobs.FaultClass
		text          string
	}{
		"as drawn":          {class: jobs.Funds, text: "it ran"},
		"changed":           {changed: true, class: jobs.Input, text: "a reorganisation changed it"},
		"the node is away":  {away: true, class: jobs.Funds, text: "it ran"},
		"changed, and away": {changed: true, away: true, class: jobs.Funds, text: "it ran"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			worker, err := New(w.options("w0"))
			require.NoError(t, err)
			worker.life = w.ctx
			task := w.schedule(w.sector(func(r *jobs.Record) {
				if c.changed {
					r.Seed.Value = make([]byte, 32)
				}
			}).ID, jobs.C2, false)
			w.set(t, scene{Fault: jobs.Failf(jobs.Funds, "it ran")})
			if c.away {
				w.chain.Fail("Seed", jobs.Failf(jobs.Transient, "node is down"))
			}
			require.NoError(t, worker.lanes[2].handle(w.ctx, task))
			fault := w.load(task.ID).Stage(jobs.C2).Fault
			require.Equal(t, c.class, fault.Class)
			require.Contains(t, fault.Text, c.text)
			require.Equal(t, c.class == jobs.Input, fault.From == jobs.C1, "what is made again")
		})
	}
}

// TestTicketOfARunningChildStays: no layer is finished, but one is being made.
func TestTicketOfARunningChildStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	w.set(t, scene{Act: "gate"})
	w.startAndLeave(worker, task)
	before := w.load(task.ID).Ticket
	w.chain.Advance(10_000)
	w.place.open(t)
	require.NoError(t, worker.lanes[0].handle(w.ctx, task))
	require.Equal(t, before, w.load(task.ID).Ticket)
	require.Len(t, w.starts(t), 1)
}

// TestChainIsDownAtClaim: a ticket that cannot be checked is a fault, not a crash.
func TestChainIsDownAtClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.SDR)
	w.chain.Fail("Head", jobs.Failf(jobs.Transient, "node is down"))
	require.NoError(t, worker.lanes[0].handle(w.ctx, task))
	sr := w.load(task.ID).Stage(jobs.SDR)
	require.Equal(t, jobs.Transient, sr.Fault.Class)
	require.Contains(t, sr.Fault.Text, "node is down")
}

// TestFenceIsReadUnderTheLock: work that was called off while it waited for the
// sector's locks touches nothing (design rule 8).
func TestFenceIsReadUnderTheLock(t *testing.T) {
	t.Parallel()
	for lane, c := range map[int]struct {
		stage   jobs.Stage
		aborted jobs.StageState
	}{0: {jobs.SDR, jobs.Idle}, 3: {jobs.RecoverWipe, jobs.Wanted}} {
		s := c.stage
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			worker, task := w.idle(s)
			w.set(t, scene{Act: "gate"})
			other, err := worker.Files.Lock(w.load(task.ID), s, true)
			require.NoError(t, err)
			ended := make(chan error, 1)
			go func() { ended <- worker.lanes[lane].handle(w.ctx, task) }()
			await(t, "the claim", func() bool { return w.load(task.ID).Stage(s).Claim == 1 })
			_, err = w.store.Apply(w.ctx, task.ID, jobs.Aborted{Why: "test"}, "test", time.Now())
			require.NoError(t, err)
			other.Unlock()
			require.NoError(t, <-ended)
			require.Empty(t, w.starts(t))
			require.Equal(t, c.aborted, w.load(task.ID).Stage(s).State)
		})
	}
}

// TestWipeWaitsForTheSector: a wipe excludes every stage of the sector.
func TestWipeWaitsForTheSector(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.RecoverWipe)
	other, err := worker.Files.Lock(w.load(task.ID), jobs.TreeD, false)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- worker.lanes[3].handle(w.ctx, task) }()
	await(t, "the claim", func() bool { return w.load(task.ID).Stage(jobs.RecoverWipe).Claim == 1 })
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	other.Unlock()
	require.NoError(t, <-ended)
	require.Equal(t, jobs.Done, w.load(task.ID).Stage(jobs.RecoverWipe).State)
}

// TestLocksRunOutOfPatience: Busy, without a word against the machine.
func TestLocksRunOutOfPatience(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, task := w.idle(jobs.RecoverWipe)
	d := &delivery{w: worker, lane: worker.lanes[3], task: task, row: jobs.RowOf(task.Stage), record: w.load(task.ID), log: worker.Log}
	other, err := worker.Files.Lock(d.record, jobs.TreeD, false)
	require.NoError(t, err)
	defer other.Unlock()
	lock, o, err := d.lock(w.ctx, time.Now())
	require.NoError(t, err)
	require.Nil(t, lock)
	require.Equal(t, jobs.Busy, o.fault.Class)
	require.False(t, o.accuses())
}

func TestShutdownLeavesDeliveriesToTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(t, scene{Act: "gate"})
	first := w.run(w.options("w0"))
	task := w.schedule(w.sector().ID, jobs.SDR, false)
	pid := w.awaitStart(1)
	stopped := time.Now()
	first.stop()
	require.Less(t, time.Since(stopped), 10*time.Second, "it does not wait out the queue's grace")
	require.True(t, alive(pid))
	workers, err := w.store.Workers(w.ctx)
	require.NoError(t, err)
	require.Empty(t, workers, "it has left")
	state := w.taskState(task)
	require.Contains(t, []jobs.TaskState{jobs.TaskRetry, jobs.TaskPending}, state)

	w.run(w.options("w0")) // its own server finds the task again
	w.place.open(t)
	sr := w.awaitState(task, jobs.Done)
	require.Equal(t, 1, sr.Attempt)
	require.Len(t, w.starts(t), 1)
}

func TestOptionsAreCheckedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := New(Options{Host: "H1", Lanes: []jobs.Lane{{Class: jobs.ClassGPU, Width: 0}}})
	require.Error(t, err)
	for _, part := range []string{`host id "H1"`, "worker instance", "run is empty", "state folder", "width 0", "class label", "must all be given"} {
		require.ErrorContains(t, err, part)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	// The events of a worker bear its own clock's time.
	w := newWorld(t)
	clock := jobstest.NewClock()
	clock.Advance(time.Hour)
	o := w.options("w0")
	o.Clock = clock
	worker, err := New(o)
	require.NoError(t, err)
	worker.life = w.ctx
	task := w.schedule(w.sector().ID, jobs.DropLayers, false)
	require.NoError(t, worker.lanes[3].handle(w.ctx, task))
	require.True(t, w.load(task.ID).Stage(jobs.DropLayers).Since.Equal(clock.Now()))
}

// TestWanted: what a record says to a claim of it, after all that may happen.
func TestWanted(t *testing.T) {
	t.Parallel()
	task := jobs.TaskRef{Stage: jobs.SDR, Fence: 2, Attempt: 3, Delivery: 1}
	d := &delivery{task: task, claim: 4}
	mine := jobs.StageRecord{State: jobs.Running, Fence: 2, Attempt: 3, Delivery: 1, Claim: 4}
	change := func(c func(*jobs.StageRecord)) jobs.StageRecord { sr := mine; c(&sr); return sr }
	for name, c := range map[string]struct {
		sr   jobs.StageRecord
		want error
	}{
		"still mine":             {mine, nil},
		"delivered again":        {change(func(sr *jobs.StageRecord) { sr.Delivery, sr.State = 2, jobs.Queued }), nil},
		"newer fence":            {change(func(sr *jobs.StageRecord) { sr.Fence = 3 }), errCalledOff},
		"newer attempt":          {change(func(sr *jobs.StageRecord) { sr.Attempt = 4 }), errCalledOff},
		"aborted":                {jobs.StageRecord{Fence: 3, Claim: 4}, errCalledOff},
		"claimed again":          {change(func(sr *jobs.StageRecord) { sr.Claim = 5 }), errSuperseded},
		"completed by a repeat":  {change(func(sr *jobs.StageRecord) { sr.State = jobs.Done }), errSuperseded},
		"faulted by an operator": {change(func(sr *jobs.StageRecord) { sr.State = jobs.Faulted }), errSuperseded},
	} {
		err := d.wanted(&jobs.Record{Stages: map[jobs.Stage]jobs.StageRecord{jobs.SDR: c.sr}})
		require.ErrorIs(t, err, c.want, name)
		require.Equal(t, c.want == nil, err == nil, name)
	}
}
