package scheduler

import (
	"context"
	"time"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

const (
	// sweepEvery is how often each record is compared with the indexes.
	sweepEvery = 10 * time.Minute
	// sweepStep and sweepPause spread a sweep: 4,000 keys a second are read while it
	// lasts.
	sweepStep  = 1000
	sweepPause = 250 * time.Millisecond
	// spaceEvery is how often reservations are compared with records.
	spaceEvery = 2 * time.Minute
	// forgetEvery is how often the journal of messages is searched for what nothing depends on.
	forgetEvery = 6 * time.Hour
)

// chore is upkeep that one of many schedulers does once in a while.
type chore struct {
	name  string
	every time.Duration
	do    func(context.Context) error
}

func (s *Scheduler) chores() []chore {
	return []chore{
		{"sweep", sweepEvery, s.sweepIndexes},
		{"space", spaceEvery, s.sweepSpace},
		{"deals", s.period, s.PackDeals},
		{"messages", forgetEvery, s.forgetMessages},
	}
}

// repeat does a chore at once and then in every period whose turn this scheduler
// takes, until ctx ends.
func (s *Scheduler) repeat(ctx context.Context, c chore) {
	tick := time.NewTicker(min(c.every/4, s.period))
	defer tick.Stop()
	for {
		mine, err := s.takeTurn(ctx, c.name, c.every)
		if err == nil && mine {
			err = c.do(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("upkeep failed; it is done again at its next turn", "chore", c.name, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// servedQueues names the queues of live lanes: they are looked after before the
// first task appears in them.
func (s *Scheduler) servedQueues(ctx context.Context) ([]string, error) {
	workers, err := s.store.Workers(ctx)
	if err = s.known(err); err != nil {
		return nil, err
	}
	names := []string{jobs.SchedulerQueue}
	for _, w := range workers {
		for _, lane := range w.Lanes {
			for _, q := range lane.Queues(w.Host) {
				names = append(names, q.String())
			}
		}
	}
	return names, nil
}

// sweepIndexes compares every record with the indexes once.
func (s *Scheduler) sweepIndexes(ctx context.Context) error {
	var total sectors.Mended
	cursor := ""
	for {
		next, mended, err := s.store.Sweep(ctx, cursor, sweepStep)
		total.Add(mended)
		s.metrics.swept(mended)
		if err != nil {
			return err
		}
		if cursor = next; cursor == "" {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(sweepPause):
		}
	}
	if n := total.Due + total.Held + total.Done + total.Space + total.Names; n > 0 {
		s.log.Info("indexes mended", "records", total.Looked, "due", total.Due, "held", total.Held,
			"done", total.Done, "space", total.Space, "messages", total.Names)
	}
	return nil
}

func (s *Scheduler) sweepSpace(ctx context.Context) error {
	dropped, err := s.store.SweepSpace(ctx)
	if dropped > 0 {
		s.metrics.mended.WithLabelValues("reservation").Add(float64(dropped))
		s.log.Info("space given back that no sector needs", "reservations", dropped)
	}
	return err
}

// forgetful is a chain client that keeps a journal of what it sent.
type forgetful interface {
	Forget(ctx context.Context, ended func(context.Context, []jobs.SectorID) (map[jobs.SectorID]bool, error)) (int, error)
}

// forgetMessages has the journal of messages forget what nothing can depend on any more.
func (s *Scheduler) forgetMessages(ctx context.Context) error {
	journal, ok := s.chain.(forgetful)
	if !ok {
		return nil
	}
	n, err := journal.Forget(ctx, s.store.Ended)
	if n > 0 {
		s.log.Info("messages forgotten that no sector depends on", "entries", n)
	}
	return err
}

// alarm names what cannot be read in the log, each once: nothing else stops for it, so nobody
// would hear of it otherwise. nil is nothing.
func (s *Scheduler) alarm(unread *sectors.UnreadError) {
	if unread == nil {
		return
	}
	for i, name := range unread.Names {
		if _, before := s.alarmed.LoadOrStore(unread.Kind+" "+name, true); !before {
			s.log.Error("cannot be read and is left alone: a newer lpseal wrote it, so upgrade this one, or it is damaged", unread.Kind, name, "err", unread.Errs[i])
		}
	}
}

// known takes what cannot be read out of an error and names it in the log.
func (s *Scheduler) known(err error) error {
	unread, err := sectors.Unread(err)
	s.alarm(unread)
	return err
}
