package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

// inputOf is the stage that is redone when a stage's input is bad; without an entry
// the sector is held.
var inputOf = map[jobs.Stage]jobs.Stage{
	jobs.TreeRC:    jobs.SDR,
	jobs.PreCommit: jobs.TreeRC,
	jobs.C1:        jobs.TreeRC,
	jobs.C2:        jobs.C1,
	jobs.Store:     jobs.TreeRC,
	jobs.Commit:    jobs.C2,
}

// TestEveryFaultOfEveryStageHasItsRemedy fails each stage once in each class, sees
// that design §5's remedy follows, and that the sector is committed in the end.
func TestEveryFaultOfEveryStageHasItsRemedy(t *testing.T) {
	t.Parallel()
	for _, row := range jobs.Stages {
		for _, class := range jobs.FaultClasses {
			t.Run(string(row.Stage)+"/"+string(class), func(t *testing.T) {
				t.Parallel()
				p := startMini(t)
				id := p.add()
				p.bringTo(id, row.Stage)
				failed := p.record(id)
				p.fail(id, row.Stage, jobs.Failf(class, "injected"))
				p.checkRemedy(id, row, class, failed)
				outcome := jobs.Committed
				if row.Stage == jobs.RecoverAbandon {
					outcome = jobs.Removed
				}
				require.Equal(t, outcome, p.driveHome(id).Outcome)
				require.LessOrEqual(t, p.chain.Sent(jobs.Commit), 1, "one proof was sent")
			})
		}
	}
}

// cause brings about the fault or order that a recovery job follows.
func (p *pipeline) cause(id jobs.SectorID, s jobs.Stage) {
	p.t.Helper()
	f := jobs.Failf(jobs.Input, "no layers")
	switch s {
	case jobs.RecoverLocate:
		f.Missing = true
		fallthrough
	case jobs.RecoverWipe:
		p.driveTo(id, jobs.TreeRC)
		p.fail(id, jobs.TreeRC, f)
	case jobs.RecoverAbandon:
		p.driveTo(id, jobs.TreeRC)
		require.NoError(p.t, p.Order(p.ctx, id, jobs.AbandonOrdered{Why: "test"}, "test"))
	}
}

func (p *pipeline) bringTo(id jobs.SectorID, s jobs.Stage) {
	p.t.Helper()
	p.cause(id, s)
	p.driveTo(id, s)
}

func (p *pipeline) checkRemedy(id jobs.SectorID, row *jobs.Row, class jobs.FaultClass, failed *jobs.Record) {
	t, s := p.t, row.Stage
	before := failed.Stage(s)
	r := p.look(id)
	switch {
	case class == jobs.Transient || class == jobs.Busy || class == jobs.Funds:
		require.Equal(t, jobs.Faulted, r.Stage(s).State, "it waits first")
		require.Equal(t, class, r.Stage(s).Fault.Class)
		require.Equal(t, before.Attempt, r.Stage(s).Fault.Attempt)
		require.Equal(t, failed.Hold, r.Hold, "nothing is held for it")
		wait := p.policy.BackoffBase
		if class != jobs.Transient {
			wait = p.policy.BusyWait
		}
		p.clock.Advance(wait - time.Millisecond)
		require.Equal(t, jobs.Faulted, p.look(id).Stage(s).State, "for its whole back-off")
		p.clock.Advance(time.Millisecond)
		after := p.look(id).Stage(s)
		require.Equal(t, jobs.Queued, after.State, "then the same stage is enqueued")
		require.Equal(t, jobs.TaskPending, p.taskState(id, s))
		require.Equal(t, before.Fence, after.Fence)
		if class == jobs.Transient {
			require.Equal(t, [2]int{before.Attempt + 1, 1}, [2]int{after.Attempt, after.Delivery})
		} else {
			require.Equal(t, [2]int{before.Attempt, before.Delivery + 1}, [2]int{after.Attempt, after.Delivery}, "no attempt is spent")
		}
	case class == jobs.Input && inputOf[s] != "":
		to := inputOf[s]
		require.Nil(t, r.Hold)
		require.Equal(t, 1, r.Rollbacks)
		require.Greater(t, r.Stage(s).Fence, before.Fence, "the stage that failed is redone later")
		if to == jobs.SDR {
			require.Contains(t, queued(r), jobs.RecoverWipe, "old layers go first")
			require.Equal(t, jobs.Idle, r.Stage(jobs.SDR).State)
			return
		}
		require.Contains(t, queued(r), to)
	case class == jobs.Deadline && !failed.PreCommitted() && !row.Recovery:
		require.Equal(t, failed.Hold, r.Hold)
		require.Equal(t, 1, r.Retickets)
		require.Nil(t, r.Ticket.Value, "a new ticket is drawn with the next sdr")
		require.Contains(t, queued(r), jobs.RecoverWipe)
	default:
		require.NotNil(t, r.Hold, "held")
		require.Equal(t, "injected", r.Hold.Reason)
		require.Equal(t, class, r.Hold.Class)
		require.Equal(t, s, r.Hold.Stage)
		_, why := p.explain(id)
		require.Contains(t, why.Text, "injected")
	}
}

func TestAMissingInputIsLookedForBeforeItIsMadeAgain(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	p.driveTo(id, jobs.C1)
	f := jobs.Failf(jobs.Input, "no sealed file")
	f.Missing = true
	p.fail(id, jobs.C1, f)
	r := p.look(id)
	require.Contains(t, queued(r), jobs.RecoverLocate)
	require.Zero(t, r.Rollbacks)
	p.finish(id, jobs.RecoverLocate) // found nowhere
	r = p.look(id)
	require.Equal(t, 1, r.Rollbacks)
	require.Equal(t, jobs.Committed, p.driveHome(id).Outcome)
	require.Equal(t, 1, p.chain.Sent(jobs.PreCommit), "its pre-commit stands")
}

func TestMessagesThatFail(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault *jobs.Fault
		drop  bool
		held  bool
	}{
		"out of money":      {fault: jobs.Failf(jobs.Funds, "exit 19")},
		"dropped":           {drop: true},
		"refused for ever":  {fault: jobs.Failf(jobs.Rejected, "exit 16"), held: true},
		"input was no good": {fault: jobs.Failf(jobs.Input, "exit 16: invalid proof")},
	} {
		for _, s := range []jobs.Stage{jobs.PreCommit, jobs.Commit} {
			t.Run(string(s)+" "+name, func(t *testing.T) {
				t.Parallel()
				p := startMini(t)
				id := p.add()
				r := p.driveTo(id, s)
				p.chain.Doom(r.Meaning(s), jobstest.Fate{Fault: tc.fault, Dropped: tc.drop})
				p.finish(id, s)
				p.look(id)
				require.Equal(t, jobs.Done, p.record(id).Stage(s).State)
				p.chain.Advance(1 + p.chain.Confidence)
				r = p.look(id)
				require.Greater(t, r.Stage(s).Fence, 1, "only under a new fence may another message be sent")
				require.Equal(t, tc.held, r.Hold != nil)
				require.Equal(t, jobs.Committed, p.driveHome(id).Outcome)
				require.Equal(t, 2, p.chain.Sent(s))
			})
		}
	}
}

func TestAReorganisationThatTakesThePreCommitIsNoticedBeforeC1(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	p.drive(id, func(r *jobs.Record) bool { return r.PreCommitted() })
	p.chain.SetPreCommit(id, nil)
	p.chain.Advance(20)
	r := p.look(id)
	require.False(t, r.PreCommitted())
	require.Equal(t, 2, r.Stage(jobs.PreCommit).Fence)
	require.Equal(t, jobs.Committed, p.driveHome(id).Outcome)
}

func TestNoMessageIsReplacedWhileItMayLand(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	r := p.driveTo(id, jobs.Store)
	p.chain.Doom(r.Meaning(jobs.PreCommit), jobstest.Fate{Stuck: true})
	p.finish(id, jobs.PreCommit)
	p.fail(id, jobs.Store, jobs.Failf(jobs.Input, "tree-r-last is damaged"))
	p.look(id)
	require.Zero(t, p.record(id).Rollbacks)
	_, why := p.explain(id)
	require.Contains(t, why.Text, "may still land")
}
