package jobs

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Batch is one message's worth of sectors, with an identity of its own (design rule
// 12). It is one Redis hash, and only [ApplyBatch] changes it. Its life:
//
//	planned → closed → running → done
//	      ↘ dissolved
//
// While it is planned its members are asked one by one, each by a compare-and-set of
// its own record; closing names those that accepted. A batch that is done, dissolved
// or gone holds nobody: a member whose stage still waits for it goes into another.
type Batch struct {
	ID      string
	Version int64
	Created time.Time
	Group   Group
	Cause   BatchCause
	Members []TaskRef // while planned: those that will be asked
	State   BatchState

	Delivery int       // raised when the task must be enqueued again
	Claim    int       // raised by every claim
	Worker   string    // host/instance@run of the claim
	Since    time.Time // of the state
	Note     string    // what became of it, for people
}

// BatchState is how far a batch has come.
type BatchState string

// The batch states.
const (
	BatchPlanned   BatchState = "planned"
	BatchClosed    BatchState = "closed"
	BatchRunning   BatchState = "running"
	BatchDone      BatchState = "done"
	BatchDissolved BatchState = "dissolved" // never sent
)

// Open says that the batch still holds its members.
func (b *Batch) Open() bool { return b.State != BatchDone && b.State != BatchDissolved }

// Task names the current delivery.
func (b *Batch) Task() BatchRef {
	return BatchRef{Batch: b.ID, Stage: b.Group.Stage, Delivery: b.Delivery}
}

// BatchEvent is something that happened to a batch. Its String is the line in the
// batch's log.
type BatchEvent interface {
	fmt.Stringer
	applyBatch(b *Batch) error
	state() BatchState // that it leads to
}

// What happens to a batch.
type (
	// MembersAccepted closes the batch with those whose records took it.
	MembersAccepted struct{ Members []TaskRef }
	// BatchRedelivered is the intent to enqueue the batch's task anew.
	BatchRedelivered struct{ Why string }
	// BatchClaimed begins a delivery.
	BatchClaimed struct {
		Task   BatchRef
		Worker string
	}
	// BatchEnded says that every member's record has answered.
	BatchEnded struct {
		Claim int
		Note  string
	}
	// BatchDropped gives up a batch that was never closed, or has nobody in it.
	BatchDropped struct{ Why string }
)

// ApplyBatch gives the batch after an event; the one passed in is not changed.
func ApplyBatch(b *Batch, e BatchEvent, now time.Time) (*Batch, error) {
	next := *b
	next.Members = slices.Clone(b.Members)
	if err := e.applyBatch(&next); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", b.ID, e, err)
	}
	next.State, next.Since = e.state(), now
	next.Version++
	return &next, nil
}

func (e MembersAccepted) applyBatch(b *Batch) error {
	if b.State != BatchPlanned {
		return ErrStale
	}
	if len(e.Members) == 0 {
		return errors.New("a batch without members")
	}
	b.Members, b.Delivery = e.Members, 1
	return nil
}

func (e BatchRedelivered) applyBatch(b *Batch) error {
	if b.State != BatchClosed && b.State != BatchRunning {
		return ErrStale
	}
	b.Delivery++
	b.Worker = ""
	return nil
}

func (e BatchClaimed) applyBatch(b *Batch) error {
	if e.Task != b.Task() || b.State != BatchClosed && b.State != BatchRunning {
		return ErrStale
	}
	b.Claim++
	b.Worker = e.Worker
	return nil
}

func (e BatchEnded) applyBatch(b *Batch) error {
	// A redelivery that nobody claimed yet does not make finished work void.
	if e.Claim != b.Claim || b.State != BatchRunning && b.State != BatchClosed {
		return ErrStale
	}
	b.Note = e.Note
	return nil
}

func (e BatchDropped) applyBatch(b *Batch) error {
	if b.State != BatchPlanned {
		return ErrStale
	}
	b.Note = e.Why
	return nil
}

func (MembersAccepted) state() BatchState  { return BatchClosed }
func (BatchRedelivered) state() BatchState { return BatchClosed }
func (BatchClaimed) state() BatchState     { return BatchRunning }
func (BatchEnded) state() BatchState       { return BatchDone }
func (BatchDropped) state() BatchState     { return BatchDissolved }

func (e MembersAccepted) String() string {
	return fmt.Sprintf("closed with %d sectors", len(e.Members))
}
func (e BatchRedelivered) String() string { return "queued again: " + e.Why }
func (e BatchClaimed) String() string     { return "claimed by " + e.Worker }
func (e BatchEnded) String() string       { return "done: " + e.Note }
func (e BatchDropped) String() string     { return "dissolved: " + e.Why }

// PlanPatience is how long a batch may be planned. A scheduler takes moments to
// close one; whoever comes back from a longer absence finds it dissolved, and sends
// nothing.
const PlanPatience = 15 * time.Second

// DecideBatch says what keeps an open batch moving, nil if it moves by itself. task
// is what the queue knows of its current delivery (design rule 2).
func DecideBatch(b *Batch, task TaskState, now time.Time) BatchEvent {
	switch b.State {
	case BatchPlanned:
		if now.Sub(b.Since) >= PlanPatience {
			return BatchDropped{"it was never closed: its scheduler died or lost Redis"}
		}
	case BatchClosed, BatchRunning:
		if why := lost(task); why != "" {
			return BatchRedelivered{"its task was " + why}
		}
	}
	return nil
}

// MemberTask is what a batch means for one member's stage: the task that will run
// it, or that none will. nil stands for a batch that Redis does not have.
func MemberTask(b *Batch, member TaskRef) TaskState {
	if b == nil || !b.Open() || !slices.Contains(b.Members, member) {
		return TaskAbsent
	}
	if b.State == BatchRunning {
		return TaskActive
	}
	return TaskPending
}
