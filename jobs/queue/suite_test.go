package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

func TestMain(m *testing.M) {
	logging.Disable()
	goleak.VerifyTestMain(m)
}

// bench is what a test works with: queues on a Redis of its own, and asynqmon's view
// of them.
type bench struct {
	*testing.T
	ctx    context.Context
	redis  *redistest.Redis
	rdb    redis.UniversalClient
	queues *queue.Queues
	mon    *asynq.Inspector
	client *asynq.Client
}

// onBoth runs a test on miniredis and on a redis-server.
func onBoth(t *testing.T, test func(*bench)) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *redistest.Redis{
		"miniredis":    redistest.StartMini,
		"redis-server": func(t testing.TB) *redistest.Redis { return redistest.StartServer(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			b := &bench{
				T: t, ctx: t.Context(), redis: r, rdb: r.Client, queues: queue.New(r.Client),
				mon: asynq.NewInspectorFromRedisClient(r.Client), client: asynq.NewClientFromRedisClient(r.Client),
			}
			test(b)
			require.NoError(t, b.queues.Close())
		})
	}
}

var cpu = jobs.Queue{Class: jobs.ClassCPU, Host: "h1"}

func task(number int) jobs.TaskRef {
	return jobs.TaskRef{
		ID:    jobs.SectorID{Miner: 1000, Number: abi.SectorNumber(number)},
		Stage: jobs.TreeD, Fence: 1, Attempt: 1, Delivery: 1,
	}
}

func (b *bench) enqueue(q jobs.Queue, t jobs.TaskRef) {
	b.Helper()
	require.NoError(b, b.queues.Enqueue(b.ctx, q, t))
}

// state is what the queues say of a task, which must be what asynqmon shows.
func (b *bench) state(q jobs.Queue, t jobs.TaskRef) jobs.TaskState {
	b.Helper()
	states, err := b.queues.States(b.ctx, []queue.Ref{{Task: t, Queue: q.String()}})
	require.NoError(b, err)
	return states[0]
}

func (b *bench) info(q jobs.Queue, t jobs.TaskRef) *asynq.TaskInfo {
	b.Helper()
	info, err := b.mon.GetTaskInfo(q.String(), t.String())
	require.NoError(b, err)
	return info
}

// serve starts a server that ends with the test.
func (b *bench) serve(o queue.Options) *queue.Server {
	b.Helper()
	if o.Grace == 0 {
		o.Grace = time.Second
	}
	s, err := b.queues.Serve(o)
	require.NoError(b, err)
	require.NoError(b, s.Start())
	b.Cleanup(s.Shutdown)
	return s
}

// await waits for a condition on a busy machine.
func (b *bench) await(what string, done func() bool) {
	b.Helper()
	require.Eventually(b, done, 30*time.Second, 10*time.Millisecond, what)
}
