package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// Event is something that happened to a sector. Its String is the line in the
// sector's log.
type Event interface {
	fmt.Stringer
	apply(r *Record, now time.Time) error
}

// ErrStale refuses an event that belongs to an older fence, attempt, delivery or
// claim: the work it speaks of is no longer wanted. Nothing is wrong, and nothing
// is to be done.
var ErrStale = errors.New("stale: no longer wanted")

// ErrRefused refuses an order that the sector's state does not allow.
var ErrRefused = errors.New("refused")

// Apply gives the record after an event; the record passed in is not changed. An
// event that repeats an accepted answer returns the record as it is, with the
// same Version.
func Apply(r *Record, e Event, now time.Time) (*Record, error) {
	next := r.Clone()
	if err := e.apply(next, now); err != nil {
		if errors.Is(err, errSame) {
			return r, nil
		}
		return nil, fmt.Errorf("%s: %s: %w", r.ID, e, err)
	}
	next.Version++
	return next, nil
}

var errSame = errors.New("already so")

// What the scheduler writes.
type (
	// Placed gives the sector its home; space was reserved before.
	Placed struct{ Path string }

	// Scheduled is the intent to run a stage: it is written before the task is
	// enqueued, with everything the task's ID is made of.
	Scheduled struct {
		Stage Stage
		Queue Queue
		// Again says that the work is the same and only the task is new: delivery
		// rises and attempt does not.
		Again bool
		// Batch is the batch that the sector goes into, where the stage has batches.
		Batch string
		Why   string
		// Drawn is the ticket or seed the row asks for.
		Drawn *Randomness
	}

	// PreCommitLanded and CommitLanded are facts from state at confidence.
	PreCommitLanded struct{ PreCommit OnChainPreCommit }
	CommitLanded    struct{ Sector OnChainSector }
	// PreCommitGone is a reorganisation that took the pre-commit away.
	PreCommitGone struct{}
	// MessageFault is a terminal message that did not do what it was sent for.
	MessageFault struct {
		Stage Stage
		Fault Fault
	}

	// RolledBack redoes a stage and all that depends on it.
	RolledBack struct {
		To        Stage
		NewTicket bool // the old one expired
		ByOrder   bool // an operator's retry: not counted
		Why       string
	}

	// RecoveryWanted asks for a recovery job.
	RecoveryWanted struct {
		Stage Stage
		Why   string
	}

	// Finished ends the record.
	Finished struct{ Outcome Outcome }
)

// What a worker writes. Task must be current, and Claim the last claim.
type (
	// Claimed begins a delivery.
	Claimed struct {
		Task   TaskRef
		Worker string // host/instance@run, see [Worker.Owner]
	}
	// TicketRedrawn replaces a ticket that grew old in the queue.
	TicketRedrawn struct {
		Task   TaskRef
		Claim  int
		Ticket Randomness
	}
	// Completed ends a stage well.
	Completed struct {
		Task   TaskRef
		Claim  int
		Result Result
	}
	// Failed ends it in a fault.
	Failed struct {
		Task  TaskRef
		Claim int
		Fault Fault
	}
)

// What an operator orders.
type (
	// Held starts nothing new and accepts what finishes.
	Held struct{ Hold Hold }
	// Released lets Decide go on; faults that held the sector are forgiven.
	Released struct{}
	// Aborted raises the fence of what runs, so that its child is killed, and holds.
	Aborted struct{ Why string }
	// AbandonOrdered gives the sector up.
	AbandonOrdered struct{ Why string }
	// DealsDropped makes the pieces plain data: their allocations are not claimed and nobody
	// is notified. It saves the deposit of a sector that comes too late for its deals.
	DealsDropped struct{ Why string }
)

// Result is what a stage's Do found out. Each stage fills its own fields.
type Result struct {
	CommR    cid.Cid    `json:"comm_r,omitzero"`
	C1Digest string     `json:"c1_digest,omitempty"`
	PoRep    []byte     `json:"porep,omitempty"`
	Stored   *Stored    `json:"stored,omitempty"`
	Message  string     `json:"message,omitempty"`
	Found    []Location `json:"found,omitempty"`
}

// Answer is the result's digest: a completion repeated with the same one is
// accepted.
func (r *Result) Answer() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // plain values always marshal
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func (e Placed) String() string { return "placed on path " + e.Path }
func (e Scheduled) String() string {
	again, where := "", "on "+e.Queue.String()
	if e.Again {
		again = " again"
	}
	if e.Batch != "" {
		where = "in " + e.Batch
	}
	s := fmt.Sprintf("%s queued%s %s", e.Stage, again, where)
	if e.Why != "" {
		s += ": " + e.Why
	}
	return s
}
func (e PreCommitLanded) String() string {
	return fmt.Sprintf("pre-commit on chain at epoch %d", e.PreCommit.Epoch)
}
func (e CommitLanded) String() string {
	return fmt.Sprintf("committed on chain at epoch %d", e.Sector.Activation)
}
func (PreCommitGone) String() string { return "pre-commit no longer on chain" }
func (e MessageFault) String() string {
	return fmt.Sprintf("%s message failed: %s", e.Stage, e.Fault.Error())
}
func (e RolledBack) String() string     { return fmt.Sprintf("rolled back to %s: %s", e.To, e.Why) }
func (e RecoveryWanted) String() string { return fmt.Sprintf("%s wanted: %s", e.Stage, e.Why) }
func (e Finished) String() string       { return "finished: " + string(e.Outcome) }
func (e Claimed) String() string        { return fmt.Sprintf("%s claimed by %s", e.Task, e.Worker) }
func (e TicketRedrawn) String() string {
	return fmt.Sprintf("ticket drawn again at epoch %d", e.Ticket.Epoch)
}
func (e Completed) String() string      { return fmt.Sprintf("%s done", e.Task) }
func (e Failed) String() string         { return fmt.Sprintf("%s failed: %s", e.Task, e.Fault.Error()) }
func (e Held) String() string           { return "held: " + e.Hold.Reason }
func (Released) String() string         { return "released" }
func (e Aborted) String() string        { return "aborted: " + e.Why }
func (e AbandonOrdered) String() string { return "to be abandoned: " + e.Why }
func (e DealsDropped) String() string   { return "deals dropped: " + e.Why }

// epochs is a duration of chain time.
func epochs(n abi.ChainEpoch, net *Network) time.Duration {
	return time.Duration(max(n, 0)) * net.BlockDelay
}
