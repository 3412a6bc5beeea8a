package scheduler_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// hijack runs a server on the stage's queue whose handler takes the task and never
// finishes it: it is active.
func (p *pipeline) hijack(id jobs.SectorID, s jobs.Stage) {
	p.t.Helper()
	server, err := p.queues.Serve(queue.Options{
		Queues: []string{p.record(id).Stage(s).Queue}, Width: 1, Grace: 10 * time.Millisecond,
		Handler: func(ctx context.Context, _ jobs.TaskRef) error { <-ctx.Done(); return ctx.Err() },
	})
	require.NoError(p.t, err)
	require.NoError(p.t, server.Start())
	p.t.Cleanup(server.Shutdown)
	require.Eventually(p.t, func() bool { return p.taskState(id, s) == jobs.TaskActive }, 10*time.Second, 10*time.Millisecond)
}

// TestATaskThatWillNotRunIsDeliveredAgain is rule 2's table, on asynq itself: what
// may become of a stage's task, crashes and asynqmon's buttons included.
func TestATaskThatWillNotRunIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	type do func(p *pipeline, id jobs.SectorID)
	const s = jobs.SDR
	claim := func(p *pipeline, id jobs.SectorID) { p.claim(id, s) }
	claimDead := func(p *pipeline, id jobs.SectorID) {
		p.apply(id, jobs.Claimed{Task: p.record(id).Task(s), Worker: host("h1", "an-earlier-run").Owner()})
	}
	garble := func(p *pipeline, _ jobs.SectorID) {
		require.NoError(p.t, p.rdb.Set(p.ctx, "lpseal:{workers}:"+p.worker.Name(), `{"host": 7}`, time.Hour).Err())
	}
	remove := func(p *pipeline, id jobs.SectorID) { p.take(id, s) }
	archive := func(p *pipeline, id jobs.SectorID) {
		r := p.record(id)
		require.NoError(p.t, p.inspector.ArchiveTask(r.Stage(s).Queue, r.Task(s).String()))
	}
	active := func(p *pipeline, id jobs.SectorID) { p.hijack(id, s) }
	// orphan is what a server leaves that is killed with a task in hand: a lease that nobody renews.
	orphan := func(p *pipeline, id jobs.SectorID) {
		r := p.record(id)
		key, task := "asynq:{"+r.Stage(s).Queue+"}:", r.Task(s).String()
		require.NoError(p.t, p.rdb.LMove(p.ctx, key+"pending", key+"active", "RIGHT", "LEFT").Err())
		require.NoError(p.t, p.rdb.HSet(p.ctx, key+"t:"+task, "state", "active").Err())
		require.NoError(p.t, p.rdb.ZAdd(p.ctx, key+"lease", redis.Z{Score: float64(time.Now().Add(10 * time.Second).Unix()), Member: task}).Err())
	}
	complete := func(p *pipeline, id jobs.SectorID) {
		server, err := p.queues.Serve(queue.Options{
			Queues: []string{p.record(id).Stage(s).Queue}, Width: 1,
			Handler: func(context.Context, jobs.TaskRef) error { return nil },
		})
		require.NoError(p.t, err)
		require.NoError(p.t, server.Start())
		defer server.Shutdown()
		require.Eventually(p.t, func() bool {
			state := p.taskState(id, s)
			return state == jobs.TaskCompleted || state == jobs.TaskAbsent
		}, 10*time.Second, 10*time.Millisecond)
	}
	for name, tc := range map[string]struct {
		happens []do
		again   bool
	}{
		"queued, pending":                               {nil, false},
		"queued, deleted":                               {[]do{remove}, true},
		"queued, archived":                              {[]do{archive}, true},
		"queued, completed":                             {[]do{complete}, true},
		"queued, active, not claimed":                   {[]do{active}, false},
		"queued, active, its server is killed":          {[]do{orphan}, true},
		"running, active, lease lost, worker lives":     {[]do{claim, orphan}, false},
		"running, pending":                              {[]do{claim}, false},
		"running, deleted":                              {[]do{claim, remove}, true},
		"running, archived":                             {[]do{claim, archive}, true},
		"running, completed":                            {[]do{claim, complete}, true},
		"running, active, worker lives":                 {[]do{active, claim}, false},
		"running, active, worker is new":                {[]do{active, claimDead}, true},
		"running, active, its heartbeat cannot be read": {[]do{active, claim, garble}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startMini(t)
			id := p.add()
			p.look(id)
			p.take(id, jobs.TreeD) // not this test's affair
			p.apply(id, jobs.Held{Hold: jobs.Hold{Reason: "so that only sdr is looked at"}})
			p.apply(id, jobs.Released{})
			for _, f := range tc.happens {
				f(p, id)
			}
			before := p.record(id).Stage(s)
			p.clock.Advance(p.policy.Look)
			after := p.look(id).Stage(s)
			if !tc.again {
				require.Equal(t, before, after)
				return
			}
			require.Equal(t, jobs.Queued, after.State)
			require.Equal(t, [3]int{before.Fence, before.Attempt, before.Delivery + 1}, [3]int{after.Fence, after.Attempt, after.Delivery})
			require.Equal(t, jobs.TaskPending, p.taskState(id, s))
		})
	}
}

func TestAWorkerThatDiesLosesItsWork(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	p.look(id)
	p.hijack(id, jobs.SDR)
	p.claim(id, jobs.SDR)
	p.clock.Advance(p.policy.Look)
	require.Equal(t, jobs.Running, p.look(id).Stage(jobs.SDR).State)

	require.NoError(t, p.store.Leave(p.ctx, p.worker))
	require.Equal(t, jobs.Running, p.look(id).Stage(jobs.SDR).State, "its home has no other host")
	_, why := p.explain(id)
	require.NotEmpty(t, why.Text)

	p.worker.Run = "run2"
	p.join(p.worker)
	sr := p.look(id).Stage(jobs.SDR)
	require.Equal(t, jobs.Queued, sr.State)
	require.Equal(t, [2]int{1, 2}, [2]int{sr.Attempt, sr.Delivery}, "the work is the same, so a child can be adopted")
}

// severed makes the enqueueing of a stage's tasks fail, as if Redis or this process
// went away after the intent was written.
type severed struct{ stage atomic.Pointer[jobs.Stage] }

var errSevered = errors.New("connection reset")

func (h *severed) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		stage := h.stage.Load()
		if stage != nil && strings.HasPrefix(cmd.Name(), "eval") && strings.Contains(cmd.String(), "asynq:{") &&
			strings.Contains(cmd.String(), stage.TaskType()) {
			cmd.SetErr(errSevered)
			return errSevered
		}
		return next(ctx, cmd)
	}
}

func (h *severed) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *severed) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// meanwhile does something once, just before a script whose call contains a text.
type meanwhile struct {
	severed
	before string
	once   sync.Once
	do     func()
}

func (h *meanwhile) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") && strings.Contains(cmd.String(), h.before) {
			h.once.Do(h.do)
		}
		return next(ctx, cmd)
	}
}

func TestACrashBetweenIntentAndEnqueueIsMended(t *testing.T) {
	t.Parallel()
	for _, row := range jobs.Stages {
		t.Run(string(row.Stage), func(t *testing.T) {
			t.Parallel()
			p := startMini(t)
			cut := &severed{}
			p.rdb.AddHook(cut)
			id := p.add()
			cut.stage.Store(&row.Stage)
			p.cause(id, row.Stage)
			var err error
			for range 100 {
				if err = p.Advance(p.ctx, id); err != nil {
					break
				}
				if ready := queued(p.record(id)); len(ready) > 0 {
					p.finish(id, ready[0])
				}
				p.chain.Advance(1)
			}
			require.ErrorContains(t, err, errSevered.Error()) // asynq keeps the text only
			cut.stage.Store(nil)

			require.Equal(t, jobs.Queued, p.record(id).Stage(row.Stage).State, "the intent is written")
			require.Equal(t, jobs.TaskAbsent, p.taskState(id, row.Stage))
			p.look(id)
			require.Equal(t, 1, p.deliveries(id, row.Stage), "another scheduler may be about to enqueue")
			p.clock.Advance(p.policy.Look)
			_, err = p.Poll(p.ctx)
			require.NoError(t, err)
			require.Equal(t, jobs.TaskPending, p.taskState(id, row.Stage))
			require.Equal(t, 2, p.deliveries(id, row.Stage))
			require.NotEqual(t, jobs.Open, p.driveHome(id).Outcome)
		})
	}
}

func TestADrainedClassGivesItsWaitingWorkToAnother(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	other := host("h2", "run1")
	other.Lanes[2].GPU = "b"
	p.join(other)
	id := p.add()
	r := p.driveTo(id, jobs.C2)
	first := r.Stage(jobs.C2)
	drained, kept := "h1/all", "gpu.any.b"
	if first.Queue == "gpu.any.b" {
		drained, kept = "h2/all", "gpu.any.a"
	}
	require.NoError(t, p.store.SetDraining(p.ctx, drained, true))
	r = p.look(id)
	require.Equal(t, kept, r.Stage(jobs.C2).Queue)
	require.Equal(t, 2, r.Stage(jobs.C2).Delivery)
	require.Equal(t, jobs.TaskPending, p.taskState(id, jobs.C2))
	old := queue.Ref{Task: jobs.TaskRef{ID: id, Stage: jobs.C2, Fence: 1, Attempt: 1, Delivery: 1}, Queue: first.Queue}
	states, err := p.queues.States(p.ctx, []queue.Ref{old})
	require.NoError(t, err)
	require.Equal(t, []jobs.TaskState{jobs.TaskAbsent}, states, "the old task no longer fills its queue")
}

func TestC2GoesToTheQueueWithTheShortestWait(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	other := host("h2", "run1")
	other.Lanes[2].GPU, other.Lanes[2].Width = "b", 12
	p.join(other)
	load := map[string]int{}
	var ids []jobs.SectorID
	for range 8 {
		id := p.add()
		p.driveTo(id, jobs.C1)
		p.finish(id, jobs.C1)
		ids = append(ids, id)
	}
	for _, id := range ids {
		load[p.look(id).Stage(jobs.C2).Queue]++
	}
	require.Equal(t, map[string]int{"gpu.any.a": 2, "gpu.any.b": 6}, load, "by width: 4 to 12")
}
