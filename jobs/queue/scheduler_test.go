package queue_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

func (b *bench) serveScheduler(o queue.SchedulerOptions) {
	b.Helper()
	o.Period, o.Grace = time.Second, time.Second
	s, err := b.queues.ServeScheduler(o)
	require.NoError(b, err)
	b.Cleanup(s.Shutdown)
}

// A stop that goes well leaves no error in the log: an operator would look for its cause.
func TestASchedulerStopsWithoutAnError(t *testing.T) {
	onBoth(t, func(b *bench) {
		var log bytes.Buffer
		polled := make(chan struct{}, 100)
		s, err := b.queues.ServeScheduler(queue.SchedulerOptions{
			Period: time.Second, Grace: time.Second, Advance: noAdvance, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Poll: func(context.Context) error { polled <- struct{}{}; return nil },
		})
		require.NoError(b, err)
		<-polled
		s.Shutdown()
		require.NotContains(b, log.String(), "level=ERROR")
	})
}

func noAdvance(context.Context, jobs.SectorID) error { return nil }

func TestThePollIsRegisteredAndRuns(t *testing.T) {
	onBoth(t, func(b *bench) {
		polls := make(chan time.Time, 100)
		b.serveScheduler(queue.SchedulerOptions{Advance: noAdvance, Poll: func(ctx context.Context) error {
			deadline, ok := ctx.Deadline()
			require.True(b, ok)
			polls <- deadline
			return errOutage
		}})
		require.WithinDuration(b, time.Now().Add(time.Second), <-polls, time.Second, "ends before the next one")
		<-polls
		b.await("asynqmon's Schedulers page shows it", func() bool {
			entries, err := b.mon.SchedulerEntries()
			require.NoError(b, err)
			return len(entries) == 1 && !entries[0].Prev.IsZero() && entries[0].Next.After(entries[0].Prev)
		})
		entries, err := b.mon.SchedulerEntries()
		require.NoError(b, err)
		require.Equal(b, queue.PollType, entries[0].Task.Type())
		require.Equal(b, "{}", string(entries[0].Task.Payload()))
		require.Equal(b, "@every 1s", entries[0].Spec)
		archived, err := b.mon.ListArchivedTasks(jobs.SchedulerQueue)
		require.NoError(b, err)
		require.Empty(b, archived, "a failed poll leaves nothing behind")
	})
}

func TestPollsOfOneProcessDoNotOverlap(t *testing.T) {
	onBoth(t, func(b *bench) {
		var running, most, polls atomic.Int32
		release := make(chan struct{})
		b.serveScheduler(queue.SchedulerOptions{Advance: noAdvance, Poll: func(context.Context) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			if polls.Add(1) == 1 {
				<-release // heeds no deadline
			}
			return nil
		}})
		b.await("another poll came and went", func() bool {
			q, err := b.mon.GetQueueInfo(jobs.SchedulerQueue)
			return err == nil && q.ProcessedTotal >= 2
		})
		require.Equal(b, int32(1), polls.Load())
		close(release)
		b.await("later ones run again", func() bool { return polls.Load() >= 2 })
		require.Equal(b, int32(1), most.Load())
	})
}

// A poll that runs out of time says what it waited for, in words that are the same each time.
func TestAPollThatTakesTooLong(t *testing.T) {
	onBoth(t, func(b *bench) {
		var log lines
		b.serveScheduler(queue.SchedulerOptions{Advance: noAdvance, Log: slog.New(slog.NewTextHandler(&log, nil)), Poll: func(ctx context.Context) error {
			<-ctx.Done()
			return fmt.Errorf("the node: no answer so far: %w", ctx.Err())
		}})
		b.await("two polls ended", func() bool { return len(log.all()) >= 2 })
		for _, line := range log.all() {
			_, said, _ := strings.Cut(line, " ") // without the time
			require.Equal(b, `level=WARN msg="task did not end" type=poll queue=scheduler err="the node: no answer so far: context deadline exceeded"`, said)
		}
	})
}

// lines are what was logged.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(string(l.text), "\n"), "\n")[:bytes.Count(l.text, []byte("\n"))]
}

func TestAdvanceLooksAtOneSector(t *testing.T) {
	onBoth(t, func(b *bench) {
		var mu sync.Mutex
		seen := map[jobs.SectorID]int{}
		id, bad := task(1).ID, task(2).ID
		for range 3 {
			require.NoError(b, b.queues.Advance(b.ctx, id, 7))
		}
		require.NoError(b, b.queues.Advance(b.ctx, id, 8))
		require.NoError(b, b.queues.Advance(b.ctx, bad, 1))
		info, err := b.mon.GetTaskInfo(jobs.SchedulerQueue, "s-t01000-1.v7")
		require.NoError(b, err)
		require.JSONEq(b, `{"sector":"s-t01000-1","version":7}`, string(info.Payload))
		require.Equal(b, time.Minute, info.Timeout)

		b.serveScheduler(queue.SchedulerOptions{Poll: func(context.Context) error { return nil }, Advance: func(_ context.Context, id jobs.SectorID) error {
			mu.Lock()
			defer mu.Unlock()
			seen[id]++
			if id == bad {
				return errOutage
			}
			return nil
		}})
		b.await("all are looked at", func() bool {
			load, err := b.queues.Load(b.ctx)
			require.NoError(b, err)
			mu.Lock()
			defer mu.Unlock()
			return load[jobs.SchedulerQueue] == 0 && len(seen) == 2
		})
		require.Equal(b, map[jobs.SectorID]int{id: 2, bad: 1}, seen, "once for each version; a failure is the next poll's")
		require.NoError(b, b.queues.Advance(b.ctx, bad, 1), "an ID that is done with is free again")
		b.await("it is looked at again", func() bool { mu.Lock(); defer mu.Unlock(); return seen[bad] == 2 })
	})
}

func TestServeSchedulerRefusesWhatAsynqCannotDo(t *testing.T) {
	onBoth(t, func(b *bench) {
		o := queue.SchedulerOptions{Poll: func(context.Context) error { return nil }, Advance: noAdvance}
		for _, period := range []time.Duration{0, 200 * time.Millisecond, 1500 * time.Millisecond} {
			o.Period = period
			_, err := b.queues.ServeScheduler(o)
			require.ErrorContains(b, err, "whole seconds")
		}
		_, err := b.queues.ServeScheduler(queue.SchedulerOptions{Period: time.Second})
		require.ErrorContains(b, err, "Poll and Advance")
	})
}
