package scheduler

import (
	"context"
	"fmt"

	"github.com/lpseal/lpseal/jobs"
)

// Order carries out an operator's order: Held, Released, Aborted, AbandonOrdered,
// or RolledBack with ByOrder (retry from a stage). by names who ordered, for the
// sector's log. What follows from it is the next look's affair, which is asked for
// at once. An order that the sector's state does not allow is jobs.ErrRefused.
func (s *Scheduler) Order(ctx context.Context, id jobs.SectorID, order jobs.Event, by string) error {
	switch e := order.(type) {
	case jobs.Held, jobs.Released, jobs.Aborted, jobs.AbandonOrdered:
	case jobs.RolledBack:
		if !e.ByOrder {
			return fmt.Errorf("order %s: %w: a roll-back of an operator must say so", id, jobs.ErrRefused)
		}
	default:
		return fmt.Errorf("order %s: %w: %q is not an operator's to order", id, jobs.ErrRefused, order)
	}
	r, err := s.store.Apply(ctx, id, order, by, s.clock.Now())
	if err != nil {
		return fmt.Errorf("order %s: %w", id, err)
	}
	if r.Abandoned && r.Home == "" {
		// Nothing of it was put anywhere, so there is nothing that a job could remove.
		if r, err = s.store.Apply(ctx, id, jobs.Finished{Outcome: jobs.Removed}, by, s.clock.Now()); err != nil {
			return fmt.Errorf("remove %s: %w", id, err)
		}
	}
	if err := s.queues.Advance(ctx, id, r.Version); err != nil {
		s.log.Warn("the order is written; the next poll acts on it", "sector", id.String(), "err", err)
	}
	return nil
}
