package jobs

import (
	"fmt"
	"time"

	"github.com/ipfs/go-cid"
)

func (e Placed) apply(r *Record, _ time.Time) error {
	if r.Home != "" {
		return fmt.Errorf("%w: already placed on %s", ErrRefused, r.Home)
	}
	r.Home = e.Path
	return nil
}

func (e Scheduled) apply(r *Record, now time.Time) error {
	sr := r.Stage(e.Stage)
	switch {
	case r.Hold != nil && !RowOf(e.Stage).Recovery:
		return fmt.Errorf("%w: held", ErrRefused)
	case sr.State == Done:
		return fmt.Errorf("%w: %s is done", ErrRefused, e.Stage)
	case RowOf(e.Stage).Batched() != (e.Batch != ""):
		return fmt.Errorf("%w: %s goes into batch %q", ErrRefused, e.Stage, e.Batch)
	case e.Again:
		sr.Delivery++
	default:
		sr.Attempt++
		sr.Delivery = 1
	}
	if e.Drawn != nil {
		switch RowOf(e.Stage).Draw {
		case DrawTicket:
			r.Ticket = *e.Drawn
		case DrawSeed:
			r.Seed = *e.Drawn
		}
	}
	if !e.Again || sr.State == Faulted {
		sr.Worker = ""
	}
	sr.State, sr.Queue, sr.Batch, sr.Since = Queued, e.Queue.String(), e.Batch, now
	r.set(e.Stage, sr)
	return nil
}

func (e PreCommitLanded) apply(r *Record, now time.Time) error {
	if r.CommR != e.PreCommit.CommR {
		return fmt.Errorf("%w: CommR on chain is %s, ours is %s", ErrRefused, e.PreCommit.CommR, r.CommR)
	}
	r.PreCommitEpoch, r.CommitDeadline = e.PreCommit.Epoch, e.PreCommit.Expires
	r.settle(PreCommit, now)
	return nil
}

func (e CommitLanded) apply(r *Record, now time.Time) error {
	if r.CommR != e.Sector.CommR {
		return fmt.Errorf("%w: CommR on chain is %s, ours is %s", ErrRefused, e.Sector.CommR, r.CommR)
	}
	r.Activation = e.Sector.Activation
	r.settle(PreCommit, now)
	r.settle(Commit, now)
	return nil
}

// settle makes a message stage done because the chain says so, however far our own
// record of it had come.
func (r *Record) settle(s Stage, now time.Time) {
	if sr := r.Stage(s); sr.State != Done {
		sr.State, sr.Since = Done, now
		r.set(s, sr)
	}
}

func (PreCommitGone) apply(r *Record, _ time.Time) error {
	r.PreCommitEpoch, r.CommitDeadline = 0, 0
	r.Seed, r.C1Digest, r.PoRep = Randomness{}, "", nil
	r.redo(PreCommit, func(s Stage) bool { return s != Store })
	return nil
}

func (e MessageFault) apply(r *Record, now time.Time) error {
	sr := r.Stage(e.Stage)
	if sr.State != Done {
		return ErrStale
	}
	// A new fence is a new meaning: only so may another message be sent.
	sr.Fence++
	sr.fault(e.Fault, now)
	r.set(e.Stage, sr)
	return nil
}

func (sr *StageRecord) fault(f Fault, now time.Time) {
	f.Attempt, f.At = sr.Attempt, now
	sr.State, sr.Since, sr.Fault = Faulted, now, &f
	sr.Faults++
}

// ongoing refuses an order for a record that has ended: nothing would come of it.
func (r *Record) ongoing() error {
	if r.Outcome != Open {
		return fmt.Errorf("%w: the sector is finished (%s)", ErrRefused, r.Outcome)
	}
	return nil
}

func (e RolledBack) apply(r *Record, _ time.Time) error {
	if err := r.ongoing(); err != nil {
		return err
	}
	if r.Activation != 0 {
		return fmt.Errorf("%w: the sector is committed on chain", ErrRefused)
	}
	if e.NewTicket {
		if r.PreCommitted() {
			return fmt.Errorf("%w: the ticket is frozen by the pre-commit on chain", ErrRefused)
		}
		r.Ticket = Randomness{}
		r.Retickets++
	} else if !e.ByOrder {
		r.Rollbacks++
	}
	r.redo(e.To, func(s Stage) bool { return s != PreCommit || !r.PreCommitted() })
	redone := dependents(e.To, r.Proof)
	redone[e.To] = true
	if redone[TreeRC] && !r.PreCommitted() {
		r.CommR = cid.Undef
	}
	if redone[C1] { // it asks the chain for its seed again
		r.Seed, r.C1Digest = Randomness{}, ""
	}
	if redone[C2] {
		r.PoRep = nil
	}
	if redone[Store] {
		r.Stored = nil
	}
	if e.To == SDR && r.Home != "" {
		r.want(RecoverWipe)
	}
	return nil
}

// redo makes a stage and its dependents idle under a new fence, those that keep
// wants to.
func (r *Record) redo(s Stage, raise func(Stage) bool) {
	redone := dependents(s, r.Proof)
	redone[s] = true
	for d := range redone {
		if raise(d) {
			sr := r.Stage(d)
			r.set(d, StageRecord{Fence: sr.Fence + 1, Claim: sr.Claim, Fault: sr.Fault})
		}
	}
}

// want asks for a recovery job, under a new fence if it ran before.
func (r *Record) want(s Stage) {
	sr := r.Stage(s)
	fence := sr.Fence
	if sr.State != Idle {
		fence++
	}
	r.set(s, StageRecord{State: Wanted, Fence: fence, Claim: sr.Claim})
}

func (e RecoveryWanted) apply(r *Record, _ time.Time) error {
	if row := RowOf(e.Stage); row == nil || !row.Recovery {
		return fmt.Errorf("%w: %s is no recovery stage", ErrRefused, e.Stage)
	}
	r.want(e.Stage)
	return nil
}

func (e Finished) apply(r *Record, _ time.Time) error {
	r.Outcome, r.NotProven = e.Outcome, nil
	return nil
}

// current finds the stage of a task that is still wanted.
func (r *Record) current(t TaskRef) (StageRecord, error) {
	sr := r.Stage(t.Stage)
	if t.Fence != sr.Fence || t.Attempt != sr.Attempt {
		return sr, ErrStale
	}
	return sr, nil
}

func (e Claimed) apply(r *Record, now time.Time) error {
	sr, err := r.current(e.Task)
	switch {
	case err != nil:
		return err
	case e.Task.Delivery != sr.Delivery || (sr.State != Queued && sr.State != Running):
		return ErrStale
	case r.Hold != nil && sr.State == Queued && sr.Worker == "" && !RowOf(e.Task.Stage).Recovery:
		return fmt.Errorf("%w: held", ErrStale)
	}
	sr.State, sr.Worker, sr.Since = Running, e.Worker, now
	sr.Claim++
	r.set(e.Task.Stage, sr)
	return nil
}

// claimed finds the stage of the last claim. A redelivery that nobody claimed yet
// does not make finished work void.
func (r *Record) claimed(t TaskRef, claim int) (StageRecord, error) {
	sr, err := r.current(t)
	if err == nil && (claim != sr.Claim || (sr.State != Running && sr.State != Queued)) {
		err = ErrStale
	}
	return sr, err
}

func (e TicketRedrawn) apply(r *Record, _ time.Time) error {
	if _, err := r.claimed(e.Task, e.Claim); err != nil {
		return err
	}
	if r.PreCommitted() || e.Task.Stage != SDR {
		return fmt.Errorf("%w: the ticket is frozen", ErrRefused)
	}
	r.Ticket = e.Ticket
	return nil
}

func (e Completed) apply(r *Record, now time.Time) error {
	answer := e.Result.Answer()
	sr, err := r.claimed(e.Task, e.Claim)
	if err != nil {
		if cur := r.Stage(e.Task.Stage); cur.State == Done && cur.Answer == answer && cur.Fence == e.Task.Fence {
			return errSame
		}
		return err
	}
	sr.State, sr.Since, sr.Faults, sr.Answer = Done, now, 0, answer
	if e.Result.Message != "" {
		sr.Message = e.Result.Message
	}
	r.set(e.Task.Stage, sr)
	r.learn(&e.Result)
	if e.Task.Stage == RecoverLocate {
		r.located(e.Result.Found)
	}
	return nil
}

func (r *Record) learn(res *Result) {
	if res.CommR.Defined() && !r.PreCommitted() {
		r.CommR = res.CommR
	}
	if res.C1Digest != "" {
		r.C1Digest = res.C1Digest
	}
	if res.PoRep != nil {
		r.PoRep = res.PoRep
	}
	if res.Stored != nil {
		r.Stored = res.Stored
	}
}

// located settles the faults that waited for the missing files: found whole on
// another sealing path, the sector moves its home there and tries again; found
// nowhere, the input is gone and must be made again.
func (r *Record) located(found []Location) {
	r.Found = found
	if len(found) > 0 {
		r.Home = found[0].Path
	}
	for s, sr := range r.Stages {
		if sr.State != Faulted || sr.Fault == nil || !sr.Fault.Missing {
			continue
		}
		f := *sr.Fault
		f.Missing = false
		if len(found) > 0 {
			f.Class, f.Text = Transient, f.Text+"; found on path "+found[0].Path
		}
		sr.Fault = &f
		r.set(s, sr)
	}
}

func (e Failed) apply(r *Record, now time.Time) error {
	sr, err := r.claimed(e.Task, e.Claim)
	if err != nil {
		return err
	}
	sr.fault(e.Fault, now)
	r.set(e.Task.Stage, sr)
	return nil
}

func (e Held) apply(r *Record, now time.Time) error {
	if err := r.ongoing(); err != nil {
		return err
	}
	h := e.Hold
	if h.Since.IsZero() {
		h.Since = now
	}
	r.Hold = &h
	return nil
}

func (Released) apply(r *Record, _ time.Time) error {
	if r.Hold == nil {
		return fmt.Errorf("%w: not held", ErrRefused)
	}
	r.Hold, r.Rollbacks, r.Retickets = nil, 0, 0
	for s, sr := range r.Stages {
		if sr.State == Faulted && r.heldBy(s, sr.Fault) {
			sr.State, sr.Faults = Idle, 0
			if RowOf(s).Recovery {
				sr.State = Wanted
			}
			r.set(s, sr)
		}
	}
	return nil
}

// heldBy says that the stage's fault ends in a hold, so that a release must forgive
// it. Bad input that a stage makes is made again instead.
func (r *Record) heldBy(s Stage, f *Fault) bool {
	return holds(f.Class) || f.Class == Input && (f.From == "" && RowOf(s).InputFrom == "" || r.Activation != 0)
}

func (e Aborted) apply(r *Record, now time.Time) error {
	if err := r.ongoing(); err != nil {
		return err
	}
	for s, sr := range r.Stages {
		if sr.State == Queued || sr.State == Running {
			row := RowOf(s)
			if row.Place == AtChain {
				continue // a signed message cannot be called back
			}
			next := StageRecord{Fence: sr.Fence + 1, Claim: sr.Claim, Fault: sr.Fault}
			if row.Recovery {
				next.State = Wanted // what caused it is still so
			}
			r.set(s, next)
		}
	}
	return Held{Hold{Reason: "aborted: " + e.Why}}.apply(r, now)
}

func (e AbandonOrdered) apply(r *Record, now time.Time) error {
	if err := Aborted(e).apply(r, now); err != nil {
		return err
	}
	r.Abandoned = true
	r.want(RecoverAbandon)
	return nil
}

func (DealsDropped) apply(r *Record, _ time.Time) error {
	switch r.Stage(Commit).State {
	case Idle, Faulted:
	default:
		return fmt.Errorf("%w: its proof is sent, or about to be", ErrRefused)
	}
	for i := range r.Pieces { // the pieces are the clone's own
		r.Pieces[i].Allocation, r.Pieces[i].Notify, r.Pieces[i].Terms = nil, nil, Terms{}
	}
	return nil
}
