package scheduler_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"testing"
	"time"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
	"github.com/lpseal/lpseal/jobs/queue"
	"github.com/lpseal/lpseal/scheduler"
)

const miner = abi.ActorID(1000)

var quiet = slog.New(slog.DiscardHandler)

// pipeline is a scheduler with everything around it; the test plays the workers.
type pipeline struct {
	*scheduler.Scheduler
	t         testing.TB
	ctx       context.Context
	rdb       redis.UniversalClient
	store     *sectors.Store
	queues    *queue.Queues
	chain     *jobstest.Chain
	clock     *jobstest.Clock
	policy    jobs.Policy
	inspector *asynq.Inspector
	worker    jobs.Worker
}

func start(t testing.TB, rdb redis.UniversalClient) *pipeline {
	t.Helper()
	queues := queue.New(rdb)
	p := &pipeline{
		t: t, ctx: t.Context(), rdb: rdb,
		store: sectors.New(rdb), queues: queues,
		chain: jobstest.NewChain(), clock: jobstest.NewClock(), policy: jobs.DefaultPolicy(),
		inspector: asynq.NewInspectorFromRedisClient(rdb),
		worker:    host("h1", "run1"),
	}
	p.policy.PreCommits.Wait, p.policy.Commits.Wait = 0, 0
	p.Scheduler = p.scheduler("s1")
	p.join(p.worker)
	return p
}

func startMini(t testing.TB) *pipeline {
	t.Helper()
	return start(t, redistest.StartMini(t).Client)
}

// another is a client of the same Redis without this one's hooks.
func (p *pipeline) another() redis.UniversalClient {
	rdb := redis.NewClient(&redis.Options{Addr: p.rdb.(*redis.Client).Options().Addr})
	p.t.Cleanup(func() { require.NoError(p.t, rdb.Close()) })
	return rdb
}

// scheduler makes one more scheduler over the same Redis and chain.
func (p *pipeline) scheduler(name string) *scheduler.Scheduler {
	p.t.Helper()
	s, err := scheduler.New(scheduler.Options{
		Store: p.store, Queues: p.queues, Chain: p.chain, Policy: p.policy, Clock: p.clock, Name: name, Log: quiet,
		Period: time.Second,
	})
	require.NoError(p.t, err)
	return s
}

// host is a worker with every lane and one path that seals and stores.
func host(name, run string) jobs.Worker {
	w := jobs.Worker{Host: name, Instance: "all", Run: run, Paths: []jobs.Path{
		{ID: "path-" + name, CanSeal: true, CanStore: true, Capacity: 1 << 30, Free: 1 << 30},
	}}
	for _, class := range jobs.Classes {
		lane := jobs.Lane{Class: class, Width: 4, Prover: jobs.NativeProver}
		if class == jobs.ClassGPU {
			lane.GPU = "a"
		}
		w.Lanes = append(w.Lanes, lane)
	}
	return w
}

func (p *pipeline) join(w jobs.Worker) {
	p.t.Helper()
	require.NoError(p.t, p.store.Join(p.ctx, w, time.Hour))
}

// add makes one CC sector.
func (p *pipeline) add() jobs.SectorID {
	p.t.Helper()
	made, err := p.Add(p.ctx, scheduler.Request{Miner: miner}, "test")
	require.NoError(p.t, err)
	require.Len(p.t, made, 1)
	return made[0].ID
}

func (p *pipeline) record(id jobs.SectorID) *jobs.Record {
	p.t.Helper()
	r, err := p.store.Load(p.ctx, id)
	require.NoError(p.t, err)
	return r
}

func (p *pipeline) look(id jobs.SectorID) *jobs.Record {
	p.t.Helper()
	require.NoError(p.t, p.Advance(p.ctx, id))
	return p.record(id)
}

func (p *pipeline) explain(id jobs.SectorID) (jobs.Action, jobs.Reason) {
	p.t.Helper()
	a, why, _, err := p.Explain(p.ctx, id)
	require.NoError(p.t, err)
	return a, why
}

func (p *pipeline) taskState(id jobs.SectorID, s jobs.Stage) jobs.TaskState {
	p.t.Helper()
	r := p.record(id)
	ref := queue.Ref{Task: r.Task(s), Queue: r.Stage(s).Queue}
	if r.Stage(s).Batch != "" {
		ref.Task = p.batch(r, s).Task()
	}
	states, err := p.queues.States(p.ctx, []queue.Ref{ref})
	require.NoError(p.t, err)
	return states[0]
}

func (p *pipeline) apply(id jobs.SectorID, e jobs.Event) *jobs.Record {
	p.t.Helper()
	r, err := p.store.Apply(p.ctx, id, e, "test worker", p.clock.Now())
	require.NoError(p.t, err)
	return r
}

// batch is the batch that holds the sector.
func (p *pipeline) batch(r *jobs.Record, s jobs.Stage) *jobs.Batch {
	p.t.Helper()
	b, err := p.store.Batch(p.ctx, r.Stage(s).Batch)
	require.NoError(p.t, err)
	return b
}

func (p *pipeline) applyBatch(b *jobs.Batch, e jobs.BatchEvent) *jobs.Batch {
	p.t.Helper()
	next, err := p.store.ApplyBatch(p.ctx, b, e, "test worker", p.clock.Now())
	require.NoError(p.t, err)
	return next
}

// claim does what a worker does first, as the worker that is live.
func (p *pipeline) claim(id jobs.SectorID, s jobs.Stage) *jobs.Record {
	p.t.Helper()
	if r := p.record(id); r.Stage(s).Batch != "" {
		if b := p.batch(r, s); b.State == jobs.BatchClosed {
			p.applyBatch(b, jobs.BatchClaimed{Task: b.Task(), Worker: p.worker.Owner()})
		}
	}
	return p.apply(id, jobs.Claimed{Task: p.record(id).Task(s), Worker: p.worker.Owner()})
}

// take removes a stage's task from its queue, as one that was worked on.
func (p *pipeline) take(id jobs.SectorID, s jobs.Stage) {
	p.t.Helper()
	r := p.record(id)
	task := r.Task(s).String()
	if r.Stage(s).Batch != "" {
		task = p.batch(r, s).Task().String()
		if p.taskState(id, s) == jobs.TaskAbsent {
			return // taken for another member
		}
	}
	require.NoError(p.t, p.inspector.DeleteTask(r.Stage(s).Queue, task), "the task of %s", s)
}

// answer writes how a claimed stage ended. The last member to answer ends its batch.
func (p *pipeline) answer(id jobs.SectorID, s jobs.Stage, e jobs.Event) {
	p.t.Helper()
	r := p.apply(id, e)
	if r.Stage(s).Batch == "" {
		return
	}
	b := p.batch(r, s)
	for _, m := range b.Members {
		if state := p.record(m.ID).Stage(s).State; state == jobs.Queued || state == jobs.Running {
			return
		}
	}
	p.applyBatch(b, jobs.BatchEnded{Claim: b.Claim, Note: e.String()})
}

// deliveries is how often a stage's task was put into its queue.
func (p *pipeline) deliveries(id jobs.SectorID, s jobs.Stage) int {
	p.t.Helper()
	r := p.record(id)
	if r.Stage(s).Batch != "" {
		return p.batch(r, s).Delivery
	}
	return r.Stage(s).Delivery
}

// finish works on a queued stage until it is done.
func (p *pipeline) finish(id jobs.SectorID, s jobs.Stage) {
	p.t.Helper()
	r := p.claim(id, s)
	p.take(id, s)
	p.answer(id, s, jobs.Completed{Task: r.Task(s), Claim: r.Stage(s).Claim, Result: p.result(r, s)})
}

// fail ends a queued stage in a fault.
func (p *pipeline) fail(id jobs.SectorID, s jobs.Stage, f *jobs.Fault) {
	p.t.Helper()
	r := p.claim(id, s)
	p.take(id, s)
	p.answer(id, s, jobs.Failed{Task: r.Task(s), Claim: r.Stage(s).Claim, Fault: *f})
}

// result is what the stage finds out, made of the record alone.
func (p *pipeline) result(r *jobs.Record, s jobs.Stage) (out jobs.Result) {
	p.t.Helper()
	var err error
	switch s {
	case jobs.TreeRC:
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %x", r.ID, r.Ticket.Value))
		sum[31] &= 0x3f
		out.CommR, err = commcid.ReplicaCommitmentV1ToCID(sum[:])
	case jobs.PreCommit:
		var sent []jobs.Sent
		sent, err = p.chain.SendPreCommits(p.ctx, jobstest.Alone(r.Meaning(s)), []jobs.PreCommitRequest{{Meaning: r.Meaning(s), Seal: r.Seal(), TicketEpoch: r.Ticket.Epoch}})
		require.NoError(p.t, err)
		out.Message = sent[0].Message
	case jobs.C1:
		out.C1Digest = fmt.Sprintf("%x", sha256.Sum256(r.Seed.Value))
	case jobs.C2:
		out.PoRep = []byte("proof of " + r.C1Digest)
	case jobs.Store:
		out.Stored = &jobs.Stored{Path: "path-h1"}
	case jobs.Commit:
		var sent []jobs.Sent
		sent, err = p.chain.SendCommits(p.ctx, jobstest.Alone(r.Meaning(s)), []jobs.CommitRequest{{Meaning: r.Meaning(s), Seal: r.Seal(), Proof: r.PoRep}}, nil)
		require.NoError(p.t, err)
		out.Message = sent[0].Message
	case jobs.RecoverLocate:
		out.Found = []jobs.Location{}
	}
	require.NoError(p.t, err)
	return out
}

// queued gives the stages that wait for a worker, in the table's order.
func queued(r *jobs.Record) (out []jobs.Stage) {
	for _, row := range jobs.Stages {
		if r.Stage(row.Stage).State == jobs.Queued {
			out = append(out, row.Stage)
		}
	}
	return out
}

// drive lets the sector go on, every stage succeeding, until stop says so. With
// nothing queued, time and chain move on; a hold is released.
func (p *pipeline) drive(id jobs.SectorID, stop func(*jobs.Record) bool) *jobs.Record {
	p.t.Helper()
	for range 200 {
		r := p.look(id)
		if stop(r) {
			return r
		}
		ready := queued(r)
		if r.Hold != nil && (len(ready) == 0 || !jobs.RowOf(ready[0]).Recovery) {
			require.NoError(p.t, p.Order(p.ctx, id, jobs.Released{}, "test"))
			continue
		}
		if len(ready) > 0 {
			p.finish(id, ready[0])
			continue
		}
		p.chain.Advance(5)
		p.clock.Advance(5 * time.Second)
	}
	r := p.record(id)
	_, why := p.explain(id)
	require.Fail(p.t, "the sector does not get there", "%s; stages %+v", why.Text, r.Stages)
	return nil
}

func (p *pipeline) driveTo(id jobs.SectorID, s jobs.Stage) *jobs.Record {
	p.t.Helper()
	return p.drive(id, func(r *jobs.Record) bool { return r.Stage(s).State == jobs.Queued })
}

func (p *pipeline) driveHome(id jobs.SectorID) *jobs.Record {
	p.t.Helper()
	return p.drive(id, func(r *jobs.Record) bool { return r.Outcome != jobs.Open })
}
