package jobs

import "fmt"

// remedies chooses what follows a fault: design §5's table.
func remedies(r *Record, f *Facts, p *Policy) (Action, Reason) {
	var v verdict
	for _, row := range Stages {
		if row.Recovery || r.Stage(row.Stage).State != Faulted || r.Abandoned {
			continue
		}
		a, why := remedy(row, r, f, p)
		if v.take(a, why) {
			return a, why
		}
	}
	rest, first := v.rest()
	if first.OK() {
		return pass()
	}
	// One stage waiting out its back-off does not stop the others.
	if a, why := advance(r, f, p); a.Event != nil && (!a.Batched || !rest.Batched) {
		return a, why
	}
	return rest, first
}

func remedy(row *Row, r *Record, f *Facts, p *Policy) (Action, Reason) {
	sr := r.Stage(row.Stage)
	fault := sr.Fault
	if holds(fault.Class) && (fault.Class != Deadline || row.Recovery) {
		return hold(r, row, fault, fault.Text)
	}
	switch fault.Class {
	case Transient:
		return again(row, r, f, p, false)
	case Busy, Funds:
		return again(row, r, f, p, true)
	case Deadline:
		if r.PreCommitted() {
			return hold(r, row, fault, fault.Text)
		}
		return newTicket(r, f, p, row.Stage, fault.Text)
	}
	return badInput(row, r, f, p)
}

// holds says that a class ends in a hold.
func holds(c FaultClass) bool {
	switch c {
	case Transient, Busy, Funds:
		return false
	}
	return c != Input
}

func hold(r *Record, row *Row, fault *Fault, text string) (Action, Reason) {
	if r.Hold != nil && r.Hold.Stage == row.Stage && r.Hold.Reason == text {
		return Action{}, Reason{Text: "held: " + text}
	}
	return act(Held{Hold{Reason: text, Class: fault.Class, Stage: row.Stage}}), Reason{Text: text}
}

// again runs the same stage after a wait. Waiting for a GPU or for money spends no
// attempt.
func again(row *Row, r *Record, f *Facts, p *Policy, free bool) (Action, Reason) {
	sr := r.Stage(row.Stage)
	due := sr.Fault.At.Add(p.backoff(sr.Faults))
	if free {
		due = sr.Fault.At.Add(p.BusyWait)
	}
	if f.Now.Before(due) {
		return wait(due, "%s failed (%s); it is tried again at %s", row.Stage, sr.Fault.Error(), due.UTC().Format("15:04:05"))
	}
	if row.Ready != nil {
		if why := row.Ready(r, f, p); !why.OK() {
			return Action{}, why
		}
	}
	q, why := route(row, r, f)
	if !why.OK() {
		return Action{}, why
	}
	return act(Scheduled{Stage: row.Stage, Queue: q, Again: free && sr.Attempt > 0, Why: "after " + sr.Fault.Error()}), Reason{Text: "back-off over"}
}

// badInput looks for a missing input first and makes a bad one again.
func badInput(row *Row, r *Record, f *Facts, p *Policy) (Action, Reason) {
	fault := r.Stage(row.Stage).Fault
	if fault.Missing {
		return act(RecoveryWanted{RecoverLocate, fault.Text}), Reason{Text: fault.Text}
	}
	to := fault.From
	if to == "" {
		to = row.InputFrom
	}
	if to == TreeRC && r.Stage(DropLayers).State == Done {
		to = SDR // its layers are gone
	}
	if to == "" || r.Activation != 0 {
		return hold(r, row, fault, fault.Text)
	}
	if r.Rollbacks >= p.MaxRollbacks {
		return hold(r, row, fault, fmt.Sprintf("%s (after %d roll-backs: look at disk, memory and the prover before releasing)", fault.Text, r.Rollbacks))
	}
	for _, s := range []Stage{PreCommit, Commit} {
		if redone := dependents(to, r.Proof); redone[s] && inFlight(r, s, f) && (s != PreCommit || !r.PreCommitted()) {
			return wait(f.Now.Add(p.Look), "%s must be redone, but a signed %s message may still land: waiting for it to end", to, s)
		}
	}
	return act(RolledBack{To: to, Why: fault.Text}), Reason{Text: fault.Text}
}
