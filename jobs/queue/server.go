package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hibiken/asynq"

	"github.com/lpseal/lpseal/jobs"
)

// How servers look for work. asynq polls: at its default of 1 s a sector of twelve
// stages would wait 7 s for nothing, at 100 ms less than one.
const (
	taskCheckInterval    = 100 * time.Millisecond
	delayedCheckInterval = time.Second
	defaultGrace         = 20 * time.Second
)

// Options describe a lane's server.
type Options struct {
	Queues  []string // in strict order: the first is emptied first
	Width   int      // tasks at a time
	Handler func(context.Context, jobs.TaskRef) error
	Batches func(context.Context, jobs.BatchRef) error // nil: the lane's stages have none
	Log     *slog.Logger
	// Grace is how long Shutdown waits for handlers before their tasks go back to
	// the queue; 0 means 20 s. The handlers' contexts end then.
	Grace time.Duration
	// Base gives every handler's context; nil means context.Background.
	Base func() context.Context
}

// Server serves queues.
type Server struct {
	srv *asynq.Server
	mux mux
}

// Serve makes a server for a lane. It pulls nothing before Start.
//
// The handler's error is infrastructure (unknown write, lost lease, shutdown): the
// task is tried again and no retry is spent. A sealing fault belongs into the
// record, and the handler returns nil (design rule 1). asynq cannot stop a handler:
// when ctx ends, the task is already free for another server.
func (q *Queues) Serve(o Options) (*Server, error) {
	if len(o.Queues) == 0 || o.Width < 1 || o.Handler == nil {
		return nil, errors.New("serve: a lane needs queues, a width of at least 1 and a handler")
	}
	m := mux{}
	for _, row := range jobs.Stages {
		switch {
		case !row.Batched():
			m[row.Stage.TaskType()] = handler(jobs.ParsePayload, o.Handler)
		case o.Batches != nil:
			m[row.Stage.TaskType()] = handler(jobs.ParseBatchPayload, o.Batches)
		}
	}
	config := baseConfig(o.Log)
	config.Queues = strict(o.Queues)
	config.Concurrency = o.Width
	config.BaseContext = o.Base
	if o.Grace > 0 {
		config.ShutdownTimeout = o.Grace
	}
	return &Server{srv: asynq.NewServerFromRedisClient(q.rdb, config), mux: m}, nil
}

// handler reads a task's payload, which must be that of its ID.
func handler[Ref fmt.Stringer](parse func(taskType string, payload []byte) (Ref, error), handle func(context.Context, Ref) error) asynq.HandlerFunc {
	return func(ctx context.Context, t *asynq.Task) error {
		ref, err := parse(t.Type(), t.Payload())
		if err != nil {
			return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
		}
		if id, _ := asynq.GetTaskID(ctx); id != ref.String() {
			return fmt.Errorf("task %s has the payload of %s: %w", id, ref, asynq.SkipRetry)
		}
		return handle(ctx, ref)
	}
}

// Start begins to pull tasks.
func (s *Server) Start() error { return s.srv.Start(s.mux) }

// Stop ends the pulling of tasks and leaves those that run alone: draining.
func (s *Server) Stop() { s.srv.Stop() }

// Shutdown stops, waits for the handlers up to the grace time, gives the tasks of
// the rest back to the queue and ends their contexts.
func (s *Server) Shutdown() { s.srv.Shutdown() }

// strict gives asynq's priorities for queues in order.
func strict(names []string) map[string]int {
	out := make(map[string]int, len(names))
	for i, name := range names {
		out[name] = len(names) - i
	}
	return out
}

// mux finds handlers by the task's full type; asynq's own takes prefixes, and
// would give a stage's tasks to another whose name begins alike.
type mux map[string]asynq.HandlerFunc

// ProcessTask implements asynq.Handler.
func (m mux) ProcessTask(ctx context.Context, t *asynq.Task) error {
	h, ok := m[t.Type()]
	if !ok {
		return fmt.Errorf("no stage has tasks of type %q here: %w", t.Type(), asynq.SkipRetry)
	}
	return h(ctx, t)
}

// baseConfig is what all servers share. The one that recovers a dead server's tasks
// applies its own rules to them, so the rules must be the same everywhere.
func baseConfig(log *slog.Logger) asynq.Config {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return asynq.Config{
		StrictPriority:           true,
		TaskCheckInterval:        taskCheckInterval,
		DelayedTaskCheckInterval: delayedCheckInterval,
		ShutdownTimeout:          defaultGrace,
		RetryDelayFunc:           retryDelay,
		IsFailure:                spends,
		ErrorHandler:             errorHandler(log),
		Logger:                   logger{log},
		LogLevel:                 asynq.InfoLevel,
	}
}

// errMaintenance: a maintenance server got a task in the moment before it stopped.
var errMaintenance = errors.New("taken by a maintenance server, which runs nothing")

// spends says whether an error spends one of a task's retries. A panic, or a
// handler that overran its stage's time, is not the infrastructure's: without a
// bound it would be repeated for ever.
func spends(err error) bool {
	return asynq.IsPanicError(err) || errors.Is(err, context.DeadlineExceeded)
}

// retryDelay is short: what failed was not the work.
func retryDelay(n int, err error, _ *asynq.Task) time.Duration {
	switch {
	case errors.Is(err, asynq.ErrLeaseExpired), errors.Is(err, errMaintenance):
		return 0
	case spends(err):
		return min(time.Minute, 5*time.Second<<min(n, 4))
	}
	return time.Second + rand.N(2*time.Second)
}

func errorHandler(log *slog.Logger) asynq.ErrorHandlerFunc {
	return func(ctx context.Context, t *asynq.Task, err error) {
		id, _ := asynq.GetTaskID(ctx)
		queue, _ := asynq.GetQueueName(ctx)
		retried, _ := asynq.GetRetryCount(ctx)
		about := []any{"type", t.Type(), "queue", queue, "err", err}
		if t.Type() != PollType { // whose tasks have random names: that all fail alike would not be seen
			about = append(about, "job", id, "retried", retried)
		}
		log.WarnContext(ctx, "task did not end", about...)
	}
}
