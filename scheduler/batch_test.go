package scheduler_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
	"github.com/lpseal/lpseal/jobs/queue"
	"github.com/lpseal/lpseal/scheduler"
)

// patient is a pipeline whose batches wait for ten minutes, and n sectors that are
// ready for their pre-commit.
func patient(t *testing.T, n, atMost int) (*pipeline, []jobs.SectorID) {
	t.Helper()
	p := start(t, redistest.StartMini(t).Client)
	p.policy.PreCommits = jobs.BatchPolicy{Max: 100, Bytes: 60 << 10, Wait: 10 * time.Minute}
	p.Scheduler = p.scheduler("s1")
	var ids []jobs.SectorID
	for range n {
		ids = append(ids, p.add())
	}
	for _, id := range ids {
		p.drive(id, func(r *jobs.Record) bool {
			return r.Stage(jobs.TreeRC).State == jobs.Done && r.Stage(jobs.Store).State == jobs.Done
		})
		p.look(id)
	}
	p.policy.PreCommits.Max = atMost
	p.Scheduler = p.scheduler("s1")
	return p, ids
}

// batches are the names of the batches that the sectors are in, by sector.
func (p *pipeline) batches(ids []jobs.SectorID) (names []string) {
	for _, id := range ids {
		names = append(names, p.record(id).Stage(jobs.PreCommit).Batch)
	}
	return names
}

func (p *pipeline) poll() {
	p.t.Helper()
	_, err := p.Poll(p.ctx)
	require.NoError(p.t, err)
}

var preCommits = jobs.Group{Stage: jobs.PreCommit, Miner: miner, Proof: 5}

func TestABatchWaitsForCompanyAndGoesInTime(t *testing.T) {
	t.Parallel()
	p, ids := patient(t, 3, 100)
	p.poll()
	require.Equal(t, []string{"", "", ""}, p.batches(ids))
	_, why := p.explain(ids[0])
	require.Contains(t, why.Text, "precommit waits for its batch: 3 of at most 100 sectors")
	require.Contains(t, why.Text, "(timeout)")
	p.clock.Advance(why.Look.Sub(p.clock.Now()) + time.Second)
	p.poll()
	names := p.batches(ids)
	require.NotEmpty(t, names[0])
	require.Equal(t, []string{names[0], names[0], names[0]}, names, "one message for all")
	b, err := p.store.Batch(p.ctx, names[0])
	require.NoError(t, err)
	require.Equal(t, jobs.BatchTimeout, b.Cause)
	require.Len(t, b.Members, 3)
	require.Equal(t, jobs.TaskPending, p.taskState(ids[0], jobs.PreCommit))
	waiting, err := p.store.Waiting(p.ctx, preCommits)
	require.NoError(t, err)
	require.Empty(t, waiting)
}

func TestAFullBatchGoesAtOnce(t *testing.T) {
	t.Parallel()
	p, ids := patient(t, 5, 2)
	p.poll()
	names := p.batches(ids)
	byName := map[string]int{}
	for _, name := range names {
		byName[name]++
	}
	require.Equal(t, 1, byName[""], "the fifth waits")
	require.Len(t, byName, 3)
}

func TestAnOperatorFlushesABatch(t *testing.T) {
	t.Parallel()
	p, ids := patient(t, 2, 100)
	names, err := p.Flush(p.ctx, preCommits)
	require.NoError(t, err)
	require.Len(t, names, 1)
	require.Equal(t, []string{names[0], names[0]}, p.batches(ids))
	names, err = p.Flush(p.ctx, preCommits)
	require.NoError(t, err)
	require.Empty(t, names, "nobody waits any more")
}

// TestWhoIsNotReadyAnyMoreIsLeftOut: the index says who waits, the record whether it
// is true.
func TestWhoIsNotReadyAnyMoreIsLeftOut(t *testing.T) {
	t.Parallel()
	p, ids := patient(t, 3, 100)
	require.NoError(t, p.Order(p.ctx, ids[1], jobs.Held{Hold: jobs.Hold{Reason: "by order"}}, "ann"))
	names, err := p.Flush(p.ctx, preCommits)
	require.NoError(t, err)
	require.Equal(t, []string{names[0], "", names[0]}, p.batches(ids))
	require.NoError(t, p.Order(p.ctx, ids[1], jobs.Released{}, "ann"))
	p.look(ids[1])
	names, err = p.Flush(p.ctx, preCommits)
	require.NoError(t, err)
	require.Len(t, names, 1)
}

// TestTwoSchedulersNeverShareASector: batches that two form at once do not overlap,
// and nobody is left over.
func TestTwoSchedulersNeverShareASector(t *testing.T) {
	t.Parallel()
	p, ids := patient(t, 12, 4)
	var flushing sync.WaitGroup
	for _, s := range []*scheduler.Scheduler{p.Scheduler, p.scheduler("s2"), p.scheduler("s3")} {
		flushing.Go(func() {
			_, err := s.Flush(p.ctx, preCommits)
			assert.NoError(t, err)
		})
	}
	flushing.Wait()
	open, err := p.store.OpenBatches(p.ctx, p.clock.Now())
	require.NoError(t, err)
	in := map[jobs.TaskRef]string{}
	for _, b := range open {
		require.Equal(t, jobs.BatchClosed, b.State)
		for _, m := range b.Members {
			require.Empty(t, in[m], "%s is in two batches", m)
			in[m] = b.ID
		}
	}
	for _, id := range ids {
		r := p.record(id)
		require.Equal(t, r.Stage(jobs.PreCommit).Batch, in[r.Task(jobs.PreCommit)])
	}
}

// TestAWriteMeanwhileKeepsNobodyOut of a batch that is being formed, unless it changed what the sector waits for.
func TestAWriteMeanwhileKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	held := jobs.Held{Hold: jobs.Hold{Reason: "by order"}}
	for name, c := range map[string]struct {
		events []jobs.Event
		in     bool
	}{
		"it waits still":        {[]jobs.Event{held, jobs.Released{}}, true},
		"it waits for a person": {[]jobs.Event{held}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, ids := patient(t, 3, 3)
			other := sectors.New(p.another())
			p.rdb.AddHook(&meanwhile{before: "lpseal:{b-", do: func() {
				for _, e := range c.events {
					_, err := other.Apply(p.ctx, ids[2], e, "another", p.clock.Now())
					assert.NoError(t, err)
				}
			}})
			p.poll()
			names := p.batches(ids)
			require.NotEmpty(t, names[0])
			require.Equal(t, names[0], names[1])
			b, err := p.store.Batch(p.ctx, names[0])
			require.NoError(t, err)
			require.Equal(t, jobs.BatchClosed, b.State)
			if c.in {
				require.Equal(t, names[0], names[2])
				require.Len(t, b.Members, 3)
				return
			}
			require.Empty(t, names[2])
			require.Len(t, b.Members, 2)
		})
	}
}

// TestALostBatchSetsItsMembersFree, whether Redis lost it, it was never closed, or it
// ended without an answer for a member.
func TestALostBatchSetsItsMembersFree(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*pipeline, *jobs.Batch){
		"redis lost it": func(p *pipeline, b *jobs.Batch) {
			require.NoError(p.t, p.rdb.Del(p.ctx, "lpseal:{"+b.ID+"}").Err())
		},
		"it was never closed": func(p *pipeline, b *jobs.Batch) {
			require.NoError(p.t, p.rdb.HSet(p.ctx, "lpseal:{"+b.ID+"}", "state", string(jobs.BatchPlanned)).Err())
		},
		"it ended without an answer": func(p *pipeline, b *jobs.Batch) {
			b = p.applyBatch(b, jobs.BatchClaimed{Task: b.Task(), Worker: p.worker.Owner()})
			p.applyBatch(b, jobs.BatchEnded{Claim: b.Claim})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, ids := patient(t, 2, 100)
			names, err := p.Flush(p.ctx, preCommits)
			require.NoError(t, err)
			b, err := p.store.Batch(p.ctx, names[0])
			require.NoError(t, err)
			lose(p, b)
			p.clock.Advance(jobs.PlanPatience)
			p.poll()
			p.clock.Advance(p.policy.Look)
			p.poll()
			again := p.batches(ids)
			require.NotEqual(t, names[0], again[0])
			require.Equal(t, []string{again[0], again[0]}, again, "who was in a batch before waits for no other")
			for _, id := range ids {
				sr := p.record(id).Stage(jobs.PreCommit)
				require.Equal(t, [3]int{1, 1, 2}, [3]int{sr.Fence, sr.Attempt, sr.Delivery}, "the meaning is the same: it cannot be sent twice")
			}
		})
	}
}

// TestABatchWhoseWorkerDiedIsDeliveredAgain, with the same members and name.
func TestABatchWhoseWorkerDiedIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	p, ids := patient(t, 2, 100)
	names, err := p.Flush(p.ctx, preCommits)
	require.NoError(t, err)
	p.claim(ids[0], jobs.PreCommit)
	p.claim(ids[1], jobs.PreCommit)
	p.take(ids[0], jobs.PreCommit) // the task is gone with its server
	p.clock.Advance(p.policy.Look)
	p.poll()
	require.Equal(t, []string{names[0], names[0]}, p.batches(ids))
	require.Equal(t, 2, p.deliveries(ids[0], jobs.PreCommit))
	require.Equal(t, jobs.TaskPending, p.taskState(ids[0], jobs.PreCommit))
	require.Equal(t, jobs.Running, p.record(ids[0]).Stage(jobs.PreCommit).State, "the new delivery claims it anew")
	p.finish(ids[0], jobs.PreCommit)
	p.finish(ids[1], jobs.PreCommit)
	require.Equal(t, 2, p.chain.Sent(jobs.PreCommit))
}

// slowPoll makes reading who waits take longer than a batch may be planned, and has
// another scheduler poll as soon as a batch is.
type slowPoll struct {
	clock   func()
	planned func()
}

func (h *slowPoll) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *slowPoll) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *slowPoll) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		switch text := cmd.String(); {
		case cmd.Name() == "zrange" && strings.Contains(text, "lpseal:waiting:"):
			h.clock()
		case cmd.Name() == "evalsha" && strings.Contains(text, "lpseal:{b-") && err == nil:
			h.planned()
		}
		return err
	}
}

// TestABatchOfASlowPollIsNotDissolvedAtBirth by another scheduler, which would do so at
// every poll and never let one go.
func TestABatchOfASlowPollIsNotDissolvedAtBirth(t *testing.T) {
	t.Parallel()
	p, ids := patient(t, 2, 100)
	rdb := p.another()
	other, err := scheduler.New(scheduler.Options{
		Store: sectors.New(rdb), Queues: queue.New(rdb), Chain: p.chain, Policy: p.policy, Clock: p.clock, Name: "s2", Log: quiet, Period: time.Second,
	})
	require.NoError(t, err)
	var once sync.Once
	p.rdb.AddHook(&slowPoll{
		clock: func() { p.clock.Advance(jobs.PlanPatience + time.Second) },
		planned: func() {
			once.Do(func() {
				_, err := other.Poll(p.ctx)
				assert.NoError(t, err)
			})
		},
	})
	names, err := p.Flush(p.ctx, preCommits)
	require.NoError(t, err)
	require.Len(t, names, 1)
	require.Equal(t, []string{names[0], names[0]}, p.batches(ids))
	b, err := p.store.Batch(p.ctx, names[0])
	require.NoError(t, err)
	require.Equal(t, jobs.BatchClosed, b.State)
}

// TestABatchThatCannotBeReadStopsNothingElse, such as one that a newer lpseal wrote: its members
// stay in it, whoever looks and by whichever way, until it can be read again.
func TestABatchThatCannotBeReadStopsNothingElse(t *testing.T) {
	t.Parallel()
	p, ids := patient(t, 2, 100)
	var told bytes.Buffer
	s, err := scheduler.New(scheduler.Options{
		Store: p.store, Queues: p.queues, Chain: p.chain, Policy: p.policy, Clock: p.clock, Name: "s2", Period: time.Second,
		Log: slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	require.NoError(t, err)
	names, err := p.Flush(p.ctx, preCommits)
	require.NoError(t, err)
	key := "lpseal:{" + names[0] + "}"
	require.NoError(t, p.rdb.HSet(p.ctx, key, "of-a-newer-version", "1").Err())
	other := p.add()
	for range 3 {
		_, err = s.Poll(p.ctx)
		require.NoError(t, err)
		require.NoError(t, s.Advance(p.ctx, ids[0]))
		require.Equal(t, []string{names[0], names[0]}, p.batches(ids), "nobody else may claim them")
		require.Equal(t, 1, p.record(ids[0]).Stage(jobs.PreCommit).Delivery)
		p.clock.Advance(p.policy.Look)
	}
	require.NotEmpty(t, queued(p.look(other)))
	require.Equal(t, 1, strings.Count(told.String(), names[0]+" "), "it is named once: %s", told.String())

	require.NoError(t, p.rdb.HDel(p.ctx, key, "of-a-newer-version").Err())
	p.poll()
	for _, id := range ids {
		p.finish(id, jobs.PreCommit)
	}
	require.Equal(t, 2, p.chain.Sent(jobs.PreCommit))
}

// TestAMessageOfWhichNothingIsKnownStopsNoOther: its sector waits, whatever would be done with it otherwise.
func TestAMessageOfWhichNothingIsKnownStopsNoOther(t *testing.T) {
	t.Parallel()
	p, ids := patient(t, 2, 100)
	_, err := p.Flush(p.ctx, preCommits)
	require.NoError(t, err)
	for _, id := range ids {
		p.finish(id, jobs.PreCommit)
	}
	p.chain.Doom(p.record(ids[0]).Meaning(jobs.PreCommit), jobstest.Fate{Unknown: errors.New("the entry is damaged")})
	p.chain.Advance(20)
	p.clock.Advance(p.policy.Look)
	report, err := p.Poll(p.ctx)
	require.NoError(t, err)
	require.Equal(t, 1, report.Errors)
	require.False(t, p.record(ids[0]).PreCommitted())
	require.True(t, p.record(ids[1]).PreCommitted())
}

// TestAPollReadsOpenBatchesOnce, however many of their members are due.
func TestAPollReadsOpenBatchesOnce(t *testing.T) {
	t.Parallel()
	p, _ := patient(t, 4, 2)
	p.poll() // two batches of two
	p.clock.Advance(p.policy.Look)
	var reads atomic.Int64
	p.rdb.AddHook(&batchReads{&reads})
	report, err := p.Poll(p.ctx)
	require.NoError(t, err)
	require.Equal(t, 4, report.Due)
	require.EqualValues(t, 2, reads.Load())
}

// batchReads counts the batches that are read.
type batchReads struct{ n *atomic.Int64 }

func (h *batchReads) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (h *batchReads) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h *batchReads) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if cmd.Name() == "hgetall" && strings.HasPrefix(fmt.Sprint(cmd.Args()[1]), "lpseal:{b-") {
				h.n.Add(1)
			}
		}
		return next(ctx, cmds)
	}
}
