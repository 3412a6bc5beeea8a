package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"github.com/lpseal/lpseal/jobs"
)

// SchedulerWidth is how many jobs one scheduler runs at a time: it leaves room for advance
// tasks while a poll runs.
const SchedulerWidth = 8

const (
	advanceTimeout = time.Minute
	// schedulerBeat is how often asynqmon's Schedulers page learns the next run.
	schedulerBeat = 2 * time.Second
)

// SchedulerOptions describe a scheduler's jobs.
type SchedulerOptions struct {
	// Period is the time between polls, in whole seconds.
	Period time.Duration
	// Poll looks at all due sectors. Its ctx ends before the next poll is due. In one
	// process it never runs twice at a time; many processes agree by a bucket of
	// time, which Poll takes itself.
	Poll func(context.Context) error
	// Advance looks at one sector.
	Advance func(context.Context, jobs.SectorID) error
	Log     *slog.Logger
	Grace   time.Duration // as in [Options]
}

// Scheduler serves queue scheduler and enqueues poll by the clock.
type Scheduler struct {
	srv  *asynq.Server
	cron *asynq.Scheduler
}

// ServeScheduler starts a scheduler's server and clock, which run until Shutdown. The
// first poll comes one period later.
//
// A poll or advance that fails is logged and dropped, for the next poll does all of
// it again: tasks of its kind in asynq's archive would only hide the others.
func (q *Queues) ServeScheduler(o SchedulerOptions) (*Scheduler, error) {
	if o.Period < time.Second || o.Period%time.Second != 0 {
		return nil, fmt.Errorf("poll every %s: asynq's clock knows whole seconds only, from 1 s", o.Period)
	}
	if o.Poll == nil || o.Advance == nil {
		return nil, errors.New("serve scheduler: Poll and Advance must be given")
	}
	config := baseConfig(o.Log)
	config.Queues = map[string]int{jobs.SchedulerQueue: 1}
	config.Concurrency = SchedulerWidth
	if o.Grace > 0 {
		config.ShutdownTimeout = o.Grace
	}
	cron := asynq.NewSchedulerFromRedisClient(q.rdb, &asynq.SchedulerOpts{
		HeartbeatInterval: schedulerBeat,
		Logger:            config.Logger,
		LogLevel:          config.LogLevel,
	})
	_, err := cron.Register("@every "+o.Period.String(), asynq.NewTask(PollType, []byte("{}")),
		asynq.Queue(jobs.SchedulerQueue), asynq.Timeout(2*o.Period), asynq.MaxRetry(0)) // the handler's own deadline comes first: Poll says what it waited for
	if err != nil {
		return nil, fmt.Errorf("register poll: %w", err)
	}
	s := &Scheduler{srv: asynq.NewServerFromRedisClient(q.rdb, config), cron: cron}
	if err := s.srv.Start(mux{PollType: pollHandler(o), AdvanceType: advanceHandler(o)}); err != nil {
		return nil, fmt.Errorf("serve scheduler: %w", err)
	}
	if err := s.cron.Start(); err != nil {
		s.srv.Shutdown()
		return nil, fmt.Errorf("start the poll's clock: %w", err)
	}
	return s, nil
}

func pollHandler(o SchedulerOptions) asynq.HandlerFunc {
	var running sync.Mutex
	return func(ctx context.Context, _ *asynq.Task) error {
		if !running.TryLock() {
			return nil
		}
		defer running.Unlock()
		ctx, cancel := context.WithTimeout(ctx, o.Period-o.Period/10)
		defer cancel()
		return drop(o.Poll(ctx))
	}
}

func advanceHandler(o SchedulerOptions) asynq.HandlerFunc {
	return func(ctx context.Context, t *asynq.Task) error {
		var a advance
		if err := json.Unmarshal(t.Payload(), &a); err != nil {
			return drop(fmt.Errorf("payload of advance: %w", err))
		}
		return drop(o.Advance(ctx, a.Sector))
	}
}

// dropped is an error that is logged, and whose task asynq forgets.
type dropped struct{ error }

func (d dropped) Unwrap() []error { return []error{d.error, asynq.RevokeTask} }

func drop(err error) error {
	if err == nil {
		return nil
	}
	return dropped{err}
}

// Shutdown stops the clock, waits for the handlers up to the grace time and stops.
func (s *Scheduler) Shutdown() {
	s.cron.Shutdown()
	s.srv.Shutdown()
}
