package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

var (
	// errCalledOff: an abort, a newer fence or a newer attempt. The work is killed.
	errCalledOff = fmt.Errorf("called off: %w", jobs.ErrStale)
	// errSuperseded: a later claim has the same work. It is left to that one.
	errSuperseded = fmt.Errorf("claimed again: %w", jobs.ErrStale)
)

// lockPatience is how long a delivery waits for a sector's locks: an old child that
// was just called off needs a moment to die.
const lockPatience = 10 * time.Second

// delivery is one task in the hands of a lane.
type delivery struct {
	w      *Worker
	lane   *lane
	task   jobs.TaskRef
	row    *jobs.Row
	log    *slog.Logger
	claim  int
	before jobs.StageRecord // the stage as it was claimed
	record *jobs.Record
}

// deliver claims, runs and completes.
func (d *delivery) deliver(ctx context.Context) error {
	crash.At(crash.Worker, d.task.Stage, crash.BeforeClaim)
	start := d.w.Clock.Now()
	if d.row.Heavy {
		if err := d.queueUp(ctx); err != nil {
			return err
		}
	}
	if err := d.take(ctx, start); err != nil {
		return err
	}
	crash.At(crash.Worker, d.task.Stage, crash.AfterClaim)
	d.log.Info("claimed", "claim", d.claim)

	o, err := d.run(ctx)
	if err != nil {
		return err
	}
	crash.At(crash.Worker, d.task.Stage, crash.AfterRename)
	d.lane.judge(o)
	if err := d.complete(ctx, o); err != nil {
		return err
	}
	d.w.metrics.ended(d.task, d.lane.decl, o, d.w.Clock.Now().Sub(start))
	crash.At(crash.Worker, d.task.Stage, crash.AfterCompletion)
	if err := d.w.Queues.Advance(ctx, d.task.ID, d.record.Version); err != nil {
		d.log.Warn("advance was not enqueued; the poll finds the sector", "err", err)
	}
	return nil
}

// take claims the stage for this delivery, which came at start.
func (d *delivery) take(ctx context.Context, start time.Time) error {
	queued, err := d.w.Store.Load(ctx, d.task.ID)
	if err != nil {
		return recordError{err}
	}
	if err := d.apply(ctx, jobs.Claimed{Task: d.task, Worker: d.w.owner}); err != nil {
		return err
	}
	d.w.metrics.waited(d.task, d.lane.decl, queued.Stage(d.task.Stage), start)
	d.before = d.record.Stage(d.task.Stage)
	d.claim = d.before.Claim
	return nil
}

// recordError is an error of the record: its answer to an event, or that it gave
// none. It is never the sector's fault.
type recordError struct{ error }

func (e recordError) Unwrap() error { return e.error }

// answered says that the record will not take the event, now or later.
func answered(err error) bool {
	return errors.Is(err, jobs.ErrStale) || errors.Is(err, jobs.ErrRefused) || errors.Is(err, sectors.ErrNotFound) || errors.Is(err, sectors.ErrNoBatch)
}

// apply writes an event and keeps the record that it makes.
func (d *delivery) apply(ctx context.Context, e jobs.Event) error {
	r, err := d.w.Store.Apply(ctx, d.task.ID, e, d.w.owner, d.w.Clock.Now())
	if err != nil {
		return recordError{err}
	}
	d.record = r
	return nil
}

// run does the work. An error means that nothing is known of how it ends.
func (d *delivery) run(ctx context.Context) (outcome, error) {
	if d.row.Heavy {
		return d.supervise(ctx)
	}
	return d.perform(ctx)
}

// complete writes how the work ended, until the record has answered. Both answers
// end the delivery; while there is none, the same event is repeated, which is
// accepted (design rule 3).
func (d *delivery) complete(ctx context.Context, o outcome) error {
	var e jobs.Event
	if o.fault != nil {
		d.log.Warn("fault", "class", string(o.fault.Class), "text", o.fault.Text)
		e = jobs.Failed{Task: d.task, Claim: d.claim, Fault: *o.fault}
	} else {
		e = jobs.Completed{Task: d.task, Claim: d.claim, Result: *o.result}
	}
	for {
		err := d.apply(ctx, e)
		if err == nil || answered(err) {
			return err
		}
		d.log.Warn("the record did not answer; asking again", "err", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("complete: %w", err)
		case <-time.After(d.w.Child.Poll):
		}
	}
}

// perform runs a light stage in this process.
func (d *delivery) perform(ctx context.Context) (outcome, error) {
	lock, o, err := d.lock(ctx, time.Now().Add(lockPatience))
	if lock == nil {
		return o, err
	}
	defer lock.Unlock()
	called, end := context.WithCancelCause(ctx)
	defer end(nil)
	go d.follow(called, end)

	limit := d.w.Child.Deadline(d.row)
	timed, cancel := context.WithTimeout(called, limit)
	defer cancel()
	env := *d.w.Env(d.lane.decl)
	env.Progress = throttle(progressEvery, func(p jobs.Progress) { d.progress(ctx, p) })
	res, err := do(timed, d.row, instrument(&env, crash.Worker, d.row.Stage), d.record)
	switch {
	case err == nil:
		return outcome{result: res}, nil
	case errors.Is(context.Cause(called), jobs.ErrStale):
		return outcome{}, context.Cause(called)
	case timed.Err() != nil && called.Err() == nil:
		return failed(overdue(d.row.Stage, limit)), nil
	}
	fault, ok := classify(ctx, err)
	if !ok {
		return outcome{}, err
	}
	return failed(fault), nil
}

func overdue(s jobs.Stage, limit time.Duration) *jobs.Fault {
	return jobs.Failf(jobs.Transient, "%s did not end within %s and was stopped", s, limit)
}

// lock takes the sector's locks and reads the record again: what an abort or a
// roll-back called off meanwhile must not touch the sector's files (design rule 8).
// Until the deadline it waits for locks that others hold. No lock means that o or err says why.
func (d *delivery) lock(ctx context.Context, deadline time.Time) (lock *files.Lock, o outcome, err error) {
	// A recovery stage and finalize move the sector's files away under whoever
	// reads them.
	wipes := d.row.Recovery || d.row.Stage == jobs.Finalize
	for {
		lock, err = d.w.Files.Lock(d.record, d.row.Stage, wipes)
		if err == nil {
			break
		}
		fault, ok := classify(ctx, err)
		if !ok {
			return nil, o, err
		}
		if fault.Class != jobs.Busy || time.Now().After(deadline) {
			return nil, outcome{fault: fault, alien: true}, nil
		}
		select {
		case <-ctx.Done():
			return nil, o, context.Cause(ctx)
		case <-time.After(d.w.Child.Poll):
		}
	}
	r, err := d.w.Store.Load(ctx, d.task.ID)
	if err == nil {
		err = d.wanted(r)
	}
	if err != nil {
		lock.Unlock()
		return nil, o, err
	}
	d.record = r
	return lock, o, nil
}

// wanted says whether this claim's work is still wanted: nil, errCalledOff or
// errSuperseded.
func (d *delivery) wanted(r *jobs.Record) error {
	sr := r.Stage(d.task.Stage)
	switch {
	case sr.Fence != d.task.Fence || sr.Attempt != d.task.Attempt:
		return errCalledOff
	case sr.Claim != d.claim || sr.State != jobs.Running && sr.State != jobs.Queued:
		return errSuperseded
	}
	return nil
}

// look reads the record: the work may have been called off.
func (d *delivery) look(ctx context.Context) error {
	r, err := d.w.Store.Load(ctx, d.task.ID)
	if err != nil {
		// An unreadable record calls nothing off; a lost lease will end ctx.
		d.log.Debug("the record cannot be read", "err", err)
		return nil
	}
	return d.wanted(r)
}

// follow ends a light stage that is called off.
func (d *delivery) follow(ctx context.Context, end context.CancelCauseFunc) {
	tick := time.NewTicker(d.w.Child.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := d.look(ctx); err != nil {
			end(err)
			return
		}
	}
}

// progress is told as it comes; losing a line harms nobody.
func (d *delivery) progress(ctx context.Context, p jobs.Progress) {
	if err := d.w.Store.SetProgress(ctx, d.task.ID, d.task.Stage, p); err != nil {
		d.log.Debug("progress", "err", err)
	}
}

// freshen draws the ticket again if it grew old while the task waited, and no layer
// of it exists yet (design rule 5). Its redraw is not counted.
func (d *delivery) freshen(ctx context.Context) error {
	if d.row.Draw != jobs.DrawTicket || d.record.PreCommitted() {
		return nil
	}
	chain := d.w.Env(d.lane.decl).Chain
	head, err := chain.Head(ctx)
	if err != nil {
		return fmt.Errorf("is the ticket still fresh: %w", err)
	}
	if head.Epoch-d.record.Ticket.At <= d.w.Policy.TicketFresh {
		return nil
	}
	started, err := d.w.Files.Started(ctx, d.record)
	if started || err != nil {
		return err
	}
	epoch := head.Epoch - d.w.Policy.TicketLookback
	value, err := chain.Ticket(ctx, d.task.ID.Miner, epoch)
	if err != nil {
		return fmt.Errorf("draw the ticket again: %w", err)
	}
	return d.apply(ctx, jobs.TicketRedrawn{Task: d.task, Claim: d.claim, Ticket: jobs.Randomness{Epoch: epoch, Value: value, At: head.Epoch}})
}

// compareSeed sees that the chain still has the seed that the proof would answer, before
// minutes of a GPU go into it. A node that is away stops no proof: commit compares again.
func (d *delivery) compareSeed(ctx context.Context) error {
	if d.task.Stage != jobs.C2 {
		return nil
	}
	err := jobs.SeedHolds(ctx, d.w.Env(d.lane.decl).Chain, d.record, d.record.Seed.Epoch)
	var changed *jobs.Fault
	if errors.As(err, &changed) && changed.Class == jobs.Input {
		return err
	}
	if err != nil {
		d.log.Warn("the proof is made without comparing its seed with the chain's", "err", err)
	}
	return nil
}
