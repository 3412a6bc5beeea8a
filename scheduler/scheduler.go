package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// DefaultPeriod is the time between two polls.
const DefaultPeriod = 10 * time.Second

// Options is what a scheduler is made of.
type Options struct {
	Store  *sectors.Store
	Queues *queue.Queues
	Chain  jobs.Chain
	Policy jobs.Policy
	Clock  jobs.Clock    // nil: the wall clock
	Log    *slog.Logger  // nil: the default logger
	Period time.Duration // between polls, whole seconds; 0: [DefaultPeriod]
	// Name tells schedulers apart in sectors' logs.
	Name string
	// Ranges are the sector numbers a miner may be given; a miner without an entry
	// gets the lowest free one.
	Ranges map[abi.ActorID][]sectors.Range
	// Synthetic are the miners whose new sectors get synthetic proofs unasked.
	Synthetic map[abi.ActorID]bool
}

// Scheduler looks at sectors and moves them on. Its methods may be called at the
// same time, by any number of schedulers.
type Scheduler struct {
	store     *sectors.Store
	queues    *queue.Queues
	chain     jobs.Chain
	policy    jobs.Policy
	clock     jobs.Clock
	log       *slog.Logger
	period    time.Duration
	by        string
	ranges    map[abi.ActorID][]sectors.Range
	synthetic map[abi.ActorID]bool
	metrics   *metrics
	// node is what the Filecoin node said last; it stands in while the node is away.
	node atomic.Pointer[node]
	// alarmed are the unreadable things that the log has named, by kind and name.
	alarmed sync.Map
}

// New makes a scheduler; [Scheduler.Run] starts it. One that is not running still
// answers [Scheduler.Add], [Scheduler.Order] and [Scheduler.Explain].
func New(o Options) (*Scheduler, error) {
	if o.Store == nil || o.Queues == nil || o.Chain == nil {
		return nil, errors.New("scheduler: store, queues and chain are all needed")
	}
	if o.Clock == nil {
		o.Clock = wallClock{}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Period == 0 {
		o.Period = DefaultPeriod
	}
	if o.Period < time.Second || o.Period%time.Second != 0 {
		return nil, fmt.Errorf("scheduler: period %s is not whole seconds: asynq's schedule has no finer step", o.Period)
	}
	if !jobs.ValidSlug(o.Name) {
		return nil, fmt.Errorf("scheduler: name %q is not a slug of a-z, 0-9 and -", o.Name)
	}
	return &Scheduler{
		store:     o.Store,
		queues:    o.Queues,
		chain:     o.Chain,
		policy:    o.Policy,
		clock:     o.Clock,
		log:       o.Log.With("scheduler", o.Name),
		period:    o.Period,
		by:        "scheduler/" + o.Name,
		ranges:    o.Ranges,
		synthetic: o.Synthetic,
		metrics:   newMetrics(),
	}, nil
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

// Run serves the poll and advance jobs and keeps queues, indexes and reservations
// in order until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	server, err := s.queues.ServeScheduler(queue.SchedulerOptions{
		Poll:    s.pollJob,
		Advance: s.Advance,
		Period:  s.period,
		Log:     s.log,
	})
	if err != nil {
		return fmt.Errorf("scheduler: serve queue %s: %w", jobs.SchedulerQueue, err)
	}
	defer server.Shutdown()
	var upkeep sync.WaitGroup
	defer upkeep.Wait()
	upkeep.Go(func() {
		err := s.queues.Maintenance(ctx, queue.MaintenanceOptions{Known: s.servedQueues, Period: s.period, Log: s.log})
		if err != nil && ctx.Err() == nil {
			s.log.Error("maintenance of queues ended: tasks of dead hosts are no longer recovered", "err", err)
		}
	})
	for _, chore := range s.chores() {
		upkeep.Go(func() { s.repeat(ctx, chore) })
	}
	<-ctx.Done()
	return nil
}
