package jobs

import (
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// Facts is what is true outside the record at one moment. The scheduler gathers
// it; nothing in it is remembered.
type Facts struct {
	Now     time.Time
	Head    Head
	Network Network
	// OnChain is nil when nobody needed to ask ([Asks] says when to).
	OnChain *OnChain
	// Messages are the states of the sector's current messages, by stage.
	Messages map[Stage]Message
	// Tasks are the states of the sector's current tasks, read in the recorded
	// queue, by stage.
	Tasks   map[Stage]TaskState
	Workers []Worker // live ones
	// Load counts pending and active tasks by queue name.
	Load map[string]int
	// Proving is nil while the sector is not finalized.
	Proving *Proving
}

// TaskState is what the queue knows of a task.
type TaskState string

// The task states, asynq's and two of ours: an active task is told apart by
// whether its worker lives.
const (
	TaskUnread     TaskState = "" // nobody asked
	TaskAbsent     TaskState = "absent"
	TaskPending    TaskState = "pending"
	TaskScheduled  TaskState = "scheduled"
	TaskRetry      TaskState = "retry"
	TaskActive     TaskState = "active"
	TaskActiveDead TaskState = "active-dead" // active on a host that is gone
	TaskArchived   TaskState = "archived"
	TaskCompleted  TaskState = "completed"
)

// TaskStates lists every task state, for tables and tests.
var TaskStates = []TaskState{TaskUnread, TaskAbsent, TaskPending, TaskScheduled, TaskRetry, TaskActive, TaskActiveDead, TaskArchived, TaskCompleted}

// Policy is what the operator decides once for all sectors.
type Policy struct {
	TicketLookback abi.ChainEpoch // ticket epoch is head minus this (chain finality, 900)
	// TicketWindow is how many epochs after the ticket epoch a pre-commit may still
	// land: builtin-actors' MaxPreCommitRandomnessLookback, 3,780.
	TicketWindow abi.ChainEpoch
	// TicketMargin is kept free of it for the message to land.
	TicketMargin abi.ChainEpoch
	// TicketFresh is how long after drawing a ticket is still worth starting with;
	// an older one is drawn again at claim if no layer exists.
	TicketFresh    abi.ChainEpoch
	SeedConfidence abi.ChainEpoch // epochs past the seed epoch before it is drawn
	MaxRetickets   int
	MaxRollbacks   int
	BackoffBase    time.Duration // first wait after a transient fault; doubles
	BackoffMax     time.Duration
	BusyWait       time.Duration // between looks at a busy or unfunded stage
	Look           time.Duration // default time to the next look at a waiting sector
	ReleaseLayers  Release
	// When pre-commits and commits go out together.
	PreCommits, Commits BatchPolicy
	PackWait            time.Duration  // how long a deal may wait for others to share its sector
	PackSlack           abi.ChainEpoch // a deal that starts within these epochs waits for nobody
	Handover            HandoverTo     // who proves what is stored
}

// Batch is the policy of a stage whose sectors share messages.
func (p *Policy) Batch(s Stage) BatchPolicy {
	if s == PreCommit {
		return p.PreCommits
	}
	return p.Commits
}

// Release says when layer files are removed.
type Release string

// When layers may go.
const (
	ReleaseAfterC2     Release = "after_c2"
	ReleaseAfterCommit Release = "after_commit"
)

// DefaultPolicy is mainnet's, with design §6's numbers.
func DefaultPolicy() Policy {
	return Policy{
		TicketLookback: 900,
		TicketWindow:   3780,
		TicketMargin:   60,
		TicketFresh:    240,
		SeedConfidence: 6,
		MaxRetickets:   1,
		MaxRollbacks:   3,
		BackoffBase:    5 * time.Second,
		BackoffMax:     10 * time.Minute,
		BusyWait:       30 * time.Second,
		Look:           10 * time.Second,
		ReleaseLayers:  ReleaseAfterC2,
		PreCommits:     BatchPolicy{Max: MaxBatch, Bytes: MaxBatchBytes, Wait: time.Hour, Slack: 6 * time.Hour},
		Commits:        BatchPolicy{Max: MaxBatch, Bytes: MaxBatchBytes, Wait: time.Hour, Slack: 24 * time.Hour},
		PackWait:       time.Hour,
		PackSlack:      2 * 2880,
	}
}

// backoff is the wait after n transient faults in a row.
func (p *Policy) backoff(n int) time.Duration {
	d := p.BackoffBase
	for ; n > 1 && d < p.BackoffMax; n-- {
		d *= 2
	}
	return min(d, p.BackoffMax)
}

// Reason says why a sector is where it is: what `sectors explain` prints.
type Reason struct {
	Text string
	// Look is when the sector should be looked at again; zero leaves it to the
	// policy.
	Look time.Time
}

// OK says that nothing stands in the way.
func (r Reason) OK() bool { return r.Text == "" }
