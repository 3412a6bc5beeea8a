package jobs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
)

// The world of batches: two sectors, two schedulers that may form batches of them at
// the same time, a queue, and workers. Every write is a step of its own, and with
// every step a process may die.
type batchWorld struct {
	sectors  []*Record
	batches  []*Batch // by number; names are made of it
	tasks    map[BatchRef]TaskState
	forming  [2]*forming
	handlers []*handler
	sent     map[string]string // meaning → batch: the chain client sends each once
	mishaps  int
}

// forming is a scheduler between planning and enqueueing.
type forming struct {
	batch    *Batch // as this scheduler knows it
	read     []*Record
	accepted []TaskRef
	closed   bool
}

// handler is a worker with a batch's task.
type handler struct {
	ref     BatchRef
	claim   int
	todo    []TaskRef // to be claimed
	claimed []TaskRef
	claims  []int
	sent    bool
}

func (w *batchWorld) clone() *batchWorld {
	c := *w
	c.sectors, c.batches = slices.Clone(w.sectors), slices.Clone(w.batches)
	c.tasks, c.sent = maps.Clone(w.tasks), maps.Clone(w.sent)
	for i, f := range w.forming {
		if f != nil {
			g := *f
			g.read, g.accepted = slices.Clone(f.read), slices.Clone(f.accepted)
			c.forming[i] = &g
		}
	}
	c.handlers = nil
	for _, h := range w.handlers {
		g := *h
		g.todo, g.claimed, g.claims = slices.Clone(h.todo), slices.Clone(h.claimed), slices.Clone(h.claims)
		c.handlers = append(c.handlers, &g)
	}
	return &c
}

// key leaves out texts and clocks, and of versions all but whether a compare-and-set
// would be won.
func (w *batchWorld) key() string {
	var b strings.Builder
	for _, r := range w.sectors {
		sr := r.Stage(PreCommit)
		fmt.Fprintf(&b, "%s %s %d %d|", sr.State, sr.Batch, sr.Delivery, sr.Claim)
	}
	for _, x := range w.batches {
		if !x.Open() && !slices.ContainsFunc(w.handlers, func(h *handler) bool { return h.ref.Batch == x.ID }) {
			b.WriteString("over|")
			continue
		}
		fmt.Fprintf(&b, "%s %v %d %d|", x.State, x.Members, x.Delivery, x.Claim)
	}
	for _, ref := range slices.SortedFunc(maps.Keys(w.tasks), func(a, b BatchRef) int { return strings.Compare(a.String(), b.String()) }) {
		fmt.Fprintf(&b, "%s=%s|", ref, w.tasks[ref])
	}
	for _, f := range w.forming {
		if f != nil {
			_, now := w.find(f.batch.ID)
			fmt.Fprintf(&b, "f %s %v", f.batch.ID, f.batch.Version == now.Version)
			for _, r := range f.read {
				fmt.Fprintf(&b, " %s %v", r.ID, slices.ContainsFunc(w.sectors, func(o *Record) bool { return o.ID == r.ID && o.Version == r.Version }))
			}
			fmt.Fprintf(&b, " %v %v", f.accepted, f.closed)
		}
		b.WriteString("|")
	}
	for _, h := range w.handlers {
		fmt.Fprintf(&b, "h %s %d %v %v %v %v|", h.ref, h.claim, h.todo, h.claimed, h.claims, h.sent)
	}
	fmt.Fprintf(&b, "%v %d", w.sent, w.mishaps)
	return b.String()
}

func (w *batchWorld) find(id string) (int, *Batch) {
	i := slices.IndexFunc(w.batches, func(b *Batch) bool { return b.ID == id })
	return i, w.batches[i]
}

// waiting says that a sector is a candidate: idle, or its batch will not run it.
func (w *batchWorld) waiting(r *Record) bool {
	sr := r.Stage(PreCommit)
	switch sr.State {
	case Idle:
		return true
	case Queued, Running:
		_, b := w.find(sr.Batch)
		return lost(MemberTask(b, r.Task(PreCommit))) != ""
	}
	return false
}

type batchStep struct {
	name   string
	to     *batchWorld
	mishap bool
}

func (w *batchWorld) steps(budget int) (out []batchStep) {
	step := func(mishap bool, name string, change func(n *batchWorld)) {
		if mishap && w.mishaps >= budget {
			return
		}
		n := w.clone()
		change(n)
		if mishap {
			n.mishaps++
		}
		out = append(out, batchStep{name, n, mishap})
	}
	for i := range w.forming {
		w.formSteps(i, step)
	}
	for i, b := range w.batches {
		w.tendSteps(i, b, step)
	}
	for i := range w.handlers {
		w.handlerSteps(i, step)
	}
	return out
}

func (w *batchWorld) formSteps(i int, step func(bool, string, func(*batchWorld))) {
	who := fmt.Sprintf("scheduler %d ", i)
	f := w.forming[i]
	if f == nil {
		var read []*Record
		var members []TaskRef
		id := NewBatchID(noon, fmt.Sprintf("batch%d", len(w.batches)))
		for _, r := range w.sectors {
			if w.waiting(r) {
				next := must(Apply(r, Scheduled{Stage: PreCommit, Again: r.Stage(PreCommit).State != Idle, Queue: Queue{Class: ClassChain}, Batch: id}, noon))
				read, members = append(read, r), append(members, next.Task(PreCommit))
			}
		}
		if len(read) > 0 && len(w.batches) < 5 {
			// Two at once are a mishap, and the second scheduler is there for that only.
			busy := w.forming[1-i] != nil
			if i == 1 && !busy {
				return
			}
			step(busy, who+"plans", func(n *batchWorld) {
				b := &Batch{ID: id, Version: 1, Members: members, State: BatchPlanned}
				n.batches = append(n.batches, b)
				n.forming[i] = &forming{batch: b, read: read}
			})
		}
		return
	}
	step(true, who+"dies", func(n *batchWorld) { n.forming[i] = nil })
	switch {
	case len(f.read) > 0:
		step(false, who+"asks "+f.read[0].ID.String(), func(n *batchWorld) {
			g := n.forming[i]
			old := g.read[0]
			g.read = g.read[1:]
			at := slices.IndexFunc(n.sectors, func(r *Record) bool { return r.ID == old.ID })
			if n.sectors[at].Version != old.Version {
				return // the compare-and-set is lost
			}
			n.sectors[at] = must(Apply(old, Scheduled{Stage: PreCommit, Again: old.Stage(PreCommit).State != Idle, Queue: Queue{Class: ClassChain}, Batch: g.batch.ID}, noon))
			g.accepted = append(g.accepted, n.sectors[at].Task(PreCommit))
		})
	case !f.closed:
		step(false, who+"closes", func(n *batchWorld) {
			g := n.forming[i]
			at, b := n.find(g.batch.ID)
			var e BatchEvent = MembersAccepted{g.accepted}
			if len(g.accepted) == 0 {
				e = BatchDropped{"nobody"}
			}
			next, err := ApplyBatch(g.batch, e, noon)
			if err != nil || b.Version != g.batch.Version || !next.Open() {
				n.forming[i] = nil // dissolved meanwhile, or nobody to send
				if err == nil && b.Version == g.batch.Version {
					n.batches[at] = next
				}
				return
			}
			n.batches[at], g.batch, g.closed = next, next, true
		})
	default:
		step(false, who+"enqueues", func(n *batchWorld) {
			if _, there := n.tasks[f.batch.Task()]; !there {
				n.tasks[f.batch.Task()] = TaskPending
			}
			n.forming[i] = nil
		})
	}
}

// tendSteps are the poller's and the queue's.
func (w *batchWorld) tendSteps(i int, b *Batch, step func(bool, string, func(*batchWorld))) {
	task, there := w.tasks[b.Task()]
	if !there {
		task = TaskAbsent
	}
	write := func(e BatchEvent) func(*batchWorld) {
		return func(n *batchWorld) {
			n.batches[i] = must(ApplyBatch(b, e, noon))
			if n.batches[i].Open() {
				n.tasks[n.batches[i].Task()] = TaskPending
			}
		}
	}
	at := noon
	if b.State == BatchPlanned {
		at = noon.Add(PlanPatience) // its scheduler is slow, or dead
	}
	b.Since = noon
	if e := DecideBatch(b, task, at); e != nil {
		slow := b.State == BatchPlanned && slices.ContainsFunc(w.forming[:], func(f *forming) bool { return f != nil && f.batch.ID == b.ID })
		early := b.State == BatchClosed && slices.ContainsFunc(w.forming[:], func(f *forming) bool { return f != nil && f.batch.ID == b.ID })
		step(slow || early, "poll: "+b.ID+" "+e.String(), write(e))
	}
	if task == TaskPending {
		step(false, "claim "+b.Task().String(), func(n *batchWorld) {
			next, err := ApplyBatch(b, BatchClaimed{Task: b.Task()}, noon)
			if err != nil {
				delete(n.tasks, b.Task())
				return
			}
			n.batches[i] = next
			n.tasks[b.Task()] = TaskActive
			n.handlers = append(n.handlers, &handler{ref: b.Task(), claim: next.Claim, todo: slices.Clone(next.Members)})
		})
		step(true, "deleted in asynqmon "+b.Task().String(), func(n *batchWorld) { delete(n.tasks, b.Task()) })
	}
	if task == TaskActive {
		step(true, "lease is lost, handler lives on: "+b.Task().String(), func(n *batchWorld) { n.tasks[b.Task()] = TaskPending })
	}
}

func (w *batchWorld) handlerSteps(i int, step func(bool, string, func(*batchWorld))) {
	h := w.handlers[i]
	drop := func(n *batchWorld) { n.handlers = slices.Delete(n.handlers, i, i+1) }
	step(true, "handler dies "+h.ref.String(), func(n *batchWorld) {
		drop(n)
		if n.tasks[h.ref] == TaskActive {
			n.tasks[h.ref] = TaskActiveDead
		}
	})
	sector := func(n *batchWorld, m TaskRef) int {
		return slices.IndexFunc(n.sectors, func(r *Record) bool { return r.ID == m.ID })
	}
	switch {
	case len(h.todo) > 0:
		step(false, "claim member "+h.todo[0].String(), func(n *batchWorld) {
			g := n.handlers[i]
			m := g.todo[0]
			g.todo = g.todo[1:]
			at := sector(n, m)
			next, err := Apply(n.sectors[at], Claimed{Task: m}, noon)
			if err != nil {
				return
			}
			if next.Stage(PreCommit).Batch != h.ref.Batch {
				panic(&broken{"a batch claims its own members only", m.String()})
			}
			n.sectors[at] = next
			g.claimed, g.claims = append(g.claimed, m), append(g.claims, next.Stage(PreCommit).Claim)
		})
	case !h.sent:
		step(false, "send "+h.ref.String(), func(n *batchWorld) {
			n.handlers[i].sent = true
			for _, m := range h.claimed {
				meaning := n.sectors[sector(n, m)].Meaning(PreCommit).String()
				if n.sent[meaning] == "" {
					n.sent[meaning] = h.ref.Batch
				}
			}
		})
	case len(h.claimed) > 0:
		step(false, "complete member "+h.claimed[0].String(), func(n *batchWorld) {
			g := n.handlers[i]
			m, claim := g.claimed[0], g.claims[0]
			g.claimed, g.claims = g.claimed[1:], g.claims[1:]
			at := sector(n, m)
			message := n.sent[n.sectors[at].Meaning(PreCommit).String()]
			if next, err := Apply(n.sectors[at], Completed{Task: m, Claim: claim, Result: Result{Message: message}}, noon); err == nil {
				n.sectors[at] = next
			}
		})
	default:
		step(false, "end "+h.ref.String(), func(n *batchWorld) {
			drop(n)
			at, b := n.find(h.ref.Batch)
			if next, err := ApplyBatch(b, BatchEnded{Claim: h.claim}, noon); err == nil {
				n.batches[at] = next
			}
			delete(n.tasks, h.ref)
		})
	}
}

// check is what must hold in every state.
func (w *batchWorld) check() {
	for _, r := range w.sectors {
		holders := 0
		for _, b := range w.batches {
			if b.Delivery > 0 && MemberTask(b, r.Task(PreCommit)) != TaskAbsent {
				holders++
			}
		}
		if holders > 1 {
			panic(&broken{"no two closed batches hold a sector", r.ID.String()})
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(&broken{"events of our own are accepted", err.Error()})
	}
	return v
}

// TestExploreBatches enumerates every state of two sectors and two schedulers, with
// two mishaps anywhere. No two batches that may run hold a sector, a batch claims
// none but its own members, and from every state both sectors come to be sent.
func TestExploreBatches(t *testing.T) {
	t.Parallel()
	start := &batchWorld{tasks: map[BatchRef]TaskState{}, sent: map[string]string{}}
	for _, number := range []abi.SectorNumber{1, 2} {
		r, _, _ := before(t, PreCommit)
		r.ID.Number = number
		start.sectors = append(start.sectors, r)
	}
	n, err := exploreBatches(start, 2, 400_000)
	require.NoError(t, err)
	t.Logf("%d states", n)
	require.Greater(t, n, 10_000, "the model lost its behaviour")
}

func exploreBatches(start *batchWorld, budget, limit int) (n int, err error) {
	seen := map[string]int32{start.key(): 0}
	nodes := []node{{from: -1}}
	worlds := []*batchWorld{start}
	trace := func(i int) (s string) {
		for ; i > 0; i = nodes[i].from {
			s = "\n  " + nodes[i].via + s
		}
		return s
	}
	for i := 0; i < len(nodes); i++ {
		w := worlds[i]
		worlds[i] = nil
		nodes[i].goal = !slices.ContainsFunc(w.sectors, func(r *Record) bool { return r.Stage(PreCommit).State != Done })
		if nodes[i].goal {
			continue
		}
		var steps []batchStep
		if bad := catch(func() { w.check(); steps = w.steps(budget) }); bad != nil {
			return i, fmt.Errorf("%s: %s%s", bad.property, bad.detail, trace(i))
		}
		for _, s := range steps {
			k := s.to.key()
			to, ok := seen[k]
			if !ok {
				if len(nodes) >= limit {
					return i, fmt.Errorf("more than %d states: the model grew, look why", limit)
				}
				to = int32(len(nodes))
				seen[k] = to
				nodes = append(nodes, node{from: i, via: s.name})
				worlds = append(worlds, s.to)
			}
			if !s.mishap {
				nodes[to].good = append(nodes[to].good, int32(i))
			}
		}
	}
	return len(nodes), live(nodes, trace)
}

func catch(f func()) (bad *broken) {
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(*broken)
			if !ok {
				panic(r)
			}
			bad = b
		}
	}()
	f()
	return nil
}
