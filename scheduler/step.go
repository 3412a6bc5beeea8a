package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

const (
	// maxSteps bounds one look. A sector that needs more goes in circles.
	maxSteps = 32
	// maxReloads bounds how often a look starts again because somebody else wrote.
	maxReloads = 8
)

// settled is how a look ended.
type settled struct {
	acted     int // steps performed
	conflicts int // compare-and-sets lost
	held      bool
}

// settle performs steps until the sector waits, and says when to look again.
func (s *Scheduler) settle(ctx context.Context, w *world, l *look) (settled, error) {
	var done settled
	for range maxSteps {
		a, why, err := s.decide(ctx, w, l)
		if err != nil {
			return done, err
		}
		if a.Batched {
			return done, s.offer(ctx, w, l, a, why)
		}
		if a.Event == nil || repeats(l.record, a.Event) {
			done.held = l.record.Hold != nil
			return done, s.rest(ctx, l, why)
		}
		switch err := s.perform(ctx, w, l, a); {
		case errors.Is(err, sectors.ErrNoSpace):
			// Another sector took the space; the path counts as full now.
		case errors.Is(err, sectors.ErrConflict), errors.Is(err, sectors.ErrUnknown):
			if done.conflicts++; done.conflicts > maxReloads {
				return done, fmt.Errorf("%s is written to faster than it can be decided on: %w", l.record.ID, err)
			}
			if err := s.reload(ctx, w, l); err != nil {
				return done, err
			}
		case err != nil:
			return done, err
		default:
			done.acted++
		}
	}
	return done, fmt.Errorf("%s did not come to rest in %d steps, the last to %s", l.record.ID, maxSteps, s.lastStep(ctx, w, l))
}

// repeats says that a step would hold the sector for what it is held for already,
// which is waiting by another name.
func repeats(r *jobs.Record, e jobs.Event) bool {
	again, ok := e.(jobs.Held)
	return ok && r.Hold != nil && r.Hold.Reason == again.Hold.Reason && r.Hold.Stage == again.Hold.Stage
}

func (s *Scheduler) lastStep(ctx context.Context, w *world, l *look) string {
	if a, _, err := s.decide(ctx, w, l); err == nil && a.Event != nil {
		return a.Event.String()
	}
	return "nothing"
}

// reload looks at the sector anew, after another scheduler or a worker wrote.
func (s *Scheduler) reload(ctx context.Context, w *world, l *look) error {
	r, err := s.store.Load(ctx, l.record.ID)
	if err != nil {
		return fmt.Errorf("read %s again: %w", l.record.ID, err)
	}
	fresh, err := s.gather(ctx, w, []*jobs.Record{r})
	if err != nil {
		return err
	}
	*l = *fresh[0]
	return nil
}

// perform does one step. What must be true before the record says so (space, the
// chain's randomness) comes before the write; the task comes after it.
func (s *Scheduler) perform(ctx context.Context, w *world, l *look, a jobs.Action) error {
	before, event := l.record, a.Event
	switch e := event.(type) {
	case jobs.Placed:
		if err := s.reserve(ctx, w, before, e.Path); err != nil {
			return err
		}
	case jobs.Scheduled:
		if a.Draw != jobs.DrawNothing {
			drawn, err := s.draw(ctx, w, before, a.Draw)
			if err != nil {
				return err
			}
			e.Drawn = &drawn
			event = e
		}
	}
	next, err := jobs.Apply(before, event, w.now)
	if err != nil {
		return fmt.Errorf("decided on a step that its own rules refuse: %w", err)
	}
	if err := s.store.Write(ctx, before, next, event, s.by); err != nil {
		return fmt.Errorf("write %s: %w", before.ID, err)
	}
	l.follow(next)
	s.metrics.wrote(before, next, event)
	s.log.Info(event.String(), "sector", next.ID.String(), "miner", uint64(next.ID.Miner))
	switch e := event.(type) {
	case jobs.Scheduled:
		crash.At(crash.Scheduler, e.Stage, crash.AfterIntent)
		return s.enqueue(ctx, w, l, before, e)
	case jobs.Finished:
		return s.release(ctx, next)
	}
	return nil
}

func (s *Scheduler) enqueue(ctx context.Context, w *world, l *look, before *jobs.Record, e jobs.Scheduled) error {
	task := l.record.Task(e.Stage)
	if err := s.queues.Enqueue(ctx, e.Queue, task); err != nil {
		return fmt.Errorf("enqueue %s on %s (the next look delivers it again): %w", task, e.Queue, err)
	}
	w.enqueued(e.Queue)
	if old := before.Stage(e.Stage).Queue; e.Again && old != e.Queue.String() {
		// The delivery it replaces would be refused as stale; it only fills the queue
		// that nobody serves.
		if err := s.queues.Delete(ctx, old, before.Task(e.Stage)); err != nil {
			s.log.Debug("a superseded task stays in its queue", "task", before.Task(e.Stage).String(), "queue", old, "err", err)
		}
	}
	return nil
}

// reserve promises space on a path before the record names it, so that no moment
// exists in which a sector has a home without room (design rule 9).
func (s *Scheduler) reserve(ctx context.Context, w *world, r *jobs.Record, path string) error {
	need := jobs.SealingSpace(r.Proof)
	err := s.store.Reserve(ctx, path, r.ID, need, w.path(path).Capacity)
	switch {
	case errors.Is(err, sectors.ErrNoSpace):
		w.full(path)
		return err
	case err != nil:
		return fmt.Errorf("reserve %d bytes of path %s for %s: %w", need, path, r.ID, err)
	}
	w.reserved(path, need)
	return nil
}

// release gives the sealing path's space back. It may be done twice.
func (s *Scheduler) release(ctx context.Context, r *jobs.Record) error {
	if r.Home == "" {
		return nil
	}
	if err := s.store.Release(ctx, r.Home, r.ID); err != nil {
		return fmt.Errorf("release the space of %s on path %s (the space sweep does it later): %w", r.ID, r.Home, err)
	}
	return nil
}

// draw gets the randomness a stage will be bound to.
func (s *Scheduler) draw(ctx context.Context, w *world, r *jobs.Record, what jobs.Draw) (jobs.Randomness, error) {
	ask, epoch := s.chain.Ticket, w.head.Epoch-s.policy.TicketLookback
	if what == jobs.DrawSeed {
		ask, epoch = s.chain.Seed, abi.ChainEpoch(r.SeedEpoch(&w.network))
	}
	value, err := ask(ctx, r.ID.Miner, epoch)
	if err != nil {
		return jobs.Randomness{}, fmt.Errorf("draw the %s of %s at epoch %d: %w", what, r.ID, epoch, err)
	}
	return jobs.Randomness{Epoch: epoch, Value: value, At: w.head.Epoch}, nil
}

// rest says when the sector is looked at again.
func (s *Scheduler) rest(ctx context.Context, l *look, why jobs.Reason) error {
	r := l.record
	if r.Outcome != jobs.Open {
		return nil // the terminal write took it out of the index
	}
	if r.Stage(jobs.Finalize).State == jobs.Done {
		if err := s.release(ctx, r); err != nil {
			return err
		}
	}
	if err := s.store.SetDue(ctx, r.ID, s.nextLook(r, l.facts.Now, why)); err != nil {
		return fmt.Errorf("set the next look at %s: %w", r.ID, err)
	}
	return nil
}

// longestRest is how long a sector is not looked at, whatever it waits for.
const longestRest = sectors.Horizon / 2

// nextLook is the reason's own time. Without one a sector is looked at the more
// seldom the longer nothing has happened to it, so that thousands that wait for
// space cost little; one with a task is looked at often, because only looking finds
// a dead host.
func (s *Scheduler) nextLook(r *jobs.Record, now time.Time, why jobs.Reason) time.Time {
	soon, late := now.Add(s.policy.Look), now.Add(longestRest)
	quiet, tasks := now.Sub(r.Created), false
	for _, sr := range r.Stages {
		quiet = min(quiet, now.Sub(sr.Since))
		tasks = tasks || sr.State == jobs.Queued || sr.State == jobs.Running
	}
	at := why.Look
	switch {
	case tasks && (at.IsZero() || at.After(soon)), at.IsZero() && quiet < 0:
		return soon
	case at.IsZero():
		return now.Add(min(max(quiet/8, s.policy.Look), 10*s.policy.Look))
	case !at.After(now):
		return soon
	case at.After(late):
		return late
	}
	return at
}
