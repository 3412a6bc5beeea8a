package queue_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

func TestTasksAreMadeFromTheStageTable(t *testing.T) {
	onBoth(t, func(b *bench) {
		for _, row := range jobs.Stages {
			ref := task(1)
			ref.Stage = row.Stage
			b.enqueue(cpu, ref)
			info := b.info(cpu, ref)
			require.Equal(b, "seal:"+string(row.Stage), info.Type)
			require.Equal(b, row.Timeout, info.Timeout)
			require.GreaterOrEqual(b, info.Timeout, time.Minute, "%s has a time limit of its own", row.Stage)
			require.Equal(b, row.MaxRetry, info.MaxRetry)
			require.Equal(b, 24*time.Hour, info.Retention)
			back, err := jobs.ParsePayload(info.Type, info.Payload)
			require.NoError(b, err)
			require.Equal(b, ref, back)
		}
		bad := task(1)
		bad.Stage = "paint"
		require.ErrorContains(b, b.queues.Enqueue(b.ctx, cpu, bad), `"paint" is not a stage`)
	})
}

func TestEnqueueingATaskThatIsThereIsSuccess(t *testing.T) {
	onBoth(t, func(b *bench) {
		ref := task(1)
		b.enqueue(cpu, ref)
		b.enqueue(cpu, ref)
		require.NoError(b, b.mon.ArchiveTask(cpu.String(), ref.String()))
		b.enqueue(cpu, ref)
		require.Equal(b, jobs.TaskArchived, b.state(cpu, ref), "in any state; the poller reads which")
		other := jobs.Queue{Class: jobs.ClassCPU, Host: "h2"}
		b.enqueue(other, ref)
		require.Equal(b, jobs.TaskPending, b.state(other, ref), "asynq's IDs are unique per queue only")
	})
}

func TestLoadCountsWhatWaitsOrRuns(t *testing.T) {
	onBoth(t, func(b *bench) {
		none, err := b.queues.Load(b.ctx)
		require.NoError(b, err)
		require.Empty(b, none)

		gpu := jobs.Queue{Class: jobs.ClassGPU, Host: jobs.AnyHost, GPU: "a"}
		for i := range 4 {
			b.enqueue(gpu, task(i))
		}
		require.NoError(b, b.mon.ArchiveTask(gpu.String(), task(3).String()))
		later := task(9)
		_, err = b.client.Enqueue(asynq.NewTask(later.Stage.TaskType(), later.Payload()), asynq.TaskID(later.String()),
			asynq.Queue(gpu.String()), asynq.ProcessIn(time.Hour), asynq.Timeout(time.Hour))
		require.NoError(b, err)
		b.enqueue(cpu, task(1))
		require.NoError(b, b.mon.ArchiveTask(cpu.String(), task(1).String()))
		running := make(chan struct{})
		b.serve(queue.Options{Queues: []string{gpu.String()}, Width: 1, Grace: time.Millisecond, Handler: func(ctx context.Context, _ jobs.TaskRef) error {
			close(running)
			<-ctx.Done()
			return ctx.Err()
		}})
		<-running
		load, err := b.queues.Load(b.ctx)
		require.NoError(b, err)
		require.Equal(b, map[string]int{"gpu.any.a": 4, "cpu.h1": 0}, load)
	})
}

func TestDeleteAndCancel(t *testing.T) {
	onBoth(t, func(b *bench) {
		require.NoError(b, b.queues.Delete(b.ctx, cpu.String(), task(1)), "no such queue")
		b.enqueue(cpu, task(1))
		require.NoError(b, b.queues.Delete(b.ctx, cpu.String(), task(1)))
		require.NoError(b, b.queues.Delete(b.ctx, cpu.String(), task(1)), "no such task")
		require.Equal(b, jobs.TaskAbsent, b.state(cpu, task(1)))

		started, ended := make(chan struct{}), make(chan error, 1)
		var runs atomic.Int32
		b.enqueue(cpu, task(2))
		b.serve(queue.Options{Queues: []string{cpu.String()}, Width: 1, Handler: func(ctx context.Context, _ jobs.TaskRef) error {
			if runs.Add(1) > 1 {
				return nil // run again, as asynq will have it
			}
			close(started)
			<-ctx.Done()
			ended <- ctx.Err()
			return ctx.Err()
		}})
		<-started
		require.Error(b, b.queues.Delete(b.ctx, cpu.String(), task(2)), "what runs cannot be deleted")
		b.await("the cancelled handler ends", func() bool {
			require.NoError(b, b.queues.Cancel(b.ctx, cpu.String(), task(2)))
			select {
			case err := <-ended:
				return errors.Is(err, context.Canceled)
			case <-time.After(10 * time.Millisecond): // the server may not listen yet
				return false
			}
		})
	})
}

func TestRedisGoesAndComesBack(t *testing.T) {
	onBoth(t, func(b *bench) {
		b.enqueue(cpu, task(1))
		b.redis.Kill()
		require.Error(b, b.queues.Enqueue(b.ctx, cpu, task(2)))
		_, err := b.queues.States(b.ctx, []queue.Ref{{Task: task(1), Queue: cpu.String()}})
		require.Error(b, err, "no answer is not absence")
		_, err = b.queues.Load(b.ctx)
		require.Error(b, err)
		b.redis.Restart()
		b.await("the task is still there", func() bool { return b.state(cpu, task(1)) == jobs.TaskPending })
		done := make(chan jobs.TaskRef)
		b.serve(queue.Options{Queues: []string{cpu.String()}, Width: 1, Handler: func(_ context.Context, t jobs.TaskRef) error {
			done <- t
			return nil
		}})
		require.Equal(b, task(1), <-done)
	})
}

// A killed server stops renewing its leases long before they end.
func TestATaskWhoseLeaseNobodyRenewsIsDead(t *testing.T) {
	onBoth(t, func(b *bench) {
		alive, dead := task(1), task(2)
		b.orphan(cpu, alive, time.Now().Add(17*time.Second)) // of 30 s: two renewals were late
		b.orphan(cpu, dead, time.Now().Add(13*time.Second))
		require.Equal(b, jobs.TaskActive, b.state(cpu, alive))
		require.Equal(b, jobs.TaskActiveDead, b.state(cpu, dead))
	})
}
