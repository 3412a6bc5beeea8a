package scheduler_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

func TestAHeldSectorStartsNothingAndKeepsWhatFinishes(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	p.look(id)
	p.claim(id, jobs.SDR)
	require.NoError(t, p.Order(p.ctx, id, jobs.Held{Hold: jobs.Hold{Reason: "moving house"}}, "ann"))
	held, err := p.store.Held(p.ctx)
	require.NoError(t, err)
	require.Equal(t, []jobs.SectorID{id}, held)

	r := p.record(id)
	p.take(id, jobs.SDR)
	p.apply(id, jobs.Completed{Task: r.Task(jobs.SDR), Claim: 1, Result: p.result(r, jobs.SDR)})
	p.take(id, jobs.TreeD) // lost, but a held sector's task is not delivered again
	p.clock.Advance(time.Hour)
	r = p.look(id)
	require.Equal(t, jobs.Done, r.Stage(jobs.SDR).State)
	require.Equal(t, 1, r.Stage(jobs.TreeD).Delivery)
	_, why := p.explain(id)
	require.Equal(t, "held: moving house", why.Text)

	require.NoError(t, p.Order(p.ctx, id, jobs.Released{}, "ann"))
	require.Equal(t, jobs.Committed, p.driveHome(id).Outcome)
	log, err := p.store.Log(p.ctx, id, 0)
	require.NoError(t, err)
	by := map[string]bool{}
	for _, line := range log {
		by[line.By] = true
	}
	require.True(t, by["ann"] && by["scheduler/s1"], "the log says who: %v", by)
}

func TestAnAbortVoidsWhatRuns(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	p.look(id)
	r := p.claim(id, jobs.SDR)
	require.NoError(t, p.Order(p.ctx, id, jobs.Aborted{Why: "wrong disk"}, "ann"))
	_, err := p.store.Apply(p.ctx, id, jobs.Completed{Task: r.Task(jobs.SDR), Claim: 1}, "test worker", p.clock.Now())
	require.ErrorIs(t, err, jobs.ErrStale)
	require.Empty(t, queued(p.look(id)))
	require.Equal(t, jobs.Committed, p.driveHome(id).Outcome, "released, it goes on")
	require.Equal(t, 2, p.record(id).Stage(jobs.SDR).Fence)
}

func TestRetryFromAStage(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	p.driveTo(id, jobs.PreCommit)
	require.NoError(t, p.Order(p.ctx, id, jobs.RolledBack{To: jobs.SDR, ByOrder: true, Why: "new disk"}, "ann"))
	r := p.look(id)
	require.Zero(t, r.Rollbacks, "an order is not counted")
	require.Contains(t, queued(r), jobs.RecoverWipe)
	require.Equal(t, jobs.Committed, p.driveHome(id).Outcome)

	require.ErrorIs(t, p.Order(p.ctx, id, jobs.RolledBack{To: jobs.SDR, ByOrder: true}, "ann"), jobs.ErrRefused, "it is committed")
}

func TestNoRetryWhileAMessageMayLand(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	r := p.driveTo(id, jobs.PreCommit)
	p.chain.Doom(r.Meaning(jobs.PreCommit), jobstest.Fate{Dropped: true})
	retry := jobs.RolledBack{To: jobs.TreeRC, ByOrder: true, Why: "new disk"}
	p.claim(id, jobs.PreCommit)
	err := p.Order(p.ctx, id, retry, "ann")
	require.ErrorIs(t, err, jobs.ErrRefused, "it may be pushed this moment")
	require.ErrorContains(t, err, "a precommit message is under way")
	p.finish(id, jobs.PreCommit)
	require.ErrorIs(t, p.Order(p.ctx, id, retry, "ann"), jobs.ErrRefused, "it is in the mempool")
	p.chain.Fail("Messages", jobs.Failf(jobs.Transient, "connection refused"))
	require.ErrorContains(t, p.Order(p.ctx, id, retry, "ann"), "connection refused", "nobody knows")
	p.chain.Fail("Messages", nil)

	p.chain.Advance(1 + p.chain.Confidence)
	require.NoError(t, p.Order(p.ctx, id, retry, "ann"), "it was dropped")
	require.Equal(t, jobs.Committed, p.driveHome(id).Outcome)
	require.Equal(t, 2, p.chain.Sent(jobs.PreCommit))
}

func TestTheNextLook(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	due := func() time.Duration {
		score, err := p.rdb.ZScore(p.ctx, "lpseal:due", id.String()).Result()
		require.NoError(t, err)
		return time.UnixMilli(int64(score)).Sub(p.clock.Now()).Round(100 * time.Millisecond)
	}
	p.worker.Paths[0].CanSeal = false
	require.NoError(t, p.store.Beat(p.ctx, p.worker, time.Hour))
	for _, quiet := range []struct{ since, look time.Duration }{
		{0, p.policy.Look}, {2 * time.Minute, 15 * time.Second}, {time.Hour, 10 * p.policy.Look},
	} {
		p.clock.Advance(quiet.since)
		require.Empty(t, p.look(id).Home)
		require.Equal(t, quiet.look, due(), "the more seldom the longer it waits for a path")
	}
	p.worker.Paths[0].CanSeal = true
	require.NoError(t, p.store.Beat(p.ctx, p.worker, time.Hour))
	p.look(id)
	require.Equal(t, p.policy.Look, due(), "a task may be lost at any time")

	p.driveTo(id, jobs.Store)
	p.finish(id, jobs.PreCommit)
	p.chain.Advance(1 + p.chain.Confidence)
	p.look(id)
	require.Equal(t, p.policy.Look, due(), "store is queued")
	p.finish(id, jobs.Store)
	p.look(id)
	require.Equal(t, 12*time.Second, due(), "10 epochs to the seed and 6 of confidence, of which 5 have passed")
}

func TestDealsAreDroppedByOrder(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	require.NoError(t, p.Order(p.ctx, id, jobs.DealsDropped{Why: "too late for them"}, "ann"))
	log, err := p.store.Log(p.ctx, id, 1)
	require.NoError(t, err)
	require.Equal(t, "deals dropped: too late for them", log[0].Text)
}

func TestOrdersThatAreNoOrdersAreRefused(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	before := p.record(id)
	for _, e := range []jobs.Event{
		jobs.Placed{Path: "x"},
		jobs.Finished{Outcome: jobs.Committed},
		jobs.RolledBack{To: jobs.SDR},
		jobs.Released{}, // it is not held
	} {
		require.ErrorIs(t, p.Order(p.ctx, id, e, "ann"), jobs.ErrRefused, "%s", e)
	}
	require.Equal(t, before, p.record(id))
	require.Error(t, p.Order(p.ctx, jobs.SectorID{Miner: miner, Number: 77}, jobs.Released{}, "ann"))
}

func TestRemovingGivesTheSpaceBackAndKeepsTheNumber(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	p.driveTo(id, jobs.TreeRC)
	require.NoError(t, p.Order(p.ctx, id, jobs.AbandonOrdered{Why: "no longer wanted"}, "ann"))
	require.Equal(t, []jobs.Stage{jobs.RecoverAbandon}, queued(p.look(id)))
	p.finish(id, jobs.RecoverAbandon)
	require.Equal(t, jobs.Removed, p.look(id).Outcome)
	space, err := p.store.Reservations(p.ctx, "path-h1")
	require.NoError(t, err)
	require.Empty(t, space)
	require.NotEqual(t, id, p.add(), "the number is kept")
}

func TestASectorThatWasNeverPlacedIsRemovedAtOnce(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	require.NoError(t, p.Order(p.ctx, id, jobs.AbandonOrdered{Why: "no longer wanted"}, "ann"))
	require.Equal(t, jobs.Removed, p.record(id).Outcome)
}

func TestExplainWritesNothing(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	before := p.record(id)
	a, why := p.explain(id)
	require.IsType(t, jobs.Placed{}, a.Event)
	require.Contains(t, why.Text, "path-h1")
	require.Equal(t, before, p.record(id))
	space, err := p.store.Reservations(p.ctx, "path-h1")
	require.NoError(t, err)
	require.Empty(t, space)
	_, _, _, err = p.Explain(p.ctx, jobs.SectorID{Miner: miner, Number: 77})
	require.ErrorContains(t, err, "explain s-t01000-77")
}

func TestNativeC2OnAForeignNetworkIsHeldBeforeAnyDeposit(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	foreign := jobs.Network{Name: "mainnet", Version: 28, BlockDelay: 30 * time.Second, ChallengeDelay: 150}
	late := p.add()
	p.driveTo(late, jobs.TreeRC)
	p.chain.SetNetwork(foreign)

	id := p.add()
	r := p.look(id)
	require.NotNil(t, r.Hold)
	require.Contains(t, r.Hold.Reason, `network "mainnet" would refuse its proofs`)
	require.Contains(t, r.Hold.Reason, "give a gpu lane the prover filcrypto")
	require.Empty(t, r.Home)

	p.finish(late, jobs.TreeRC)
	require.NotContains(t, queued(p.look(late)), jobs.PreCommit, "no deposit is paid")
	_, why := p.explain(late)
	require.Contains(t, why.Text, "makes no SNARK")

	p.worker.Lanes[2].Prover = "filcrypto"
	require.NoError(t, p.store.Beat(p.ctx, p.worker, time.Hour))
	require.Contains(t, queued(p.look(late)), jobs.PreCommit)
	require.NoError(t, p.Order(p.ctx, id, jobs.Released{}, "ann"))
	require.NotEmpty(t, p.look(id).Home)
}

func TestProvenIsAskedForAfterFinalizeOnARealNetwork(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	p.chain.SetNetwork(jobs.Network{Name: "calibrationnet", Version: 28, BlockDelay: 30 * time.Second, ChallengeDelay: 10})
	p.worker.Lanes[2].Prover = "filcrypto"
	require.NoError(t, p.store.Beat(p.ctx, p.worker, time.Hour))
	id := p.add()
	p.drive(id, func(r *jobs.Record) bool { return r.Stage(jobs.Finalize).State == jobs.Done })
	require.Equal(t, uint64(1), p.chain.Calls()["Proving"], "not before finalize")
	space, err := p.store.Reservations(p.ctx, "path-h1")
	require.NoError(t, err)
	require.Empty(t, space, "space is given back before it is proven")
	committed := p.record(id).Activation
	_, why := p.explain(id)
	require.Contains(t, why.Text, fmt.Sprintf("its first WindowPoSt (deadline 5, partition 0) is due before epoch %d", committed+2880))
	require.Equal(t, p.clock.Now().Add(time.Hour), why.Look, "a day away, and looked at each hour")

	missed := jobs.Proving{State: jobs.ProvingUnproven, Deadline: 5, Partition: 1, Closes: committed + 60}
	for _, state := range []jobs.ProvingState{jobs.ProvingUnproven, jobs.ProvingFaulty} {
		missed.State = state
		p.chain.SetProving(id, missed)
		_, why = p.explain(id)
		require.Contains(t, why.Text, fmt.Sprintf("ALARM: %s after its first deadline (deadline 5, partition 1) closed at epoch %d", state, committed+60))
		r := p.look(id)
		require.Equal(t, state, r.NotProven.State)
		require.Equal(t, jobs.Open, r.Outcome, "watched on")
		version := r.Version
		p.clock.Advance(time.Hour)
		require.Equal(t, version, p.look(id).Version, "an alarm is written once")
	}
	p.chain.SetProving(id, jobs.Proving{State: jobs.ProvingTerminated})
	require.Contains(t, p.look(id).NotProven.Text, "terminated before it was proven")

	p.chain.SetProving(id, jobs.Proving{State: jobs.ProvingDone, Deadline: 5})
	r := p.look(id)
	require.Equal(t, jobs.Proven, r.Outcome)
	require.Nil(t, r.NotProven)
}

func TestSpaceIsReservedBeforePlacingAndWaitedFor(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	p.worker.Paths[0].Capacity = jobs.SealingSpace(abi.RegisteredSealProof_StackedDrg2KiBV1_1) * 3 / 2 // room for one
	require.NoError(t, p.store.Beat(p.ctx, p.worker, time.Hour))
	waiting := map[jobs.SectorID]bool{}
	for range 6 {
		waiting[p.add()] = true
	}
	for len(waiting) > 0 {
		for id := range waiting {
			require.NoError(t, p.store.SetDue(p.ctx, id, p.clock.Now()))
		}
		report, err := p.Poll(p.ctx) // all at once: many see the same free path
		require.NoError(t, err)
		require.Zero(t, report.Errors)
		var placed []jobs.SectorID
		for id := range waiting {
			if p.record(id).Home != "" {
				placed = append(placed, id)
				continue
			}
			_, why := p.explain(id)
			require.Contains(t, why.Text, "waits for space")
		}
		require.Len(t, placed, 1, "the path has room for one")
		p.driveHome(placed[0])
		delete(waiting, placed[0])
	}
}

// TestOnePollSpreadsItsSectors: facts follow what the poll itself does, else all its
// sectors would choose the path and the queue that were the best at its start.
func TestOnePollSpreadsItsSectors(t *testing.T) {
	t.Parallel()
	const n = 200
	setup := func() *pipeline {
		p := startMini(t)
		other := host("h2", "run1")
		other.Lanes[2].GPU = "b"
		p.join(other)
		return p
	}
	count := func(p *pipeline, ids []jobs.SectorID, where func(*jobs.Record) string) map[string]int {
		for _, id := range ids {
			require.NoError(t, p.store.SetDue(p.ctx, id, p.clock.Now()))
		}
		_, err := p.Poll(p.ctx)
		require.NoError(t, err)
		got := map[string]int{}
		for _, id := range ids {
			got[where(p.record(id))]++
		}
		return got
	}
	p := setup()
	paths := count(p, p.seed(n, func(r *jobs.Record) { r.Home = "" }), func(r *jobs.Record) string { return r.Home })
	require.Greater(t, paths["path-h1"], n/4)
	require.Greater(t, paths["path-h2"], n/4)

	p = setup()
	queues := count(p, p.seed(n, func(r *jobs.Record) {
		p.stage(r, jobs.Done, jobs.ClassSDR, jobs.SDR, jobs.TreeD, jobs.TreeRC, jobs.PreCommit, jobs.C1, jobs.Store)
		r.PreCommitEpoch, r.CommitDeadline = 9_900, 1<<30
		p.chain.SetPreCommit(r.ID, &jobs.OnChainPreCommit{Epoch: r.PreCommitEpoch, CommR: r.CommR, Expires: r.CommitDeadline})
	}), func(r *jobs.Record) string { return r.Stage(jobs.C2).Queue })
	require.Greater(t, queues["gpu.any.a"], n/4)
	require.Greater(t, queues["gpu.any.b"], n/4)
}

func TestSpaceThatSomebodyElseTakesMeanwhile(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	p.worker.Paths[0].Capacity = jobs.SealingSpace(abi.RegisteredSealProof_StackedDrg2KiBV1_1)
	require.NoError(t, p.store.Beat(p.ctx, p.worker, time.Hour))
	id := p.add()
	p.rdb.AddHook(&meanwhile{before: "{path-path-h1} s-t01000-0", do: func() {
		other := sectors.New(p.another())
		require.NoError(t, other.Reserve(p.ctx, "path-h1", jobs.SectorID{Miner: miner, Number: 9}, jobs.SealingSpace(abi.RegisteredSealProof_StackedDrg2KiBV1_1), jobs.SealingSpace(abi.RegisteredSealProof_StackedDrg2KiBV1_1)))
	}})
	require.Empty(t, p.look(id).Home)
	_, why := p.explain(id)
	require.Contains(t, why.Text, "waits for space")
}

func TestFaultsAreCountedOnceByClass(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	registry := prometheus.NewRegistry()
	registry.MustRegister(p.Collectors()...)
	id := p.add()
	p.driveTo(id, jobs.TreeRC)
	p.fail(id, jobs.TreeRC, jobs.Failf(jobs.Transient, "x"))
	for range 3 {
		p.look(id)
	}
	p.clock.Advance(p.policy.BackoffBase)
	p.look(id)
	p.fail(id, jobs.TreeRC, jobs.Failf(jobs.Bug, "x"))
	for range 3 {
		p.look(id)
	}
	_, err := p.Poll(p.ctx)
	require.NoError(t, err)
	families, err := registry.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "lpseal_stage_failures_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			got[strings.Join(labels, " ")] = m.GetCounter().GetValue()
		}
	}
	require.Equal(t, map[string]float64{
		"class=bug miner=1000 stage=tree_rc":       1,
		"class=transient miner=1000 stage=tree_rc": 1,
	}, got)
}
