package queue_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// BenchmarkWakeUp is the time from enqueueing a task to its handler, in a lane that
// has nothing to do: ours, and a server of asynq's with its defaults, which looks
// for work once a second.
func BenchmarkWakeUp(b *testing.B) {
	// A server looks again at once after a task; idle lets it find nothing first.
	idle := func(b *testing.B, interval time.Duration) {
		b.StopTimer()
		<-time.After(interval + rand.N(interval))
		b.StartTimer()
	}
	b.Run("lpseal", func(b *testing.B) {
		q := queue.New(redistest.StartServer(b).Client)
		lane := jobs.Queue{Class: jobs.ClassIO, Host: "h1"}
		began := make(chan struct{})
		server, err := q.Serve(queue.Options{Queues: []string{lane.String()}, Width: 1, Handler: func(context.Context, jobs.TaskRef) error {
			began <- struct{}{}
			return nil
		}})
		require.NoError(b, err)
		require.NoError(b, server.Start())
		defer server.Shutdown()
		task := jobs.TaskRef{ID: jobs.SectorID{Miner: 1000}, Stage: jobs.Store, Fence: 1, Attempt: 1}
		for b.Loop() {
			idle(b, 100*time.Millisecond)
			task.Delivery++
			require.NoError(b, q.Enqueue(b.Context(), lane, task))
			<-began
		}
	})
	b.Run("peer=asynq's defaults", func(b *testing.B) {
		rdb := redistest.StartServer(b).Client
		client := asynq.NewClientFromRedisClient(rdb)
		server := asynq.NewServerFromRedisClient(rdb, asynq.Config{Concurrency: 1, LogLevel: asynq.FatalLevel})
		began := make(chan struct{})
		require.NoError(b, server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
			began <- struct{}{}
			return nil
		})))
		defer server.Shutdown()
		for b.Loop() {
			idle(b, time.Second)
			_, err := client.EnqueueContext(b.Context(), asynq.NewTask("t", nil), asynq.Timeout(time.Minute))
			require.NoError(b, err)
			<-began
		}
	})
}
