package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// messageStages are the stages whose work is a message.
var messageStages = []jobs.Stage{jobs.PreCommit, jobs.Commit}

// youth is for how long after a write the facts around it are not believed: a
// scheduler may be between an intent and its task, and a worker may have joined and
// claimed after the live ones were read. A needless second delivery would do no
// harm, only noise.
const youth = 2 * time.Second

// look is one sector being looked at.
type look struct {
	record *jobs.Record
	facts  jobs.Facts
	// unasked is why the node could not be asked about the sector's messages. What
	// is in flight is then not known, and nothing may be decided.
	unasked error
}

// slot is where the answer to a bulk question belongs.
type slot struct {
	*look
	stage jobs.Stage
}

// gather reads in bulk what is true of the sectors outside their records.
func (s *Scheduler) gather(ctx context.Context, w *world, records []*jobs.Record) ([]*look, error) {
	looks := make([]*look, len(records))
	for i, r := range records {
		looks[i] = &look{record: r, facts: jobs.Facts{
			Messages: map[jobs.Stage]jobs.Message{},
			Tasks:    map[jobs.Stage]jobs.TaskState{},
		}}
		w.see(&looks[i].facts)
	}
	s.askMessages(ctx, looks)
	if err := s.readBatches(ctx, w, looks); err != nil {
		return nil, err
	}
	return looks, s.readTasks(ctx, w, looks)
}

func (s *Scheduler) readTasks(ctx context.Context, w *world, looks []*look) error {
	var slots []slot
	var refs []queue.Ref
	for _, l := range looks {
		for stage, sr := range l.record.Stages {
			if (sr.State == jobs.Queued || sr.State == jobs.Running) && sr.Batch == "" {
				slots = append(slots, slot{l, stage})
				refs = append(refs, queue.Ref{Task: l.record.Task(stage), Queue: sr.Queue})
			}
		}
	}
	if len(refs) == 0 {
		return nil
	}
	states, err := s.queues.States(ctx, refs)
	if err != nil {
		return fmt.Errorf("read the states of %d tasks: %w", len(refs), err)
	}
	for i, at := range slots {
		at.facts.Tasks[at.stage] = w.judge(states[i], at.record.Stage(at.stage))
	}
	return nil
}

// readBatches finds what became of the batches that hold the sectors. A poll has read the open
// ones; only others are read here. Who is in a batch that cannot be read stays in it: it may be
// a newer lpseal's.
func (s *Scheduler) readBatches(ctx context.Context, w *world, looks []*look) error {
	var slots []slot
	var names []string
	for _, l := range looks {
		for _, stage := range messageStages {
			if sr := l.record.Stage(stage); sr.Batch != "" && (sr.State == jobs.Queued || sr.State == jobs.Running) {
				slots = append(slots, slot{l, stage})
				if _, known := w.batches[sr.Batch]; !known {
					names = append(names, sr.Batch)
				}
			}
		}
	}
	read, err := s.store.Batches(ctx, names)
	unread, err := sectors.Unread(err)
	if err != nil {
		return err
	}
	s.alarm(unread)
	for _, at := range slots {
		sr := at.record.Stage(at.stage)
		b, known := w.batches[sr.Batch]
		if !known {
			b = read[sr.Batch]
		}
		if known && b == nil || unread.Has(sr.Batch) {
			at.facts.Tasks[at.stage] = jobs.TaskUnread
			continue
		}
		at.facts.Tasks[at.stage] = w.judge(jobs.MemberTask(b, at.record.Task(at.stage)), sr)
	}
	return nil
}

// judge sees what the queue alone cannot: that an active task's worker is gone, and
// that it is too early to miss a task. Of a task that was taken and never claimed
// nobody knows who has it, so the queue's word counts.
func (w *world) judge(t jobs.TaskState, sr jobs.StageRecord) jobs.TaskState {
	young := sr.Since.After(w.now.Add(-youth))
	if t == jobs.TaskActiveDead && sr.State == jobs.Running {
		t = jobs.TaskActive
	}
	switch {
	case t == jobs.TaskAbsent && sr.State == jobs.Queued && young:
		return jobs.TaskUnread
	case t == jobs.TaskActive && sr.State == jobs.Running && sr.Batch == "" && !young && !w.lives(sr.Worker):
		return jobs.TaskActiveDead
	}
	return t
}

// askMessages costs the same few calls for one sector as for a thousand.
func (s *Scheduler) askMessages(ctx context.Context, looks []*look) {
	var slots []slot
	var meanings []jobs.Meaning
	for _, l := range looks {
		for _, stage := range messageStages {
			if mayBeSent(l.record, stage) {
				slots = append(slots, slot{l, stage})
				meanings = append(meanings, l.record.Meaning(stage))
			}
		}
	}
	if len(meanings) == 0 {
		return
	}
	messages, err := s.chain.Messages(ctx, meanings)
	for i, at := range slots {
		if err != nil {
			at.unasked = fmt.Errorf("ask for the messages of %s: %w", at.record.ID, err)
			continue
		}
		if unknown := messages[i].Unknown; unknown != nil {
			at.unasked = fmt.Errorf("ask for the messages of %s: %w", at.record.ID, unknown)
			continue
		}
		at.facts.Messages[at.stage] = messages[i]
	}
}

// mayBeSent says that a message of the stage may exist and has not landed yet.
func mayBeSent(r *jobs.Record, stage jobs.Stage) bool {
	landed := r.Activation != 0 || stage == jobs.PreCommit && r.PreCommitted()
	return r.Outcome == jobs.Open && !landed && r.Stage(stage).Attempt > 0
}

// decide asks for the next step.
func (s *Scheduler) decide(ctx context.Context, w *world, l *look) (jobs.Action, jobs.Reason, error) {
	if l.unasked != nil {
		return jobs.Action{}, jobs.Reason{}, l.unasked
	}
	w.see(&l.facts)
	if err := s.askProving(ctx, l); err != nil {
		return jobs.Action{}, jobs.Reason{}, err
	}
	a, why := jobs.Decide(l.record, &l.facts, &s.policy)
	if l.facts.OnChain != nil || !asks(l, a) {
		return a, why, nil
	}
	return s.decideOnChain(ctx, l)
}

// decideOnChain asks the chain's view of the sector first.
func (s *Scheduler) decideOnChain(ctx context.Context, l *look) (jobs.Action, jobs.Reason, error) {
	on, err := s.chain.OnChain(ctx, l.record.ID)
	if err != nil {
		return jobs.Action{}, jobs.Reason{}, fmt.Errorf("ask the chain for %s: %w", l.record.ID, err)
	}
	l.facts.OnChain = &on
	a, why := jobs.Decide(l.record, &l.facts, &s.policy)
	return a, why, nil
}

// asks narrows [jobs.Asks] to the looks where the answer can matter: a message has
// ended, or something would be done next; for a batch that is when it goes. A sector that waits would be asked for at
// every poll otherwise, and a poll's RPC calls would grow with what is due.
func asks(l *look, next jobs.Action) bool {
	if !jobs.Asks(l.record, &l.facts) {
		return false
	}
	for _, m := range l.facts.Messages {
		if m.State.Terminal() {
			return true
		}
	}
	return next.Event != nil && !next.Batched
}

// askProving asks how a finalized sector stands with its first WindowPoSt; on the
// embedded node nobody proves.
func (s *Scheduler) askProving(ctx context.Context, l *look) error {
	r := l.record
	if r.Outcome != jobs.Open || l.facts.Network.Embedded || r.Stage(jobs.Finalize).State != jobs.Done {
		return nil
	}
	v, err := s.chain.Proving(ctx, r.ID, r.Activation)
	if err != nil {
		return fmt.Errorf("ask the chain whether %s is proven: %w", r.ID, err)
	}
	l.facts.Proving = &v
	return nil
}

// follow takes over a written record: facts about tasks and messages that are no
// longer its current ones are dropped.
func (l *look) follow(next *jobs.Record) {
	for stage := range l.facts.Tasks {
		sr := next.Stage(stage)
		if next.Task(stage) != l.record.Task(stage) || sr.State != jobs.Queued && sr.State != jobs.Running {
			delete(l.facts.Tasks, stage)
		}
	}
	for stage := range l.facts.Messages {
		if next.Meaning(stage) != l.record.Meaning(stage) || !mayBeSent(next, stage) {
			delete(l.facts.Messages, stage)
		}
	}
	l.record = next
}
