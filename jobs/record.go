package jobs

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// Record is everything lpseal remembers of a sector. It is one Redis hash,
// readable in redis-cli; only [Apply] changes it.
type Record struct {
	ID      SectorID
	Version int64 // raised by every write; the scheduler's compare-and-set
	Created time.Time

	Proof        abi.RegisteredSealProof
	Pieces       []Piece
	KeepUnsealed bool
	Expiration   abi.ChainEpoch // wanted; 0 is the longest allowed

	Home   string // sealing path id; empty until placed
	Ticket Randomness
	Seed   Randomness
	CommD  cid.Cid // from piece CIDs, at creation
	CommR  cid.Cid // from tree_rc; frozen once a pre-commit is on chain

	C1Digest string // SHA-256 of C1's output, in hex
	PoRep    []byte // the proof that goes on chain
	Stored   *Stored
	Found    []Location // what recover_locate found last

	// What the chain said, at confidence.
	PreCommitEpoch abi.ChainEpoch // 0 while there is no pre-commit
	CommitDeadline abi.ChainEpoch
	Activation     abi.ChainEpoch // 0 until committed
	// NotProven is set while the sector should have been proven and was not.
	NotProven *NotProven

	Stages map[Stage]StageRecord

	Hold      *Hold
	Abandoned bool // an order to abandon was given
	Retickets int  // tickets replaced because they expired
	Rollbacks int  // roll-backs for bad input
	Outcome   Outcome
}

// Randomness is a value drawn from the chain and the epoch it was drawn for.
type Randomness struct {
	Epoch abi.ChainEpoch
	Value []byte         // 32 bytes, or nil
	At    abi.ChainEpoch // the head when it was drawn
}

// Outcome ends a record.
type Outcome string

// The outcomes. A record without one is in the pipeline.
const (
	Open      Outcome = ""
	Committed Outcome = "committed" // stored, committed, finalized; on the embedded node nobody proves
	Proven    Outcome = "proven"    // and its first WindowPoSt deadline passed
	Removed   Outcome = "removed"   // abandoned; the number is kept for ever
)

// Hold says why nothing new starts for a sector. What runs may finish.
type Hold struct {
	Reason string     `json:"reason"`
	Class  FaultClass `json:"class,omitempty"` // empty: an operator's order
	Stage  Stage      `json:"stage,omitempty"`
	Since  time.Time  `json:"since"`
}

// StageState is how far a stage has come for a sector.
type StageState string

// The stage states.
const (
	Idle    StageState = ""
	Wanted  StageState = "wanted"  // recovery rows only: a remedy asked for it
	Queued  StageState = "queued"  // intent written, task enqueued after it
	Running StageState = "running" // claimed
	Faulted StageState = "fault"   // ended in a fault; the poller chooses the remedy
	Done    StageState = "done"
)

// StageRecord is one stage of one sector.
type StageRecord struct {
	State    StageState
	Fence    int    // raised when the stage must be redone; older work is void
	Attempt  int    // raised by a sealing fault only
	Delivery int    // raised when the task must be enqueued again
	Claim    int    // raised by every claim; names the claimant
	Queue    string // where the task was put
	Batch    string // name of the batch the sector went into (precommit, commit)
	// Worker is host/instance@run of the claim. A queued stage names the one whose work may
	// still run, if its task was lost after the claim.
	Worker  string
	Since   time.Time
	Message string // CID pushed (precommit, commit)
	Faults  int    // faults in a row, for back-off
	Fault   *Fault // last one; kept for people after a retry succeeds
	Answer  string // digest of the accepted result: repeating it is accepted
}

// Stage returns the record of a stage; a stage not seen yet is idle.
func (r *Record) Stage(s Stage) StageRecord {
	sr := r.Stages[s]
	if sr.Fence == 0 {
		sr.Fence = 1
	}
	return sr
}

func (r *Record) set(s Stage, sr StageRecord) { r.Stages[s] = sr }

// Clone copies what Apply may change.
func (r *Record) Clone() *Record {
	c := *r
	c.Stages = maps.Clone(r.Stages)
	if c.Stages == nil {
		c.Stages = map[Stage]StageRecord{}
	}
	c.Pieces = slices.Clone(r.Pieces)
	return &c
}

// CC says that the sector holds no data (committed capacity).
func (r *Record) CC() bool { return len(r.Pieces) == 0 }

// Seal gives what the sector's replica and proof are bound to.
func (r *Record) Seal() Seal {
	return Seal{ID: r.ID, Proof: r.Proof, Ticket: r.Ticket.Value, CommD: r.CommD, CommR: r.CommR, Seed: r.Seed.Value}
}

// Task names the current delivery of a stage.
func (r *Record) Task(s Stage) TaskRef {
	sr := r.Stage(s)
	return TaskRef{ID: r.ID, Stage: s, Fence: sr.Fence, Attempt: sr.Attempt, Delivery: sr.Delivery}
}

// Meaning names the current message of precommit or commit.
func (r *Record) Meaning(s Stage) Meaning {
	return Meaning{Stage: s, ID: r.ID, Fence: r.Stage(s).Fence}
}

// Meanings names every message that the sector may have sent, those of earlier
// fences among them.
func (r *Record) Meanings() []Meaning {
	var out []Meaning
	for _, s := range []Stage{PreCommit, Commit} {
		for fence := 1; fence <= r.Stage(s).Fence; fence++ {
			out = append(out, Meaning{Stage: s, ID: r.ID, Fence: fence})
		}
	}
	return out
}

// PreCommitted says that a pre-commit is on chain: ticket, CommD and CommR are
// frozen (design rule 4).
func (r *Record) PreCommitted() bool { return r.PreCommitEpoch != 0 || r.Activation != 0 }

// SectorSize is in bytes; 0 for an unknown proof type.
func (r *Record) SectorSize() uint64 {
	n, err := r.Proof.SectorSize()
	if err != nil {
		return 0
	}
	return uint64(n)
}

func itoa(n int) string { return strconv.Itoa(n) }
