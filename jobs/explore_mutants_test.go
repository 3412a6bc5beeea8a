package jobs

import (
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
)

// TestExploreCatchesMutants breaks one rule at a time: the exploration must see
// each.
func TestExploreCatchesMutants(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]struct {
		rules rules
		want  string
		proof abi.RegisteredSealProof
	}{
		"a claim by an older delivery is taken": {
			rules{true, Decide, func(r *Record, e Event, now time.Time) (*Record, error) {
				if c, ok := e.(Claimed); ok {
					c.Task = r.Task(c.Task.Stage)
					e = c
				}
				return Apply(r, e, now)
			}}, "only the current task is claimed", interactive},
		"a zombie's completion is taken": {
			rules{true, Decide, func(r *Record, e Event, now time.Time) (*Record, error) {
				if c, ok := e.(Completed); ok {
					c.Task, c.Claim = r.Task(c.Task.Stage), r.Stage(c.Task.Stage).Claim
					e = c
				}
				return Apply(r, e, now)
			}}, "only work of the current fence", interactive},
		"lost tasks are not looked for": {
			rules{true, func(r *Record, f *Facts, p *Policy) (Action, Reason) {
				f.Tasks = nil
				return Decide(r, f, p)
			}, Apply}, "no way leads to an end", interactive},
		"a failed message keeps its meaning": {
			rules{true, Decide, func(r *Record, e Event, now time.Time) (*Record, error) {
				next, err := Apply(r, e, now)
				if m, ok := e.(MessageFault); ok && err == nil {
					sr := next.Stage(m.Stage)
					sr.Fence--
					next.set(m.Stage, sr)
				}
				return next, err
			}}, "stays done under its fence", interactive},
		"messages in flight are not waited for": {
			rules{true, func(r *Record, f *Facts, p *Policy) (Action, Reason) {
				f.Messages = nil
				return Decide(r, f, p)
			}, Apply}, "no way leads to an end", interactive},
		"a pre-commit on chain does not freeze the ticket": {
			rules{true, Decide, func(r *Record, e Event, now time.Time) (*Record, error) {
				next, err := Apply(r, e, now)
				if _, ok := e.(RolledBack); ok && err == nil {
					next.Ticket = Randomness{}
				}
				return next, err
			}}, "freezes ticket", interactive},
		"a roll-back wipes nothing": {
			rules{true, Decide, func(r *Record, e Event, now time.Time) (*Record, error) {
				next, err := Apply(r, e, now)
				if b, ok := e.(RolledBack); ok && err == nil && !b.NewTicket {
					for s := range dependents(b.To, r.Proof) {
						sr := next.Stage(s)
						sr.Fence = r.Stage(s).Fence
						next.set(s, sr)
					}
				}
				return next, err
			}}, "stays done under its fence", interactive},
		"synthetic proofs do not make layers go first": {
			rules{true, func(r *Record, f *Facts, p *Policy) (Action, Reason) {
				other := r.Clone()
				other.Proof = interactive
				return Decide(other, f, p)
			}, Apply}, "a synthetic pre-commit comes after drop_layers", synthetic},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Most need one mishap only, and then the search is small.
			_, err := explore(&m.rules, m.proof, 1, 200_000)
			if err == nil {
				_, err = explore(&m.rules, m.proof, 2, 200_000)
			}
			require.ErrorContains(t, err, m.want)
			t.Log(err)
		})
	}
}
