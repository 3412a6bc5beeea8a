package jobs

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
)

// TestExplore enumerates every state that one sector can reach through the real
// Decide and Apply, with a bounded number of mishaps anywhere: lost, repeated and
// archived tasks, zombie handlers, workers and pollers that die between any two
// writes, faults of every class, messages dropped or refused, an expired ticket,
// an expired pre-commit.
//
// Safety, in every state and at every write:
//   - only the current fence, attempt and delivery is claimed;
//   - a pre-commit on chain freezes ticket and CommR (rule 4);
//   - no two messages of one kind are alive, and a number is pre-committed once;
//   - the proof sent is of the replica on chain;
//   - a stage that is done stays done until its fence is raised;
//   - a commit is sent only after store and c2;
//   - with synthetic proofs, a pre-commit is sent only after the layers are dropped;
//   - the poller's own events are never refused;
//   - lost tasks, dead processes and transient faults alone never hold a sector.
//
// Liveness: from every state, without further mishaps, the sector ends committed
// or held with a reason.
func TestExplore(t *testing.T) {
	t.Parallel()
	forCurio := func(r *Record, f *Facts, p *Policy) (Action, Reason) {
		curio := *p
		curio.Handover = HandoverCurio
		return Decide(r, f, &curio)
	}
	for name, c := range map[string]struct {
		rules   rules
		proof   abi.RegisteredSealProof
		budget  int
		atLeast int
	}{
		"one mishap, all orders":            {rules{false, Decide, Apply}, interactive, 1, 8_000},
		"two mishaps, with a prompt poller": {rules{true, Decide, Apply}, interactive, 2, 50_000},
		"synthetic, one mishap, all orders": {rules{false, Decide, Apply}, synthetic, 1, 8_000},
		"for Curio, one mishap, all orders": {rules{false, forCurio, Apply}, interactive, 1, 8_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, err := explore(&c.rules, c.proof, c.budget, 100_000)
			require.NoError(t, err)
			t.Logf("%d states", n)
			require.Greater(t, n, c.atLeast, "the model lost its behaviour")
		})
	}
}

type node struct {
	from  int
	via   string
	state *world // dropped once expanded
	good  []int32
	goal  bool
}

// explore follows the rules through every state with at most budget mishaps. It gives the number of states, or the shortest trace to a broken property.
func explore(r *rules, proof abi.RegisteredSealProof, budget, limit int) (int, error) {
	p := modelPolicy()
	seen := map[[16]byte]int32{}
	nodes := []node{{from: -1, state: newWorld(r, proof)}}
	id := func(w *world) [16]byte {
		sum := sha256.Sum256([]byte(w.key()))
		return [16]byte(sum[:16])
	}
	seen[id(nodes[0].state)] = 0
	trace := func(i int) (s string) {
		for ; i > 0; i = nodes[i].from {
			s = "\n  " + nodes[i].via + s
		}
		return s
	}
	for i := 0; i < len(nodes); i++ {
		w := nodes[i].state
		nodes[i].goal = w.rec.Outcome != Open || w.rec.Hold != nil
		if w.rec.Outcome == Committed && (w.sector == nil || w.rec.CommR != w.sector.CommR) {
			return i, fmt.Errorf("a sector is committed that the chain does not have:%s", trace(i))
		}
		if w.rec.Hold != nil && !w.hurt {
			return i, fmt.Errorf("held (%s) though nothing happened that time or the queue cannot mend:%s", w.rec.Hold.Reason, trace(i))
		}
		if nodes[i].goal {
			nodes[i].state = nil
			continue
		}
		steps, bad := w.steps(p, budget)
		if bad != nil {
			return i, fmt.Errorf("%s: %s%s", bad.property, bad.detail, trace(i))
		}
		for _, s := range steps {
			k := id(s.to)
			to, ok := seen[k]
			if !ok {
				if len(nodes) >= limit {
					return i, fmt.Errorf("more than %d states: the model grew, look why", limit)
				}
				to = int32(len(nodes))
				seen[k] = to
				nodes = append(nodes, node{from: i, via: s.name, state: s.to})
			}
			if !s.mishap {
				nodes[to].good = append(nodes[to].good, int32(i))
			}
		}
		nodes[i].state = nil
	}
	return len(nodes), live(nodes, trace)
}

// live walks backwards from the goals along transitions that are no mishaps.
func live(nodes []node, trace func(int) string) error {
	reached := make([]bool, len(nodes))
	var queue []int32
	for i := range nodes {
		if nodes[i].goal {
			reached[i] = true
			queue = append(queue, int32(i))
		}
	}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		for _, from := range nodes[i].good {
			if !reached[from] {
				reached[from] = true
				queue = append(queue, from)
			}
		}
	}
	for i := range nodes {
		if !reached[i] {
			return fmt.Errorf("from state %d no way leads to an end:%s", i, trace(i))
		}
	}
	return nil
}

// checkWrite holds the properties of single writes.
func (w *world) checkWrite(n *world, e Event) {
	was, is := w.rec, n.rec
	for s, sr := range was.Stages {
		if sr.State == Done && is.Stage(s).State != Done && is.Stage(s).Fence == sr.Fence {
			panic(&broken{"a done stage stays done under its fence", fmt.Sprintf("%s after %s", s, e)})
		}
	}
	if was.PreCommitted() && is.PreCommitted() && (was.CommR != is.CommR || string(was.Ticket.Value) != string(is.Ticket.Value)) {
		panic(&broken{"a pre-commit on chain freezes ticket and CommR", e.String()})
	}
	if s, ok := e.(Scheduled); ok && s.Stage == Commit && (was.Stage(Store).State != Done || was.Stage(C2).State != Done) {
		panic(&broken{"a commit comes after store and c2", e.String()})
	}
	if s, ok := e.(Scheduled); ok && s.Stage == PreCommit && was.Proof.IsSynthetic() && was.Stage(DropLayers).State != Done {
		panic(&broken{"a synthetic pre-commit comes after drop_layers", e.String()})
	}
	if c, ok := e.(Completed); ok && is.Stage(c.Task.Stage).Fence != c.Task.Fence {
		panic(&broken{"only work of the current fence is accepted", e.String()})
	}
}
