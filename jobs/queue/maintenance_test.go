package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// orphan leaves a task as a server does that dies after it took it: active, with a
// lease that ended when it says, or with none.
func (b *bench) orphan(q jobs.Queue, t jobs.TaskRef, leaseEnd time.Time) {
	b.Helper()
	b.enqueue(q, t)
	key := "asynq:{" + q.String() + "}:"
	id, err := b.rdb.RPopLPush(b.ctx, key+"pending", key+"active").Result()
	require.NoError(b, err)
	require.Equal(b, t.String(), id)
	require.NoError(b, b.rdb.HSet(b.ctx, key+"t:"+id, "state", "active").Err())
	if !leaseEnd.IsZero() {
		require.NoError(b, b.rdb.ZAdd(b.ctx, key+"lease", redis.Z{Score: float64(leaseEnd.Unix()), Member: id}).Err())
	}
	require.Equal(b, "active", b.info(q, t).State.String(), "as asynqmon sees it")
}

func (b *bench) maintain(o queue.MaintenanceOptions) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan error, 1)
	go func() { ended <- b.queues.Maintenance(ctx, o) }()
	b.Cleanup(func() {
		cancel()
		require.NoError(b, <-ended)
	})
}

func TestMaintenanceRecoversTheQueuesOfTheDead(t *testing.T) {
	onBoth(t, func(b *bench) {
		first := jobs.Queue{Class: jobs.ClassSDR, Host: "dead"}
		ref := task(1)
		b.orphan(first, ref, time.Now().Add(-time.Hour))
		idle := task(5)
		b.enqueue(cpu, idle)
		// This queue appears later, all at once.
		second := jobs.Queue{Class: jobs.ClassGPU, Host: "dead", GPU: "a"}
		b.orphan(second, ref, time.Now().Add(-time.Hour))
		require.NoError(b, b.rdb.SRem(b.ctx, "asynq:queues", second.String()).Err())
		b.maintain(queue.MaintenanceOptions{Period: 20 * time.Millisecond})
		b.await("the task waits again", func() bool { return b.state(first, ref) == jobs.TaskPending })
		require.Zero(b, b.info(first, ref).Retried, "and no retry is spent")

		require.Equal(b, jobs.TaskActiveDead, b.state(second, ref))
		require.NoError(b, b.rdb.SAdd(b.ctx, "asynq:queues", second.String()).Err())
		b.await("the new queue's task waits again", func() bool { return b.state(second, ref) == jobs.TaskPending })
		require.Zero(b, b.info(cpu, idle).Retried)
		b.await("the server runs nothing", func() bool { return b.state(cpu, idle) == jobs.TaskPending })
	})
}

func TestMaintenanceListsKnownQueuesAndPullsNothing(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.maintain(queue.MaintenanceOptions{
			Period: 20 * time.Millisecond,
			Known:  func(context.Context) ([]string, error) { return []string{"io.h9", "cpu.h9"}, nil },
		})
		b.await("a stopped server that lists them shows", func() bool {
			servers, err := b.mon.Servers()
			require.NoError(b, err)
			if len(servers) != 1 {
				return false
			}
			_, io := servers[0].Queues["io.h9"]
			_, cpu := servers[0].Queues["cpu.h9"]
			return io && cpu && servers[0].Status == "stopped" // as its next heartbeat says
		})
	})
}

func TestTasksWithoutALeaseAreDropped(t *testing.T) {
	onBoth(t, func(b *bench) {
		lost, leased := task(1), task(2)
		b.orphan(cpu, lost, time.Time{})
		b.orphan(cpu, leased, time.Now().Add(time.Hour))
		b.enqueue(cpu, task(3))
		n, err := b.queues.DropOrphans(b.ctx, cpu.String())
		require.NoError(b, err)
		require.Equal(b, 1, n)
		require.Equal(b, jobs.TaskAbsent, b.state(cpu, lost))
		require.Equal(b, jobs.TaskActive, b.state(cpu, leased))
		require.Equal(b, jobs.TaskPending, b.state(cpu, task(3)))
		load, err := b.queues.Load(b.ctx)
		require.NoError(b, err)
		require.Equal(b, 2, load[cpu.String()])

		b.orphan(jobs.Queue{Class: jobs.ClassIO, Host: "h1"}, lost, time.Time{})
		b.maintain(queue.MaintenanceOptions{Period: 20 * time.Millisecond})
		b.await("maintenance drops it", func() bool {
			return b.state(jobs.Queue{Class: jobs.ClassIO, Host: "h1"}, lost) == jobs.TaskAbsent
		})
	})
}
