package jobs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
)

// The model is one sector's world, small enough to enumerate: the real record,
// Decide and Apply; a queue that loses, repeats and archives tasks; workers that
// die, freeze and come back; a chain that executes, refuses and drops messages.

// heads are the epochs the model's chain can be at: while the first ticket is
// good, after it expired, and after a commit deadline.
var heads = []abi.ChainEpoch{10_000, 14_000, 200_000}

const commitWindow = 100_000

// The proof types that are explored.
const (
	interactive = abi.RegisteredSealProof_StackedDrg2KiBV1_1
	synthetic   = abi.RegisteredSealProof_StackedDrg2KiBV1_1_Feat_SyntheticPoRep
)

// ofOne is the batch of the model's only sector. The life of batches is explored
// apart, in batch_explore_test.go: for a sector a batch is a task that may be lost.
const ofOne = "b-of-one"

// modelPolicy makes every wait end at once: the model has no clock.
func modelPolicy() *Policy {
	p := DefaultPolicy()
	p.SeedConfidence = -1
	p.BackoffBase, p.BackoffMax, p.BusyWait = 0, 0, 0
	return &p
}

var modelWorker = Worker{
	Host: "h1", Instance: "w", Run: "r",
	Lanes: []Lane{{Class: ClassSDR, Width: 1}, {Class: ClassCPU, Width: 1}, {Class: ClassIO, Width: 1}, {Class: ClassGPU, GPU: "a", Width: 1, Prover: NativeProver}},
	Paths: []Path{{ID: "p1", CanSeal: true, CanStore: true, Capacity: 1 << 40, Free: 1 << 40}},
}

// delivery is a handler at work. It may be a zombie: its task lost, itself alive.
type delivery struct {
	ref    TaskRef
	claim  int
	seal   string // the ticket it works with
	proof  string // the proof it sends
	worked bool
	fault  FaultClass // of what it found; empty is success
	sent   string     // meaning of the message it pushed
}

type message struct {
	state  MessageState
	ticket string
	proof  string
	fault  FaultClass
}

// world is a state of the model.
type world struct {
	rec        *Record
	tasks      map[TaskRef]TaskState // absent ones are not in it
	deliveries []delivery
	results    map[string]string // work id → ticket: result.json on the host
	messages   map[string]message
	layers     string // the ticket whose layers are in the cache folder
	pre        *OnChainPreCommit
	sector     *OnChainSector
	head       int
	mishaps    int
	// hurt says that something happened that may end in a hold.
	hurt bool
	*rules
}

// rules are what is explored. Mutants replace them.
type rules struct {
	// prompt says that the poller and the quiet stages act before anything else can
	// happen: far fewer states, at the price of the orders in which they come late.
	prompt bool
	decide func(*Record, *Facts, *Policy) (Action, Reason)
	apply  func(*Record, Event, time.Time) (*Record, error)
}

func (w *world) clone() *world {
	c := *w
	c.tasks = maps.Clone(w.tasks)
	c.deliveries = slices.Clone(w.deliveries)
	c.results = maps.Clone(w.results)
	c.messages = maps.Clone(w.messages)
	return &c
}

func newWorld(r *rules, proof abi.RegisteredSealProof) *world {
	commD, err := CommD(proof, nil)
	if err != nil {
		panic(err)
	}
	return &world{
		rules: r,
		rec:   &Record{ID: SectorID{1000, 1}, Version: 1, Proof: proof, CommD: commD, Stages: map[Stage]StageRecord{}},
		tasks: map[TaskRef]TaskState{}, results: map[string]string{}, messages: map[string]message{},
	}
}

func (w *world) epoch() abi.ChainEpoch { return heads[w.head] }

// commR is what a ticket seals to.
func commR(ticket string) cid.Cid {
	var b [32]byte
	copy(b[:], ticket)
	b[31] = 1
	c, err := commcid.ReplicaCommitmentV1ToCID(b[:])
	if err != nil {
		panic(err)
	}
	return c
}

func (w *world) facts(p *Policy) *Facts {
	f := &Facts{
		Head: Head{Epoch: w.epoch()}, Network: Network{Embedded: true, BlockDelay: time.Second},
		Workers: []Worker{modelWorker}, Tasks: map[Stage]TaskState{}, Messages: map[Stage]Message{},
	}
	for _, row := range Stages {
		if sr := w.rec.Stage(row.Stage); sr.State == Queued || sr.State == Running {
			f.Tasks[row.Stage] = TaskAbsent
			if st, ok := w.tasks[w.rec.Task(row.Stage)]; ok {
				f.Tasks[row.Stage] = st
			}
		}
	}
	for _, s := range []Stage{PreCommit, Commit} {
		m := w.messages[w.rec.Meaning(s).String()]
		f.Messages[s] = Message{CID: w.rec.Meaning(s).String(), State: m.state}
		if m.state == MessageFailed {
			f.Messages[s] = Message{State: m.state, Fault: Failf(m.fault, "exit code")}
		}
	}
	if Asks(w.rec, f) {
		f.OnChain = &OnChain{AsOf: w.epoch(), PreCommit: w.pre, Sector: w.sector}
	}
	return f
}

// step is one transition: what happened, where it leads, and whether it is a mishap.
type step struct {
	name   string
	to     *world
	mishap bool
}

// broken is a violated safety property.
type broken struct{ property, detail string }

func (w *world) steps(p *Policy, budget int) (out []step, err *broken) {
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(*broken)
			if !ok {
				panic(r)
			}
			err = b
		}
	}()
	add := func(name string, to *world, mishap bool) {
		if mishap {
			if w.mishaps >= budget {
				return
			}
			to.mishaps++
		}
		out = append(out, step{name, to, mishap})
	}
	w.polls(p, add)
	if w.prompt {
		if len(out) > 0 {
			return out, nil
		}
		if s := w.quietStep(); s != nil {
			return []step{*s}, nil
		}
	}
	w.queueSteps(add)
	for _, s := range out {
		if strings.HasPrefix(s.name, staleClaim) {
			// It changes nothing else and stays possible whatever happens first: the
			// orders in which it could come need not be told apart.
			return []step{s}, nil
		}
	}
	for i := range w.deliveries {
		w.deliverySteps(i, add)
	}
	w.chainSteps(add)
	return out, nil
}

// quiet stages meet no mishap in a prompt exploration: for the rules they are like
// others that do.
var quiet = map[Stage]bool{TreeD: true, C1: true, Store: true, DropLayers: true, Finalize: true, RecoverLocate: true}

// quietStep is the one thing a quiet stage can do next, nil if none has anything
// to do.
func (w *world) quietStep() (s *step) {
	keep := func(name string, to *world, mishap bool) {
		if !mishap && s == nil {
			s = &step{name: name, to: to}
		}
	}
	for _, ref := range w.sortedTasks() {
		if quiet[ref.Stage] && w.tasks[ref] == TaskPending {
			w.claim(ref, keep)
		}
	}
	for i, d := range w.deliveries {
		if quiet[d.ref.Stage] {
			w.work(i, keep)
		}
	}
	return s
}

const staleClaim = "stale claim "

// polls is one step of a poller, which may die between writing and enqueueing.
func (w *world) polls(p *Policy, add func(string, *world, bool)) {
	a, _ := w.decide(w.rec, w.facts(p), p)
	if a.Event == nil {
		return
	}
	event := a.In(ofOne)
	if s, ok := event.(Scheduled); ok && a.Draw != DrawNothing {
		epoch := w.epoch()
		if a.Draw == DrawTicket {
			epoch -= p.TicketLookback
		}
		s.Drawn = &Randomness{Epoch: epoch, Value: []byte(fmt.Sprintf("%s at %d", a.Draw, epoch)), At: w.epoch()}
		event = s
	}
	next, err := w.apply(w.rec, event, time.Time{})
	if err != nil {
		panic(&broken{"the poller's own events are accepted", err.Error()})
	}
	n := w.clone()
	n.rec = next
	w.checkWrite(n, event)
	s, ok := event.(Scheduled)
	if !ok {
		add("poll: "+event.String(), n, false)
		return
	}
	add("poll dies before enqueue: "+event.String(), n.clone(), true)
	n.tasks[next.Task(s.Stage)] = TaskPending
	add("poll: "+event.String(), n, false)
}

func (w *world) queueSteps(add func(string, *world, bool)) {
	for _, ref := range w.sortedTasks() {
		set := func(name string, to TaskState, mishap bool) {
			n := w.clone()
			if n.tasks[ref] = to; to == TaskAbsent {
				delete(n.tasks, ref)
			}
			add(name+" "+ref.String(), n, mishap)
		}
		switch w.tasks[ref] {
		case TaskPending:
			w.claim(ref, add)
			set("task is deleted in asynqmon", TaskAbsent, true)
			set("task is archived in asynqmon", TaskArchived, true)
		case TaskActive:
			set("lease is lost, handler lives on:", TaskPending, true)
			set("redis forgets an active task", TaskAbsent, true)
		case TaskActiveDead:
			set("asynq recovers", TaskPending, false)
		}
	}
}

func (w *world) claim(ref TaskRef, add func(string, *world, bool)) {
	n := w.clone()
	next, err := w.apply(w.rec, Claimed{Task: ref, Worker: modelWorker.Owner()}, time.Time{})
	if err != nil {
		delete(n.tasks, ref) // stale: the handler returns nil
		add(staleClaim+ref.String(), n, false)
		return
	}
	if w.rec.Task(ref.Stage) != ref {
		panic(&broken{"only the current task is claimed", ref.String()})
	}
	n.rec = next
	n.tasks[ref] = TaskActive
	d := delivery{ref: ref, claim: next.Stage(ref.Stage).Claim, seal: string(next.Ticket.Value), proof: string(next.PoRep)}
	if ticket, done := w.results[ref.WorkID()]; done {
		d.worked, d.seal = true, ticket // result.json is there: it is not made again
	}
	n.deliveries = append(n.deliveries, d)
	add("claim "+ref.String(), n, false)
}

// faultsOf are the classes a stage's Do can meet.
func faultsOf(s Stage) []FaultClass {
	if RowOf(s).Place == AtChain {
		return []FaultClass{Transient, Funds, Deadline, Rejected, Input}
	}
	return []FaultClass{Transient, Busy, Input, Data, Bug}
}

func (w *world) deliverySteps(i int, add func(string, *world, bool)) {
	d := w.deliveries[i]
	without := func() *world {
		n := w.clone()
		n.deliveries = slices.Delete(n.deliveries, i, i+1)
		return n
	}
	die := func() *world {
		n := without()
		if _, ok := n.tasks[d.ref]; ok {
			n.tasks[d.ref] = TaskActiveDead
		}
		return n
	}
	if !d.worked {
		add("worker dies at work "+d.ref.String(), die(), true)
		w.work(i, add)
		return
	}
	add("worker dies with a result "+d.ref.String(), die(), true)
	w.complete(i, add)
}

// complete writes the answer, or cannot know whether it was written.
func (w *world) complete(i int, add func(string, *world, bool)) {
	d := w.deliveries[i]
	n := w.clone()
	n.deliveries = slices.Delete(n.deliveries, i, i+1)
	delete(n.tasks, d.ref)
	var event Event = Completed{Task: d.ref, Claim: d.claim, Result: w.result(d)}
	if d.fault != "" {
		event = Failed{Task: d.ref, Claim: d.claim, Fault: Fault{Class: d.fault, Text: "t"}}
	}
	next, err := w.apply(w.rec, event, time.Time{})
	if err == nil {
		n.rec = next
		w.checkWrite(n, event)
		again := w.clone()
		again.rec = next
		add("answer unknown "+d.ref.String(), again, true) // the handler will write it again
	}
	add(fmt.Sprintf("complete %s %s (%v)", d.ref, d.fault, err), n, false)
}

func (w *world) result(d delivery) Result {
	res := Result{}
	switch d.ref.Stage {
	case TreeRC:
		res.CommR = commR(d.seal)
	case C1:
		res.C1Digest = "c1 " + d.seal
	case C2:
		res.PoRep = []byte("proof " + d.seal)
	case Store:
		res.Stored = &Stored{Path: "s1"}
	case PreCommit, Commit:
		res.Message = d.sent
	}
	return res
}

// work does the stage's work, or meets a fault.
func (w *world) work(i int, add func(string, *world, bool)) {
	d := w.deliveries[i]
	for _, class := range faultsOf(d.ref.Stage) {
		n := w.clone()
		n.deliveries[i].worked, n.deliveries[i].fault = true, class
		// Input that no stage makes (a piece's file) is beyond the poller's power.
		n.hurt = n.hurt || holds(class) || class == Input && RowOf(d.ref.Stage).InputFrom == ""
		n.complete(i, func(name string, to *world, mishap bool) {
			if !mishap {
				add(name, to, true)
			}
		})
	}
	n := w.clone()
	nd := &n.deliveries[i]
	nd.worked = true
	switch d.ref.Stage {
	case SDR:
		n.layers = d.seal
	case DropLayers:
		n.layers = ""
	case RecoverWipe:
		// Rule 8: under the exclusive lock the record's fence is read again.
		if w.rec.Stage(RecoverWipe).Fence == d.ref.Fence && w.rec.Stage(RecoverWipe).State == Running {
			n.layers = ""
		}
	case TreeRC:
		// The manifest binds the layers to a ticket: others are refused as bad input.
		if w.layers != d.seal {
			nd.fault = Input
		}
	case PreCommit, Commit:
		if !n.send(nd) {
			return
		}
	}
	if RowOf(d.ref.Stage).Place != AtChain && nd.fault == "" {
		n.results[d.ref.WorkID()] = d.seal
	}
	if RowOf(d.ref.Stage).Place == AtChain {
		add("push "+d.ref.String(), n, false)
		return
	}
	// Between a result and its completion nothing else can see the difference but
	// the worker's death.
	dead := n.clone()
	dead.deliveries = slices.Delete(dead.deliveries, i, i+1)
	if _, ok := dead.tasks[d.ref]; ok {
		dead.tasks[d.ref] = TaskActiveDead
	}
	add("worker dies with a result "+d.ref.String(), dead, true)
	n.complete(i, add)
}

// send is the chain client: at most one message of a meaning, and the chain is
// asked first. A meaning of an older fence is closed before a newer one is sent: a
// zombie that comes late finds it closed.
//
// It is false while an older message is alive: the real client gives a transient
// fault then, and the poller's back-off paces it; without a clock that would be an
// endless loop.
func (w *world) send(d *delivery) bool {
	meaning := Meaning{d.ref.Stage, d.ref.ID, d.ref.Fence}
	for m := meaning; m.Fence > 1; {
		m.Fence--
		switch old, ok := w.messages[m.String()]; {
		case !ok:
			w.messages[m.String()] = message{state: MessageDropped}
		case !old.state.Terminal():
			return false
		}
	}
	d.sent = meaning.String()
	if m, ok := w.messages[d.sent]; ok {
		if m.ticket == "" {
			d.fault = Transient // closed: this handler is not wanted any more
		}
		return true
	}
	if d.ref.Stage == PreCommit && (w.pre != nil || w.sector != nil) || d.ref.Stage == Commit && w.sector != nil {
		return true
	}
	for other, m := range w.messages {
		if strings.HasPrefix(other, string(d.ref.Stage)) && !m.state.Terminal() {
			panic(&broken{"no two messages of one kind are alive", other + " and " + d.sent})
		}
	}
	w.messages[d.sent] = message{state: MessagePushed, ticket: d.seal, proof: d.proof}
	return true
}

func (w *world) chainSteps(add func(string, *world, bool)) {
	if w.head+1 < len(heads) {
		n := w.clone()
		n.head++
		n.hurt = true
		add(fmt.Sprintf("head is %d", n.epoch()), n, true)
	}
	for _, id := range slices.Sorted(maps.Keys(w.messages)) {
		m := w.messages[id]
		if m.state != MessagePushed {
			continue
		}
		end := func(name string, state MessageState, class FaultClass, mishap bool) *world {
			n := w.clone()
			n.messages[id] = message{state: state, ticket: m.ticket, proof: m.proof, fault: class}
			add(name+" "+id, n, mishap)
			return n
		}
		end("dropped", MessageDropped, "", true)
		end("out of gas", MessageFailed, Transient, true)
		if strings.HasPrefix(id, string(PreCommit)) {
			if age := w.epoch() - w.ticketEpoch(m.ticket); age > DefaultPolicy().TicketWindow {
				end("ticket too old", MessageFailed, Deadline, false)
				continue
			}
			n := end("executed", MessageConfirmed, "", false)
			if n.pre != nil || n.sector != nil {
				panic(&broken{"a number is pre-committed once", id})
			}
			n.pre = &OnChainPreCommit{Epoch: w.epoch(), CommR: commR(m.ticket), Expires: w.epoch() + commitWindow}
			continue
		}
		if w.pre == nil || w.epoch() > w.pre.Expires {
			end("expired", MessageFailed, Rejected, false)
			continue
		}
		if m.proof != "proof "+m.ticket || commR(m.ticket) != w.pre.CommR {
			panic(&broken{"the proof sent is of the replica on chain", id})
		}
		n := end("executed", MessageConfirmed, "", false)
		n.sector, n.pre = &OnChainSector{CommR: w.pre.CommR, Activation: w.epoch()}, nil
	}
}

func (w *world) ticketEpoch(ticket string) (e abi.ChainEpoch) {
	if _, err := fmt.Sscanf(ticket, "ticket at %d", &e); err != nil {
		panic(err)
	}
	return e
}
