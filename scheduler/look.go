package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// messageStages are the stages whose work is a message.
var messageStages = []jobs.Stage{jobs.PreCommit, jobs.Commit}

// intentGrace is how long a written intent may be without its task before the task
// counts as lost: a scheduler beside this one may be between the two writes. A
// needless second delivery would do no harm, only noise.
const intentGrace = 2 * time.Second

// look is one sector being looked at.
type look struct {
	record *jobs.Record
	facts  jobs.Facts
	// unasked is why the node could not be asked about the sector's messages. What
	// is in flight is then not known, and nothing may be decided.
	unasked error
}

// gather reads in bulk what is true of the sectors outside their records: the
// states of their tasks, and of their messages.
func (s *Scheduler) gather(ctx context.Context, records []*jobs.Record) ([]*look, error) {
	looks := make([]*look, len(records))
	var tasks []queue.Ref
	var meanings []jobs.Meaning
	var setTask []func(jobs.TaskState)
	var setMessage []func(jobs.Message, error)
	now := s.clock.Now()
	for i, r := range records {
		l := &look{record: r, facts: jobs.Facts{Messages: map[jobs.Stage]jobs.Message{}, Tasks: map[jobs.Stage]jobs.TaskState{}}}
		looks[i] = l
		for stage, sr := range r.Stages {
			if sr.State != jobs.Queued && sr.State != jobs.Running {
				continue
			}
			tasks = append(tasks, queue.Ref{Task: r.Task(stage), Queue: sr.Queue})
			setTask = append(setTask, func(t jobs.TaskState) {
				if t == jobs.TaskAbsent && sr.State == jobs.Queued && now.Sub(sr.Since) < intentGrace {
					t = jobs.TaskUnread
				}
				l.facts.Tasks[stage] = t
			})
		}
		for _, stage := range messageStages {
			if !mayBeSent(r, stage) {
				continue
			}
			meanings = append(meanings, r.Meaning(stage))
			setMessage = append(setMessage, func(m jobs.Message, err error) {
				if l.facts.Messages[stage] = m; err != nil {
					l.unasked = fmt.Errorf("ask for the messages of %s: %w", r.ID, err)
				}
			})
		}
	}
	if len(tasks) > 0 {
		states, err := s.queues.States(ctx, tasks)
		if err != nil {
			return nil, fmt.Errorf("read the states of %d tasks: %w", len(tasks), err)
		}
		for i, set := range setTask {
			set(states[i])
		}
	}
	if len(meanings) > 0 {
		messages, err := s.chain.Messages(ctx, meanings)
		for i, set := range setMessage {
			if err != nil {
				set(jobs.Message{}, err)
				continue
			}
			set(messages[i], nil)
		}
	}
	return looks, nil
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
	for stage, t := range l.facts.Tasks {
		if sr := l.record.Stage(stage); t == jobs.TaskActive && sr.State == jobs.Running && !w.owners[sr.Worker] {
			l.facts.Tasks[stage] = jobs.TaskActiveDead
		}
	}
	if err := s.askProven(ctx, l); err != nil {
		return jobs.Action{}, jobs.Reason{}, err
	}
	a, why := jobs.Decide(l.record, &l.facts, &s.policy)
	if l.facts.OnChain != nil || !asks(l, a) {
		return a, why, nil
	}
	on, err := s.chain.OnChain(ctx, l.record.ID)
	if err != nil {
		return jobs.Action{}, jobs.Reason{}, fmt.Errorf("ask the chain for %s: %w", l.record.ID, err)
	}
	l.facts.OnChain = &on
	a, why = jobs.Decide(l.record, &l.facts, &s.policy)
	return a, why, nil
}

// asks narrows [jobs.Asks] to the looks where the answer can matter: a message has
// ended, or something would be done next. A sector that waits would be asked for at
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
	return next.Event != nil
}

// askProven asks whether a finalized sector was proven; the embedded node proves
// nothing.
func (s *Scheduler) askProven(ctx context.Context, l *look) error {
	r := l.record
	if r.Outcome != jobs.Open || l.facts.Network.Embedded || r.Stage(jobs.Finalize).State != jobs.Done {
		return nil
	}
	proven, err := s.chain.Proven(ctx, r.ID)
	if fault, ok := jobs.Classify(ctx, err); err != nil && (!ok || fault.Class != jobs.Rejected) {
		return fmt.Errorf("ask the chain whether %s is proven: %w", r.ID, err)
	} else if err != nil {
		l.facts.ProvenErr = fault.Text
	}
	l.facts.Proven = proven
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
