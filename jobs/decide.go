package jobs

import (
	"fmt"
	"time"
)

// Action is what to do for a sector now: write Event with [Apply], and where it is
// a [Scheduled], enqueue the task afterwards. A nil Event means wait.
type Action struct {
	Event Event
	// Draw says what randomness the performer must put into the Scheduled event.
	Draw Draw
	// Batched says that Event is not to be written alone: the sector is a candidate
	// for a batch, which names itself in the event when it takes the sector.
	Batched bool
}

func act(e Event) Action {
	s, ok := e.(Scheduled)
	return Action{Event: e, Batched: ok && RowOf(s.Stage).Batched()}
}

// In is the action's event once a batch has taken the sector.
func (a Action) In(batch string) Event {
	s, ok := a.Event.(Scheduled)
	if !ok || !a.Batched {
		return a.Event
	}
	s.Batch = batch
	return s
}

// Decide says what moves a sector on, and why. It gives one step: the caller
// performs it and asks again until it is told to wait.
func Decide(r *Record, f *Facts, p *Policy) (Action, Reason) {
	var v verdict
	for _, rule := range []func(*Record, *Facts, *Policy) (Action, Reason){
		finished, chainTruth, messages, orders, redeliver, held, lateForDeals, tooLate, recoveries, remedies, place, advance,
	} {
		a, why := rule(r, f, p)
		if v.take(a, why) {
			return a, why
		}
		if a.Event == nil && !why.OK() {
			break
		}
	}
	if a, why := v.rest(); a.Event != nil || !why.OK() {
		return a, why
	}
	return Action{}, Reason{Text: "nothing to do"}
}

// verdict collects what several rules, or one rule for several stages, say. A step
// of the sector's own goes at once. A batch forms in its own time: it comes after
// all other steps, and stops none of them. Otherwise the first reason to wait
// stands, with the earliest look.
type verdict struct {
	batched       Action
	forming, wait Reason
}

// take says that the action is to be performed now.
func (v *verdict) take(a Action, why Reason) bool {
	switch {
	case a.Batched:
		if v.batched.Event == nil {
			v.batched, v.forming = a, why
		}
	case a.Event != nil:
		return true
	case !why.OK():
		v.wait = earlier(v.wait, why)
	}
	return false
}

func (v *verdict) rest() (Action, Reason) {
	if v.batched.Event != nil {
		return v.batched, v.forming
	}
	return Action{}, v.wait
}

func wait(look time.Time, format string, args ...any) (Action, Reason) {
	return Action{}, Reason{Text: fmt.Sprintf(format, args...), Look: look}
}

func pass() (Action, Reason) { return Action{}, Reason{} }

func finished(r *Record, _ *Facts, _ *Policy) (Action, Reason) {
	if r.Outcome != Open {
		return wait(time.Time{}, "finished: %s", r.Outcome)
	}
	return pass()
}

// Asks says whether the chain's view of the sector must be asked now. A pre-commit
// is asked for once per landed message, not once per poll.
func Asks(r *Record, f *Facts) bool {
	if r.Outcome != Open {
		return false
	}
	for _, s := range []Stage{PreCommit, Commit} {
		landed := r.PreCommitted()
		if s == Commit {
			landed = r.Activation != 0
		}
		m := f.Messages[s].State
		switch r.Stage(s).State {
		case Faulted:
			if !landed {
				return true
			}
		case Done: // no message: the chain client found its effect there already
			if !landed && (m == MessageNone || m.Terminal()) {
				return true
			}
		}
	}
	// Before a proof is made of a pre-commit's seed, or gas spent on it, see that it still stands.
	next := func(s, before Stage) bool { return r.Stage(s).State == Idle && r.Stage(before).State == Done }
	return r.PreCommitted() && r.Activation == 0 && (r.Stage(C1).State == Idle || next(C2, C1) || next(Commit, C2))
}

// chainTruth takes over what the chain says: it beats the record (design rule 4).
func chainTruth(r *Record, f *Facts, _ *Policy) (Action, Reason) {
	if f.OnChain == nil {
		return pass()
	}
	sector, pre := f.OnChain.Sector, f.OnChain.PreCommit
	switch {
	case sector != nil && r.Activation == 0:
		if sector.CommR != r.CommR {
			return foreign(r, "sector", sector.CommR)
		}
		return act(CommitLanded{*sector}), Reason{Text: "committed on chain"}
	case pre != nil && !r.PreCommitted():
		if pre.CommR != r.CommR {
			return foreign(r, "pre-commit", pre.CommR)
		}
		return act(PreCommitLanded{*pre}), Reason{Text: "pre-commit landed"}
	case r.PreCommitted() && r.Activation == 0 && pre == nil && sector == nil &&
		f.OnChain.AsOf > r.PreCommitEpoch && f.OnChain.AsOf <= r.CommitDeadline:
		return act(PreCommitGone{}), Reason{Text: "the pre-commit is no longer on chain: a reorganisation took it"}
	case pre != nil && r.PreCommitted() && r.Activation == 0 && pre.CommR == r.CommR && pre.Epoch != r.PreCommitEpoch &&
		f.OnChain.AsOf > r.PreCommitEpoch && !inFlight(r, Commit, f):
		// Its seed is another one now. The next step takes the new epoch over.
		return act(PreCommitGone{}), Reason{Text: fmt.Sprintf("a reorganisation moved the pre-commit from epoch %d to %d", r.PreCommitEpoch, pre.Epoch)}
	}
	return pass()
}

func foreign(r *Record, what string, commR fmt.Stringer) (Action, Reason) {
	if r.Hold != nil {
		return pass()
	}
	text := fmt.Sprintf("the chain has a %s of this number with CommR %s, which is not ours (%s): somebody else used the number, or files of another seal were put here; all files are kept", what, commR, r.CommR)
	return act(Held{Hold{Reason: text, Class: Rejected}}), Reason{Text: text}
}

// messages turns terminal messages that did not reach their end into faults.
func messages(r *Record, f *Facts, p *Policy) (Action, Reason) {
	for _, s := range []Stage{PreCommit, Commit} {
		landed := s == PreCommit && r.PreCommitted() || s == Commit && r.Activation != 0
		m := f.Messages[s]
		if landed || r.Stage(s).State != Done || !m.State.Terminal() || f.OnChain == nil || f.OnChain.AsOf < m.Epoch {
			continue // another scheduler's node may be ahead of ours
		}
		switch m.State {
		case MessageFailed, MessageDropped:
			fault := m.Fault
			if fault == nil {
				fault = Failf(Transient, "message %s was dropped: its nonce was used by another", m.CID)
			}
			return act(MessageFault{s, *fault}), Reason{Text: fault.Text}
		case MessageConfirmed:
			if r.Hold == nil {
				text := fmt.Sprintf("%s message %s was executed with exit code 0, but the chain does not show its effect", s, m.CID)
				return act(Held{Hold{Reason: text, Class: Rejected, Stage: s}}), Reason{Text: text}
			}
		}
	}
	return pass()
}

// orders carries out an order to abandon.
func orders(r *Record, f *Facts, p *Policy) (Action, Reason) {
	if !r.Abandoned {
		return pass()
	}
	// One that was never placed has nothing that a job could remove.
	if r.Stage(RecoverAbandon).State == Done || r.Home == "" {
		return act(Finished{Removed}), Reason{Text: "abandoned"}
	}
	return pass()
}

// redeliver compares queued and running stages with the queue (design rule 2).
func redeliver(r *Record, f *Facts, p *Policy) (Action, Reason) {
	var v verdict
	for _, row := range Stages {
		sr := r.Stage(row.Stage)
		if sr.State != Queued && sr.State != Running || r.Hold != nil && !row.Recovery {
			continue
		}
		again := lost(f.Tasks[row.Stage])
		why := "its task was " + string(f.Tasks[row.Stage])
		if sr.Batch != "" {
			why = sr.Batch + " was given up or lost"
		}
		q, served := route(row, r, f)
		if again == "" && waiting(f.Tasks[row.Stage]) && served.OK() && sr.Queue != q.String() && !alive(sr.Queue, f) {
			again, why = "moved", "no live lane serves "+sr.Queue
		}
		if again == "" || !served.OK() {
			continue
		}
		if a := act(Scheduled{Stage: row.Stage, Queue: q, Again: true, Why: why}); v.take(a, Reason{Text: why}) {
			return a, Reason{Text: why}
		}
	}
	return v.rest()
}

// lost says why a task in this state will not run the stage; empty if it will.
func lost(t TaskState) string {
	switch t {
	case TaskAbsent, TaskArchived, TaskCompleted, TaskActiveDead:
		return string(t)
	}
	return ""
}

func waiting(t TaskState) bool {
	return t == TaskPending || t == TaskScheduled || t == TaskRetry
}

func held(r *Record, f *Facts, p *Policy) (Action, Reason) {
	if r.Hold == nil || r.Abandoned {
		return pass()
	}
	return wait(f.Now.Add(10*p.Look), "held: %s", r.Hold.Reason)
}

// tooLate sees deadlines before hours are spent past them.
func tooLate(r *Record, f *Facts, p *Policy) (Action, Reason) {
	if r.Abandoned {
		return pass()
	}
	if r.PreCommitted() && r.Activation == 0 && f.Head.Epoch > r.CommitDeadline && !inFlight(r, Commit, f) {
		text := fmt.Sprintf("the pre-commit expired at epoch %d (head %d): its deposit is burnt and the number stays used; remove the sector", r.CommitDeadline, f.Head.Epoch)
		return act(Held{Hold{Reason: text, Class: Deadline, Stage: Commit}}), Reason{Text: text}
	}
	if r.Ticket.Value == nil || r.PreCommitted() || f.Head.Epoch-r.Ticket.Epoch <= p.TicketWindow-p.TicketMargin {
		return pass()
	}
	switch r.Stage(PreCommit).State {
	case Queued, Running, Done: // its message decides
		return pass()
	}
	if inFlight(r, PreCommit, f) {
		return pass()
	}
	return newTicket(r, f, p, SDR, fmt.Sprintf("the ticket of epoch %d is too old to pre-commit at epoch %d", r.Ticket.Epoch, f.Head.Epoch))
}

func newTicket(r *Record, f *Facts, p *Policy, s Stage, why string) (Action, Reason) {
	if inFlight(r, PreCommit, f) {
		return wait(f.Now.Add(p.Look), "%s, but a signed pre-commit message may still land: waiting for it to end", why)
	}
	if r.Retickets >= p.MaxRetickets {
		text := fmt.Sprintf("%s, and %d tickets were replaced already: see that sdr to precommit fits into %d epochs", why, r.Retickets, p.TicketWindow)
		return act(Held{Hold{Reason: text, Class: Deadline, Stage: s}}), Reason{Text: text}
	}
	return act(RolledBack{To: SDR, NewTicket: true, Why: why}), Reason{Text: why}
}

// inFlight says that a signed message of the stage may still land.
func inFlight(r *Record, s Stage, f *Facts) bool {
	switch r.Stage(s).State {
	case Running:
		return true
	case Done, Queued, Faulted:
		st := f.Messages[s].State
		return st != MessageNone && !st.Terminal()
	}
	return false
}

// recoveries schedules wanted recovery jobs before anything else. A sector that is given
// up needs no other than the one that removes it.
func recoveries(r *Record, f *Facts, p *Policy) (Action, Reason) {
	for _, row := range Stages {
		if !row.Recovery || r.Abandoned && row.Stage != RecoverAbandon {
			continue
		}
		switch r.Stage(row.Stage).State {
		case Wanted:
			return schedule(row, r, f, p, "")
		case Faulted:
			return remedy(row, r, f, p)
		case Queued, Running:
			return wait(time.Time{}, "%s is %s", row.Stage, r.Stage(row.Stage).State)
		}
	}
	return pass()
}

// place chooses a home.
func place(r *Record, f *Facts, p *Policy) (Action, Reason) {
	if r.Home != "" {
		return pass()
	}
	if why, _, foreign := provable(f); !why.OK() {
		if foreign {
			return act(Held{Hold{Reason: why.Text, Class: Rejected, Stage: C2}}), why
		}
		return Action{}, why
	}
	path, why := choosePath(r, f)
	if !why.OK() {
		return Action{}, why
	}
	return act(Placed{path}), Reason{Text: "path " + path + " has the most free space"}
}

// advance schedules the first stage that can start, or finishes the sector, or
// says what it waits for.
func advance(r *Record, f *Facts, p *Policy) (Action, Reason) {
	var v verdict
	for _, row := range Stages {
		if row.Recovery || r.Stage(row.Stage).State == Done {
			continue
		}
		a, why := Action{}, startable(row, r, f, p)
		if why.OK() {
			a, why = schedule(row, r, f, p, "")
		}
		if v.take(a, why) {
			return a, why
		}
	}
	if a, why := v.rest(); a.Event != nil || !why.OK() {
		return a, why
	}
	return finish(r, f, p)
}

func finish(r *Record, f *Facts, p *Policy) (Action, Reason) {
	if f.Network.Embedded {
		return act(Finished{Committed}), Reason{Text: "committed; nobody proves on the embedded node"}
	}
	return proof(r, f, p)
}

// earlier keeps the first reason's text and the earlier look.
func earlier(a, b Reason) Reason {
	if a.OK() {
		return b
	}
	if !b.Look.IsZero() && (a.Look.IsZero() || b.Look.Before(a.Look)) {
		a.Look = b.Look
	}
	return a
}

func startable(row *Row, r *Record, f *Facts, p *Policy) Reason {
	switch sr := r.Stage(row.Stage); sr.State {
	case Queued, Running:
		return Reason{Text: fmt.Sprintf("%s is %s on %s", row.Stage, sr.State, sr.Queue) + unserved(sr, f)}
	case Faulted:
		return Reason{Text: fmt.Sprintf("%s failed: %s", row.Stage, sr.Fault.Error())}
	}
	for _, s := range row.Needs(r.Proof) {
		if r.Stage(s).State != Done {
			return Reason{Text: fmt.Sprintf("%s waits for %s", row.Stage, s)}
		}
	}
	if row.Ready != nil {
		return row.Ready(r, f, p)
	}
	return Reason{}
}

func schedule(row *Row, r *Record, f *Facts, _ *Policy, why string) (Action, Reason) {
	q, reason := route(row, r, f)
	if !reason.OK() {
		return Action{}, reason
	}
	a := act(Scheduled{Stage: row.Stage, Queue: q, Why: why})
	if row.Draw == DrawTicket && r.Ticket.Value == nil || row.Draw == DrawSeed && r.Seed.Value == nil {
		a.Draw = row.Draw
	}
	return a, Reason{Text: fmt.Sprintf("%s can start", row.Stage)}
}
