package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// Stage names a row of the table.
type Stage string

// Class is the kind of hardware a stage needs; it names a worker's lane.
type Class string

// The lane classes.
const (
	ClassSDR   Class = "sdr"   // cores with SHA extensions, 2 layers of RAM
	ClassCPU   Class = "cpu"   // all-purpose cores beside the sector's files
	ClassGPU   Class = "gpu"   // one GPU, with a class label such as "a" or "rtx4090"
	ClassIO    Class = "io"    // disks and network
	ClassChain Class = "chain" // the scheduler process: messages
)

// Classes lists the lane classes a configuration may name.
var Classes = []Class{ClassSDR, ClassCPU, ClassGPU, ClassIO, ClassChain}

// Place says which hosts may run a stage.
type Place string

// The places.
const (
	AtHome   Place = "home"  // the host that serves the sector's sealing path
	Anywhere Place = "any"   // any host with a lane of the class
	AtChain  Place = "chain" // the scheduler processes
)

// Row declares one stage: everything any part of lpseal knows about it.
type Row struct {
	Stage   Stage
	Title   string  // one line, for people
	Classes []Class // in order of preference
	Place   Place
	// After are the stages that must be done first; AfterSynthetic stands for it, where
	// it is given, for sectors with synthetic proofs (see [Row.Needs]).
	After, AfterSynthetic []Stage
	// Ready says whether facts beyond After allow the stage to start, and if not
	// why and until when. nil means yes.
	Ready func(*Record, *Facts, *Policy) Reason
	// Prepare draws what the stage is bound to (ticket, seed) before its intent is
	// written. The scheduler performs it.
	Draw Draw
	// InputFrom is the stage to redo when this one's input is bad.
	InputFrom Stage
	// Heavy stages run in a supervised child process (design rule 7).
	Heavy bool
	// Sharing says how works of a heavy stage may share a child process.
	Sharing Sharing
	// Recovery rows are never ready by themselves: a remedy wants them.
	Recovery bool
	// Cause says which fault or order causes a recovery row; EndState what holds
	// when it is done.
	Cause, EndState string
	// Timeout bounds one delivery; asynq's default of 30 minutes would kill SDR.
	Timeout time.Duration
	// MaxRetry bounds asynq's own retries, which are only for infrastructure.
	MaxRetry int
	Do       func(context.Context, *Env, *Record) (*Result, error)
	// DoBatch is Do's form for stages whose sectors share a message: it answers for
	// each record, in order. batch is the batch's name, the same however often it is
	// delivered.
	DoBatch func(ctx context.Context, env *Env, batch string, rs []*Record) ([]Sent, error)
}

// Batched says that the stage's sectors go in batches (design rule 12).
func (row *Row) Batched() bool { return row.DoBatch != nil }

// Draw names chain randomness a stage is bound to.
type Draw string

// What may be drawn.
const (
	DrawNothing Draw = ""
	DrawTicket  Draw = "ticket"
	DrawSeed    Draw = "seed"
)

// Sharing says what works of a heavy stage gain in one child process. A lane says how
// far it goes ([Lane.Shares]).
type Sharing string

// The ways to share a child.
const (
	NoSharing Sharing = ""
	Together  Sharing = "together" // a [Lockstep] prover makes several in less time than one by one
	InTurn    Sharing = "in turn"  // what the first one loads serves the next
)

// Stages is the pipeline, in order. Adding a stage is one file and one line here.
var Stages = []*Row{
	&treeD,
	&sdr,
	&treeRC,
	&preCommit,
	&c1,
	&c2,
	&store,
	&commit,
	&dropLayers,
	&finalize,
	&recoverWipe,
	&recoverLocate,
	&recoverAbandon,
}

// RowOf finds a stage's row; nil if there is none.
func RowOf(s Stage) *Row {
	for _, r := range Stages {
		if r.Stage == s {
			return r
		}
	}
	return nil
}

// ParseStage reads a stage name that came from outside.
func ParseStage(s string) (Stage, error) {
	if RowOf(Stage(s)) == nil {
		return "", fmt.Errorf("%q is not a stage", s)
	}
	return Stage(s), nil
}

// TaskType is the asynq type of the stage's tasks. asynq's mux matches prefixes,
// so handlers are registered by full names only.
func (s Stage) TaskType() string { return "seal:" + string(s) }

// Needs are the stages that must be done first for a sector of the proof type.
func (row *Row) Needs(p abi.RegisteredSealProof) []Stage {
	if p.IsSynthetic() && row.AfterSynthetic != nil {
		return row.AfterSynthetic
	}
	return row.After
}

// dependents are the stages that, directly or not, come after s for a sector of the
// proof type.
func dependents(s Stage, p abi.RegisteredSealProof) map[Stage]bool {
	out := map[Stage]bool{}
	for changed := true; changed; {
		changed = false
		for _, r := range Stages {
			if out[r.Stage] {
				continue
			}
			for _, a := range r.Needs(p) {
				if a == s || out[a] {
					out[r.Stage], changed = true, true
				}
			}
		}
	}
	return out
}
