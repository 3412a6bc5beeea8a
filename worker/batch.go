package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// batchWidth is how many members' records are written at a time.
const batchWidth = 16

// batch is one batch's task in the hands of a lane. The claim is on the batch; each
// member's record takes a claim and an answer of its own, so that a member that is
// not wanted any more, or was answered for by an earlier delivery, is left out
// (design rule 12).
type batch struct {
	w     *Worker
	lane  *lane
	task  jobs.BatchRef
	row   *jobs.Row
	log   *slog.Logger
	claim int
}

func (b *batch) deliver(ctx context.Context) error {
	crash.At(crash.Worker, b.task.Stage, crash.BeforeClaim)
	start := b.w.Clock.Now()
	claimed, err := b.apply(ctx, func(*jobs.Batch) jobs.BatchEvent {
		return jobs.BatchClaimed{Task: b.task, Worker: b.w.owner}
	})
	if err != nil {
		return err
	}
	b.claim = claimed.Claim
	members, err := b.claimMembers(ctx, claimed.Members, start)
	if err != nil {
		return err
	}
	crash.At(crash.Worker, b.task.Stage, crash.AfterClaim)
	b.log.Info("claimed", "claim", b.claim, "sectors", len(members))
	var outcomes []outcome
	if len(members) > 0 {
		if outcomes, err = b.send(ctx, members); err != nil {
			return err
		}
	}
	crash.At(crash.Worker, b.task.Stage, crash.AfterPush)
	note, err := b.complete(ctx, members, outcomes, start)
	if err != nil {
		return err
	}
	crash.At(crash.Worker, b.task.Stage, crash.AfterCompletion)
	if _, err := b.apply(ctx, func(*jobs.Batch) jobs.BatchEvent { return jobs.BatchEnded{Claim: b.claim, Note: note} }); err != nil {
		return err
	}
	b.log.Info("done", "note", note)
	for _, d := range members {
		if err := b.w.Queues.Advance(ctx, d.task.ID, d.record.Version); err != nil {
			b.log.Warn("advance was not enqueued; the poll finds the sector", "sector", d.task.ID.String(), "err", err)
		}
	}
	return nil
}

// apply reads the batch and writes an event, anew while somebody else was faster.
func (b *batch) apply(ctx context.Context, event func(*jobs.Batch) jobs.BatchEvent) (*jobs.Batch, error) {
	for {
		now, err := b.w.Store.Batch(ctx, b.task.Batch)
		if err != nil {
			return nil, recordError{err}
		}
		next, err := b.w.Store.ApplyBatch(ctx, now, event(now), b.w.owner, b.w.Clock.Now())
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, sectors.ErrConflict) || ctx.Err() != nil {
			return nil, recordError{err}
		}
	}
}

// claimMembers claims for every member that still wants it.
func (b *batch) claimMembers(ctx context.Context, refs []jobs.TaskRef, start time.Time) ([]*delivery, error) {
	claimed := make([]*delivery, len(refs))
	var group errgroup.Group
	group.SetLimit(batchWidth)
	for i, ref := range refs {
		group.Go(func() error {
			d := b.lane.delivery(ref)
			switch err := d.take(ctx, start); {
			case err == nil:
			case answered(err), errors.As(err, new(*sectors.UnreadableError)):
				// A record that cannot be read may be a newer lpseal's; the others go without it.
				d.log.Info("left out of its batch", "batch", b.task.Batch, "why", err)
				return nil
			default:
				return err
			}
			claimed[i] = d
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(claimed, func(d *delivery) bool { return d == nil }), nil
}

// send does the stage's work for all members. What goes wrong with the message as a
// whole is every member's fault; an error means that nothing is known.
func (b *batch) send(ctx context.Context, members []*delivery) ([]outcome, error) {
	limit := b.w.Child.Deadline(b.row)
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	records := make([]*jobs.Record, len(members))
	for i, d := range members {
		records[i] = d.record
	}
	env := *b.w.Env(b.lane.decl)
	env.Progress = func(jobs.Progress) {} // a message is sent before anybody could watch
	sent, err := doBatch(timed, b.row, instrument(&env, crash.Worker, b.row.Stage), b.task.Batch, records)
	out := make([]outcome, len(members))
	if err != nil {
		fault, ok := classify(ctx, err)
		if timed.Err() != nil && ctx.Err() == nil {
			fault, ok = overdue(b.row.Stage, limit), true
		}
		if !ok {
			return nil, err
		}
		for i := range out {
			out[i] = failed(fault)
		}
		return out, nil
	}
	for i, s := range sent {
		if s.Fault != nil {
			out[i] = failed(s.Fault)
		} else {
			out[i] = outcome{result: &jobs.Result{Message: s.Message}}
		}
	}
	return out, nil
}

// doBatch is do for a batch.
func doBatch(ctx context.Context, row *jobs.Row, env *jobs.Env, name string, rs []*jobs.Record) (sent []jobs.Sent, err error) {
	defer func() {
		if p := recover(); p != nil {
			sent, err = nil, panicked(p)
		}
	}()
	return row.DoBatch(ctx, env, name, rs)
}

// complete writes each member's answer and says what became of them all.
func (b *batch) complete(ctx context.Context, members []*delivery, outcomes []outcome, start time.Time) (note string, err error) {
	var group errgroup.Group
	group.SetLimit(batchWidth)
	sent, message := 0, ""
	for i, d := range members {
		if r := outcomes[i].result; r != nil {
			sent, message = sent+1, r.Message
		}
		group.Go(func() error {
			switch err := d.complete(ctx, outcomes[i]); {
			case err == nil:
			case answered(err):
				d.log.Info("not wanted", "why", err)
				return nil
			default:
				return err
			}
			b.w.metrics.ended(d.task, b.lane.decl, outcomes[i], b.w.Clock.Now().Sub(start))
			return nil
		})
	}
	note = fmt.Sprintf("%d of %d sectors sent", sent, len(members))
	if message != "" {
		note += " in " + message
	}
	return note, group.Wait()
}
