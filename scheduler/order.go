package scheduler

import (
	"context"
	"errors"
	"fmt"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// Order carries out an operator's order: Held, Released, Aborted, AbandonOrdered,
// DealsDropped, or RolledBack with ByOrder (retry from a stage). by names who ordered, for the
// sector's log. What follows from it is the next look's affair, which is asked for
// at once. An order that the sector's state does not allow is jobs.ErrRefused.
func (s *Scheduler) Order(ctx context.Context, id jobs.SectorID, order jobs.Event, by string) error {
	switch e := order.(type) {
	case jobs.Held, jobs.Released, jobs.Aborted, jobs.AbandonOrdered, jobs.DealsDropped:
	case jobs.RolledBack:
		if !e.ByOrder {
			return fmt.Errorf("order %s: %w: a roll-back of an operator must say so", id, jobs.ErrRefused)
		}
	default:
		return fmt.Errorf("order %s: %w: %q is not an operator's to order", id, jobs.ErrRefused, order)
	}
	r, err := s.obey(ctx, id, order, by)
	if err != nil {
		return fmt.Errorf("order: %w", err) // which names the sector
	}
	if r.Abandoned && r.Home == "" {
		// What the next look would do, for whoever ordered to see.
		if r, err = s.obey(ctx, id, jobs.Finished{Outcome: jobs.Removed}, by); err != nil {
			return fmt.Errorf("remove %s: %w", id, err)
		}
	}
	if err := s.queues.Advance(ctx, id, r.Version); err != nil {
		s.log.Warn("the order is written; the next poll acts on it", "sector", id.String(), "err", err)
	}
	return nil
}

// obey writes an order, anew for as long as somebody else is faster.
func (s *Scheduler) obey(ctx context.Context, id jobs.SectorID, order jobs.Event, by string) (*jobs.Record, error) {
	for range maxReloads {
		r, err := s.store.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		next, err := jobs.Apply(r, order, s.clock.Now())
		if err != nil {
			return nil, err
		}
		if err := s.mayLand(ctx, r, next); err != nil {
			return nil, err
		}
		if err = s.store.Write(ctx, r, next, order, by); err == nil {
			return next, nil
		} else if !errors.Is(err, sectors.ErrConflict) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("it is written to faster than it can be ordered: %w", sectors.ErrConflict)
}

// mayLand refuses an order that would allow a second message while a first one may
// still land (design rule 4): the deposit or pledge would be paid twice.
func (s *Scheduler) mayLand(ctx context.Context, r, next *jobs.Record) error {
	for _, stage := range messageStages {
		if !mayBeSent(r, stage) || next.Meaning(stage) == r.Meaning(stage) {
			continue
		}
		m, err := s.chain.Messages(ctx, []jobs.Meaning{r.Meaning(stage)})
		if err != nil {
			return fmt.Errorf("ask whether a %s message is under way: %w", stage, err)
		}
		if m[0].Unknown != nil {
			return fmt.Errorf("ask whether a %s message is under way: %w", stage, m[0].Unknown)
		}
		if state := m[0].State; r.Stage(stage).State == jobs.Running || state != jobs.MessageNone && !state.Terminal() {
			return fmt.Errorf("%w: a %s message is under way and may still land; hold the sector and try again when it has", jobs.ErrRefused, stage)
		}
	}
	return nil
}
