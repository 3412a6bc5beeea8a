package scheduler

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// offer puts a sector that is ready for a message among those of its group, and
// leaves it there until a batch takes it.
func (s *Scheduler) offer(ctx context.Context, w *world, l *look, a jobs.Action, why jobs.Reason) error {
	c := s.candidate(l, a)
	group := l.record.GroupOf(c.Event.Stage)
	joined, err := s.store.Wait(ctx, group, l.record.ID, c.Fire.At)
	if err != nil {
		return err
	}
	if joined || !c.Fire.At.After(w.now) {
		w.touch(group)
	}
	return s.rest(ctx, l, jobs.Reason{Text: why.Text, Look: c.Fire.At})
}

func (s *Scheduler) candidate(l *look, a jobs.Action) jobs.Candidate {
	scheduled, ok := a.Event.(jobs.Scheduled)
	if !ok {
		panic("a batched action that schedules nothing") // Decide marks no other
	}
	return jobs.NewCandidate(l.record, scheduled, &l.facts, &s.policy)
}

// touchDue adds the groups in which somebody must go now.
func (s *Scheduler) touchDue(ctx context.Context, w *world) error {
	pending, err := s.store.Pending(ctx)
	if err != nil {
		return err
	}
	for _, p := range pending {
		if !p.First.After(w.now) || p.Sectors >= s.policy.Batch(p.Group.Stage).Max {
			w.touch(p.Group)
		}
	}
	return nil
}

// batchUp decides on the batches of the groups that were touched. One that cannot
// be formed does not stop the others.
func (s *Scheduler) batchUp(ctx context.Context, w *world) error {
	var errs []error
	for _, group := range w.touched() {
		if _, err := s.form(ctx, w, group, false); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Flush sends what waits in a group now, by an operator's order, and names the
// batches.
func (s *Scheduler) Flush(ctx context.Context, group jobs.Group) ([]string, error) {
	w, err := s.survey(ctx)
	if err != nil {
		return nil, fmt.Errorf("flush %s: %w", group, err)
	}
	names, err := s.form(ctx, w, group, true)
	if err != nil {
		return names, fmt.Errorf("flush %s: %w", group, err)
	}
	return names, nil
}

// form sends the batches of a group that should go now. One that cannot be formed does not
// stop the others.
func (s *Scheduler) form(ctx context.Context, w *world, group jobs.Group, flush bool) (names []string, err error) {
	candidates, looks, err := s.candidates(ctx, w, group)
	if err != nil {
		return nil, fmt.Errorf("batches of %s: %w", group, err)
	}
	plans, _ := jobs.DecideBatches(candidates, s.policy.Batch(group.Stage), w.now, flush)
	var errs []error
	for _, plan := range plans {
		name, err := s.send(ctx, w, group, plan, looks)
		if err != nil {
			errs = append(errs, fmt.Errorf("batches of %s: %w", group, err))
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return names, errors.Join(errs...)
}

// candidates reads who waits, and asks anew whether each still does: the index is a
// hint. Those that do not are taken out of it.
func (s *Scheduler) candidates(ctx context.Context, w *world, group jobs.Group) ([]jobs.Candidate, map[jobs.SectorID]*look, error) {
	ids, err := s.store.Waiting(ctx, group)
	if err != nil {
		return nil, nil, err
	}
	records, err := s.store.LoadMany(ctx, ids)
	var unreadable *sectors.UnreadableError
	if err != nil && !errors.As(err, &unreadable) {
		return nil, nil, err
	}
	var gone []jobs.SectorID
	for i, r := range records {
		if r == nil {
			gone = append(gone, ids[i])
		}
	}
	looked, err := s.gather(ctx, w, slices.DeleteFunc(records, func(r *jobs.Record) bool { return r == nil }))
	if err != nil {
		return nil, nil, err
	}
	var out []jobs.Candidate
	looks := map[jobs.SectorID]*look{}
	for _, l := range looked {
		a, _, err := s.decide(ctx, w, l)
		switch {
		case err != nil:
			s.log.Warn("a sector cannot join its batch now", "sector", l.record.ID.String(), "err", err)
		case waits(a, group.Stage):
			out = append(out, s.candidate(l, a))
			looks[l.record.ID] = l
		default:
			gone = append(gone, l.record.ID)
		}
	}
	return out, looks, s.store.Unwait(ctx, group, gone...)
}

func waits(a jobs.Action, stage jobs.Stage) bool {
	e, ok := a.Event.(jobs.Scheduled)
	return ok && a.Batched && e.Stage == stage
}

// send makes a plan a batch: planned, its members asked one by one, closed with
// those that accepted, enqueued (design rule 12). It may end after any step: what is
// not closed is dissolved, what is closed and not enqueued is delivered again.
func (s *Scheduler) send(ctx context.Context, w *world, group jobs.Group, plan jobs.BatchPlan, looks map[jobs.SectorID]*look) (string, error) {
	// Not the poll's own time: after a long one the batch would be born older than
	// [jobs.PlanPatience], and another scheduler would dissolve it at once.
	now := s.clock.Now()
	name := jobs.NewBatchID(now, strings.ToLower(rand.Text()[:8]))
	asked, planned := s.plan(ctx, w, name, plan, looks)
	if len(planned) == 0 {
		return "", nil
	}
	batch := &jobs.Batch{
		ID: name, Version: 1, Created: now, Group: group, Cause: plan.Cause, Members: planned,
		State: jobs.BatchPlanned, Since: now,
	}
	if err := s.store.CreateBatch(ctx, batch, s.by); err != nil {
		return "", err
	}
	crash.At(crash.Scheduler, group.Stage, crash.AfterPlan)
	var accepted []jobs.TaskRef
	for _, m := range asked {
		switch err := s.accept(ctx, w, name, m); {
		case err == nil:
			accepted = append(accepted, m.task)
			crash.At(crash.Scheduler, group.Stage, crash.AfterIntent)
		case ctx.Err() != nil:
			return "", err
		default:
			// Somebody else was faster, or this one cannot be written; the others go. Whether a
			// write without an answer was done is seen at the sector's next look: it is in no
			// batch that was closed.
			s.log.Info("a sector is left out of its batch", "sector", m.task.ID.String(), "batch", name, "why", err)
		}
	}
	if len(accepted) == 0 {
		_, err := s.store.ApplyBatch(ctx, batch, jobs.BatchDropped{Why: "no sector accepted"}, s.by, s.clock.Now())
		return "", err
	}
	batch, err := s.store.ApplyBatch(ctx, batch, jobs.MembersAccepted{Members: accepted}, s.by, s.clock.Now())
	if err != nil {
		return "", err
	}
	crash.At(crash.Scheduler, group.Stage, crash.AfterClose)
	s.log.Info("batch closed", "batch", name, "group", group.String(), "sectors", len(accepted), "cause", string(plan.Cause))
	if err := s.queues.EnqueueBatch(ctx, batch.Task()); err != nil {
		return "", fmt.Errorf("%w (the next poll delivers it again)", err)
	}
	return name, s.took(ctx, w, group, accepted)
}

// asked is a member of a batch that is planned.
type asked struct {
	*look
	task  jobs.TaskRef
	next  *jobs.Record
	event jobs.Event
}

// accept writes that a member is in the batch. A record that was written meanwhile is read and
// decided on anew, as ADR 1 has it: most often a worker has claimed drop_layers, which a c2 lets go
// just when its sector becomes the last that a batch waited for.
func (s *Scheduler) accept(ctx context.Context, w *world, name string, m asked) error {
	for reloads := 0; ; reloads++ {
		err := s.store.Write(ctx, m.record, m.next, m.event, s.by)
		if err == nil {
			s.metrics.wrote(m.record, m.next, m.event)
			m.follow(m.next)
			return nil
		}
		if !errors.Is(err, sectors.ErrConflict) || reloads == maxReloads {
			return err
		}
		if err := s.reload(ctx, w, m.look); err != nil {
			return err
		}
		a, _, err := s.decide(ctx, w, m.look)
		if err != nil {
			return err
		}
		again, err := s.ask(ctx, w, name, m.task.Stage, m.look, a)
		if err != nil {
			return err
		}
		if again.task != m.task {
			return fmt.Errorf("%s was planned and has become %s", m.task, again.task)
		}
		m = again
	}
}

// errNotWaiting says that something else is to be done with a sector than to send it with a batch.
var errNotWaiting = errors.New("it does not wait for a batch any more")

// ask asks the chain once more about a sector, before gas is spent on it, and gives its record
// as it will be in the batch.
func (s *Scheduler) ask(ctx context.Context, w *world, name string, stage jobs.Stage, l *look, a jobs.Action) (m asked, err error) {
	if jobs.Asks(l.record, &l.facts) {
		if a, _, err = s.decideOnChain(ctx, l); err != nil {
			return m, err
		}
	}
	if !waits(a, stage) {
		return m, errNotWaiting // its next look does what is to be done
	}
	next, err := jobs.Apply(l.record, a.In(name), w.now)
	if err != nil {
		s.log.Error("decided on a step that its own rules refuse", "sector", l.record.ID.String(), "err", err)
		return m, err
	}
	return asked{l, next.Task(stage), next, a.In(name)}, nil
}

// plan gives the members as they will be in the batch.
func (s *Scheduler) plan(ctx context.Context, w *world, name string, plan jobs.BatchPlan, looks map[jobs.SectorID]*look) (out []asked, refs []jobs.TaskRef) {
	for _, c := range plan.Members {
		m, err := s.ask(ctx, w, name, c.Event.Stage, looks[c.Record.ID], jobs.Action{Event: c.Event, Batched: true})
		if err != nil {
			s.log.Info("a sector is left out of its batch", "sector", c.Record.ID.String(), "batch", name, "why", err)
			continue
		}
		out = append(out, m)
		refs = append(refs, m.task)
	}
	return out, refs
}

// took follows up on members: they wait for a message now, and are looked at soon.
func (s *Scheduler) took(ctx context.Context, w *world, group jobs.Group, members []jobs.TaskRef) error {
	if err := s.setDue(ctx, members, w.now.Add(s.policy.Look)); err != nil {
		return err
	}
	ids := make([]jobs.SectorID, len(members))
	for i, m := range members {
		ids[i] = m.ID
	}
	return s.store.Unwait(ctx, group, ids...)
}

func (s *Scheduler) setDue(ctx context.Context, members []jobs.TaskRef, at time.Time) error {
	for _, m := range members {
		if err := s.store.SetDue(ctx, m.ID, at); err != nil {
			return err
		}
	}
	return nil
}

// tendBatches keeps closed batches moving, and gives up those that were never closed. One
// that cannot be read or tended does not stop the others.
func (s *Scheduler) tendBatches(ctx context.Context, w *world) error {
	open, err := s.store.OpenBatches(ctx, w.now)
	unread, err := sectors.Unread(err)
	if err != nil {
		return err
	}
	s.alarm(unread)
	if unread != nil {
		for _, name := range unread.Names {
			w.batches[name] = nil
		}
	}
	refs := make([]queue.Ref, len(open))
	for i, b := range open {
		refs[i] = queue.Ref{Task: b.Task(), Queue: string(jobs.ClassChain)}
	}
	states, err := s.queues.States(ctx, refs)
	if err != nil {
		return fmt.Errorf("read the states of %d batches: %w", len(open), err)
	}
	for i, b := range open {
		w.batches[b.ID] = b
		young := b.Since.After(w.now.Add(-youth))
		state := states[i]
		if state == jobs.TaskActiveDead && b.State == jobs.BatchRunning {
			state = jobs.TaskActive // it was claimed: the heartbeats tell
		}
		switch {
		case state == jobs.TaskAbsent && young:
			continue // its scheduler is about to enqueue it
		case state == jobs.TaskActive && b.State == jobs.BatchRunning && !young && !w.lives(b.Worker):
			state = jobs.TaskActiveDead
		}
		if err := s.tendBatch(ctx, w, b, state); err != nil {
			if ctx.Err() != nil {
				return err
			}
			s.log.Error("a batch could not be tended; the next poll tries again", "batch", b.ID, "err", err)
		}
	}
	return nil
}

func (s *Scheduler) tendBatch(ctx context.Context, w *world, b *jobs.Batch, state jobs.TaskState) error {
	e := jobs.DecideBatch(b, state, w.now)
	if e == nil {
		return nil
	}
	delete(w.batches, b.ID) // whoever asks reads what it has become
	next, err := s.store.ApplyBatch(ctx, b, e, s.by, w.now)
	if errors.Is(err, sectors.ErrConflict) || errors.Is(err, jobs.ErrStale) {
		return nil // another scheduler tends it
	}
	if err != nil {
		return err
	}
	s.log.Warn(e.String(), "batch", b.ID)
	if !next.Open() {
		return s.setDue(ctx, next.Members, w.now) // free again, and looked at in this poll
	}
	return s.queues.EnqueueBatch(ctx, next.Task())
}

// explainBatch says what a sector's batch waits for.
func (s *Scheduler) explainBatch(ctx context.Context, l *look, a jobs.Action, why jobs.Reason) (jobs.Reason, error) {
	c := s.candidate(l, a)
	group := l.record.GroupOf(c.Event.Stage)
	pending, err := s.store.Pending(ctx)
	if err != nil {
		return why, err
	}
	others, first := 0, c.Fire.At
	for _, p := range pending {
		if p.Group == group {
			others = p.Sectors
			if p.First.Before(first) {
				first = p.First
			}
		}
	}
	why.Text = fmt.Sprintf("%s waits for its batch: %d of at most %d sectors of %s are ready, and it goes at %s at the latest (%s)",
		c.Event.Stage, max(others, 1), s.policy.Batch(group.Stage).Max, group, first.UTC().Format("15:04:05"), c.Fire.Cause)
	why.Look = first
	return why, nil
}
