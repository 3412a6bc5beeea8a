package scheduler_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
	"github.com/lpseal/lpseal/scheduler"
)

// onBoth runs a test on miniredis and on a redis-server.
func onBoth(t *testing.T, test func(t *testing.T, rdb redis.UniversalClient)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) { t.Parallel(); test(t, redistest.StartMini(t).Client) })
	t.Run("redis-server", func(t *testing.T) { t.Parallel(); test(t, redistest.StartServer(t).Client) })
}

// live is a pipeline whose schedulers, lanes and chain all run by themselves.
type live struct {
	*pipeline
	// done is called after a stage's completion is written, started when a delivery
	// was claimed; both may be nil.
	done, started func(jobs.SectorID, jobs.Stage)
}

// run starts n schedulers and every lane of the worker, until the test ends.
func (l *live) run(n int) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	l.t.Cleanup(func() { cancel(); running.Wait() })
	for i := range n {
		s, err := scheduler.New(scheduler.Options{
			Store: l.store, Queues: l.queues, Chain: l.chain, Policy: l.policy, Log: quiet,
			Name: string(rune('a' + i)), Period: time.Second,
		})
		require.NoError(l.t, err)
		running.Go(func() { assert.NoError(l.t, s.Run(ctx)) })
	}
	for _, lane := range l.worker.Lanes {
		var names []string
		for _, q := range lane.Queues(l.worker.Host) {
			names = append(names, q.String())
		}
		server, err := l.queues.Serve(queue.Options{Queues: names, Width: lane.Width, Handler: l.work, Batches: l.workBatch})
		require.NoError(l.t, err)
		require.NoError(l.t, server.Start())
		l.t.Cleanup(server.Shutdown)
	}
	running.Go(func() {
		for tick := time.NewTicker(50 * time.Millisecond); ctx.Err() == nil; {
			<-tick.C
			l.chain.Advance(1)
		}
	})
}

// work is a worker's handler: claim, do, complete, ask for the next look.
func (l *live) work(ctx context.Context, task jobs.TaskRef) error {
	r, err := l.store.Apply(ctx, task.ID, jobs.Claimed{Task: task, Worker: l.worker.Owner()}, "test worker", time.Now())
	if errors.Is(err, jobs.ErrStale) {
		return nil
	} else if err != nil {
		return err
	}
	if l.started != nil {
		l.started(task.ID, task.Stage)
	}
	r, err = l.store.Apply(ctx, task.ID, jobs.Completed{Task: task, Claim: r.Stage(task.Stage).Claim, Result: l.result(r, task.Stage)}, "test worker", time.Now())
	if err != nil {
		return err
	}
	if l.done != nil {
		l.done(task.ID, task.Stage)
	}
	return l.queues.Advance(ctx, task.ID, r.Version)
}

func (l *live) workBatch(ctx context.Context, task jobs.BatchRef) error {
	b, err := l.store.Batch(ctx, task.Batch)
	if err != nil {
		return err
	}
	if b, err = l.store.ApplyBatch(ctx, b, jobs.BatchClaimed{Task: task, Worker: l.worker.Owner()}, "test worker", time.Now()); err != nil {
		return err
	}
	for _, m := range b.Members {
		if err := l.work(ctx, m); err != nil {
			return err
		}
	}
	_, err = l.store.ApplyBatch(ctx, b, jobs.BatchEnded{Claim: b.Claim}, "test worker", time.Now())
	return err
}

func (l *live) open() (n int) {
	l.t.Helper()
	ids, err := l.store.All(l.ctx, nil)
	require.NoError(l.t, err)
	records, err := l.store.LoadMany(l.ctx, ids)
	require.NoError(l.t, err)
	for _, r := range records {
		if r.Outcome == jobs.Open {
			n++
		}
	}
	return n
}

func TestTwoSchedulersRunThePipeline(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		l := &live{pipeline: start(t, rdb)}
		l.policy.Look = 200 * time.Millisecond
		var mu sync.Mutex
		claims := map[string]int{}
		l.started = func(id jobs.SectorID, s jobs.Stage) {
			mu.Lock()
			defer mu.Unlock()
			claims[id.String()+" "+string(s)]++
		}
		l.run(2)
		made, err := l.Add(l.ctx, scheduler.Request{Miner: miner, Count: 6}, "test")
		require.NoError(t, err)
		require.Eventually(t, func() bool { return l.open() == 0 }, time.Minute, 50*time.Millisecond)
		for _, r := range made {
			require.Equal(t, jobs.Committed, l.record(r.ID).Outcome)
		}
		require.Len(t, claims, 6*10)
		for delivery, n := range claims {
			require.Equal(t, 1, n, delivery)
		}

		entries, err := l.inspector.SchedulerEntries()
		require.NoError(t, err)
		require.Len(t, entries, 2, "asynqmon's page shows both schedulers")
		for _, e := range entries {
			require.Equal(t, "poll", e.Task.Type())
			require.Equal(t, "{}", string(e.Task.Payload()))
			require.Equal(t, "@every 1s", e.Spec)
			require.False(t, e.Next.IsZero())
		}
	})
}

func TestASectorThatIsInNoIndexIsFoundByTheSweep(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		l := &live{pipeline: start(t, rdb)}
		id := l.add()
		require.NoError(t, rdb.Del(l.ctx, "lpseal:due", "asynq:{scheduler}:pending").Err())
		stray := jobs.SectorID{Miner: miner, Number: 99}
		require.NoError(t, l.store.Reserve(l.ctx, "path-h1", stray, 1, 1<<30))
		l.run(1)
		require.Eventually(t, func() bool { return l.record(id).Home != "" }, 20*time.Second, 20*time.Millisecond)
		require.Eventually(t, func() bool {
			space, err := l.store.Reservations(l.ctx, "path-h1")
			_, found := space[stray]
			return err == nil && !found
		}, 20*time.Second, 20*time.Millisecond, "nor does a reservation without a sector stay")
	})
}

// TestTheTasksOfADeadHostAreRecovered: a lane dies with a task in hand, and no other
// server lists its queue.
func TestTheTasksOfADeadHostAreRecovered(t *testing.T) {
	t.Parallel()
	l := &live{pipeline: start(t, redistest.StartServer(t).Client)}
	id := l.add()
	l.look(id)
	require.NoError(t, l.store.Leave(l.ctx, l.worker))
	name := l.record(id).Stage(jobs.SDR).Queue
	task := l.record(id).Task(jobs.SDR).String()
	// What a killed server leaves behind: an active task whose lease ended a while ago.
	require.NoError(t, l.rdb.LMove(l.ctx, "asynq:{"+name+"}:pending", "asynq:{"+name+"}:active", "RIGHT", "LEFT").Err())
	require.NoError(t, l.rdb.HSet(l.ctx, "asynq:{"+name+"}:t:"+task, "state", "active").Err())
	require.NoError(t, l.rdb.ZAdd(l.ctx, "asynq:{"+name+"}:lease", redis.Z{Score: float64(time.Now().Add(-time.Hour).Unix()), Member: task}).Err())
	l.worker = host("h2", "run1")
	l.run(1)
	require.Eventually(t, func() bool { return l.taskState(id, jobs.SDR) == jobs.TaskPending }, 20*time.Second, 20*time.Millisecond)
}

func TestOneOfManySchedulersPollsInEachBucket(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	other := p.scheduler("s2")
	for round := range 3 {
		var polls sync.WaitGroup
		for range 4 {
			for _, s := range []*scheduler.Scheduler{p.Scheduler, other} {
				polls.Go(func() { assert.NoError(t, s.PollJob(p.ctx)) })
			}
		}
		polls.Wait()
		require.Equal(t, uint64(round+1), p.chain.Calls()["Head"])
		p.clock.Advance(time.Second)
	}
}

func TestAnOptionThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	ok := scheduler.Options{Store: p.store, Queues: p.queues, Chain: p.chain, Policy: p.policy, Name: "a"}
	for want, change := range map[string]func(*scheduler.Options){
		"store, queues and chain": func(o *scheduler.Options) { o.Chain = nil },
		"whole seconds":           func(o *scheduler.Options) { o.Period = 1500 * time.Millisecond },
		"slug":                    func(o *scheduler.Options) { o.Name = "A B" },
	} {
		o := ok
		change(&o)
		_, err := scheduler.New(o)
		require.ErrorContains(t, err, want)
	}
	_, err := scheduler.New(ok)
	require.NoError(t, err)
}

// percentile sorts d.
func percentile(d []time.Duration, p float64) time.Duration {
	slices.Sort(d)
	return d[min(int(p*float64(len(d))), len(d)-1)]
}
