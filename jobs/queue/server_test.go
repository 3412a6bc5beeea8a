package queue_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

var errOutage = errors.New("no answer from redis")

func TestServeRefusesHalfALane(t *testing.T) {
	onBoth(t, func(b *bench) {
		whole := queue.Options{Queues: []string{"cpu.h1"}, Width: 1, Handler: func(context.Context, jobs.TaskRef) error { return nil }}
		for _, break1 := range []func(*queue.Options){
			func(o *queue.Options) { o.Queues = nil },
			func(o *queue.Options) { o.Width = 0 },
			func(o *queue.Options) { o.Handler = nil },
		} {
			o := whole
			break1(&o)
			_, err := b.queues.Serve(o)
			require.ErrorContains(b, err, "a lane needs")
		}
	})
}

func TestTheFirstQueueIsEmptiedFirst(t *testing.T) {
	onBoth(t, func(b *bench) {
		bound := jobs.Queue{Class: jobs.ClassGPU, Host: "h1", GPU: "a"}
		anyHost := jobs.Queue{Class: jobs.ClassGPU, Host: jobs.AnyHost, GPU: "a"}
		const each = 10
		for i := range each {
			b.enqueue(anyHost, task(100+i))
			b.enqueue(bound, task(i))
		}
		order := make(chan jobs.TaskRef, 2*each)
		b.serve(queue.Options{Queues: []string{bound.String(), anyHost.String()}, Width: 1, Handler: func(_ context.Context, t jobs.TaskRef) error {
			order <- t
			return nil
		}})
		for i := range each {
			require.Equal(b, task(i), <-order)
		}
		for i := range each {
			require.Equal(b, task(100+i), <-order)
		}
	})
}

func TestInfrastructureErrorsSpendNoRetry(t *testing.T) {
	onBoth(t, func(b *bench) {
		var mu sync.Mutex
		runs := map[int]int{}
		b.enqueue(cpu, task(1))
		b.enqueue(cpu, task(2))
		b.serve(queue.Options{Queues: []string{cpu.String()}, Width: 2, Handler: func(_ context.Context, t jobs.TaskRef) error {
			mu.Lock()
			defer mu.Unlock()
			runs[int(t.ID.Number)]++
			if t.ID.Number == 2 {
				panic("escaped")
			}
			if runs[1] < 3 {
				return errOutage
			}
			return nil
		}})
		b.await("the panic is counted", func() bool { return b.state(cpu, task(2)) == jobs.TaskRetry })
		info := b.info(cpu, task(2))
		require.Equal(b, 1, info.Retried)
		require.GreaterOrEqual(b, info.NextProcessAt.Sub(info.LastFailedAt), 4*time.Second, "and waited out")
		b.await("the task is done at last", func() bool { return b.state(cpu, task(1)) == jobs.TaskCompleted })
		require.Zero(b, b.info(cpu, task(1)).Retried)
	})
}

func TestForeignTasksAreArchivedUnread(t *testing.T) {
	onBoth(t, func(b *bench) {
		var ran atomic.Int32
		put := func(id, taskType string, payload []byte) {
			_, err := b.client.Enqueue(asynq.NewTask(taskType, payload), asynq.TaskID(id), asynq.Queue(cpu.String()), asynq.Timeout(time.Hour))
			require.NoError(b, err)
		}
		ref := task(1)
		put("another stage", "seal:c12", ref.Payload()) // c1 is a prefix of it
		put("rubbish", "seal:tree_d", []byte("rubbish"))
		put("type differs", "seal:sdr", ref.Payload())
		put("copied", "seal:tree_d", ref.Payload())
		b.enqueue(cpu, ref)
		b.serve(queue.Options{Queues: []string{cpu.String()}, Width: 1, Handler: func(context.Context, jobs.TaskRef) error {
			ran.Add(1)
			return nil
		}})
		b.await("the true one is done", func() bool { return b.state(cpu, ref) == jobs.TaskCompleted })
		archived, err := b.mon.ListArchivedTasks(cpu.String())
		require.NoError(b, err)
		require.Len(b, archived, 4)
		require.Equal(b, int32(1), ran.Load())
	})
}

func TestStopDrainsAndShutdownGivesBack(t *testing.T) {
	onBoth(t, func(b *bench) {
		started, release := make(chan struct{}), make(chan struct{})
		ended := make(chan error, 1)
		o := queue.Options{Queues: []string{cpu.String()}, Width: 1, Grace: 50 * time.Millisecond}
		o.Handler = func(ctx context.Context, t jobs.TaskRef) error {
			started <- struct{}{}
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				ended <- ctx.Err()
				return ctx.Err()
			}
		}
		b.enqueue(cpu, task(1))
		s := b.serve(o)
		<-started
		b.enqueue(cpu, task(2))
		s.Stop()
		release <- struct{}{}
		b.await("what ran is finished", func() bool { return b.state(cpu, task(1)) == jobs.TaskCompleted })
		require.Equal(b, jobs.TaskPending, b.state(cpu, task(2)), "and nothing more is pulled")

		second := b.serve(o)
		<-started
		second.Shutdown()
		require.ErrorIs(b, <-ended, context.Canceled)
		require.Equal(b, jobs.TaskPending, b.state(cpu, task(2)), "back in the queue")
		require.Zero(b, b.info(cpu, task(2)).Retried)
	})
}

type contextKey struct{}

func TestHandlersGetTheBaseContext(t *testing.T) {
	onBoth(t, func(b *bench) {
		got := make(chan any)
		b.enqueue(cpu, task(1))
		b.serve(queue.Options{
			Queues: []string{cpu.String()}, Width: 1,
			Base: func() context.Context { return context.WithValue(b.ctx, contextKey{}, "value") },
			Handler: func(ctx context.Context, _ jobs.TaskRef) error {
				got <- ctx.Value(contextKey{})
				return nil
			},
		})
		require.Equal(b, "value", <-got)
	})
}
