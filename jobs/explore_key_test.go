package jobs

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"
)

// sortedTasks are the tasks in one order, so that every run explores alike.
func (w *world) sortedTasks() []TaskRef {
	return slices.SortedFunc(maps.Keys(w.tasks), func(a, b TaskRef) int {
		return cmp.Or(cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Fence, b.Fence), cmp.Compare(a.Attempt, b.Attempt), cmp.Compare(a.Delivery, b.Delivery))
	})
}

// key tells states apart by everything that can matter later. What cannot:
// versions, clocks, texts, what a finished stage was called while nothing of it is
// left in the queue or at work, and results that no claim can ask for again.
func (w *world) key() string {
	k := make(key, 0, 1024)
	k.record(w)
	for _, ref := range w.sortedTasks() {
		k.ref(ref)
		k.text(string(w.tasks[ref]))
	}
	ds := make([]string, len(w.deliveries))
	for i, d := range w.deliveries {
		ds[i] = string(d.key())
	}
	slices.Sort(ds)
	k.num(int64(len(ds)))
	for _, d := range ds {
		k.text(d)
	}
	k.text(w.layers)
	k.num(int64(w.head))
	k.num(int64(w.mishaps))
	k.flags(w.hurt, w.pre != nil, w.sector != nil)
	for i, row := range Stages {
		if len(w.results) == 0 || w.rec.Stage(row.Stage).State == Done {
			continue
		}
		if ticket, ok := w.results[w.rec.Task(row.Stage).WorkID()]; ok {
			k.num(int64(i))
			k.text(ticket)
		}
	}
	k.text("messages")
	for _, meaning := range slices.Sorted(maps.Keys(w.messages)) {
		m := w.messages[meaning]
		for _, part := range []string{meaning, string(m.state), m.ticket, m.proof, string(m.fault)} {
			k.text(part)
		}
	}
	return string(k)
}

// key is a state written down as shortly as it can be read in one way only: the
// exploration makes half a million of them.
type key []byte

func (k *key) num(n int64) { *k = append(strconv.AppendInt(*k, n, 36), ';') }

func (k *key) text(s string) { *k = append(append(*k, s...), ';') }

func (k *key) flags(flags ...bool) {
	for _, f := range flags {
		if f {
			*k = append(*k, '1')
		} else {
			*k = append(*k, '0')
		}
	}
}

// ref leaves the sector out: there is one.
func (k *key) ref(t TaskRef) {
	k.text(string(t.Stage))
	for _, n := range []int{t.Fence, t.Attempt, t.Delivery} {
		k.num(int64(n))
	}
}

func (d *delivery) key() key {
	k := make(key, 0, 128)
	k.ref(d.ref)
	k.num(int64(d.claim))
	k.flags(d.worked)
	for _, part := range []string{d.seal, d.proof, string(d.fault), d.sent} {
		k.text(part)
	}
	return k
}

// record writes what Decide and Apply may read of the record. TestKeyTellsRecordsApart
// sees that no field is forgotten.
func (k *key) record(w *world) {
	r := w.rec
	for _, n := range []abi.ChainEpoch{
		r.Ticket.Epoch, r.Ticket.At, r.Seed.Epoch, r.Seed.At, r.PreCommitEpoch, r.CommitDeadline, r.Activation, r.Expiration,
		abi.ChainEpoch(r.Proof), abi.ChainEpoch(r.Retickets), abi.ChainEpoch(r.Rollbacks), abi.ChainEpoch(len(r.Pieces)),
		abi.ChainEpoch(r.ID.Miner), abi.ChainEpoch(r.ID.Number),
	} {
		k.num(int64(n))
	}
	for _, s := range []string{
		r.Home, string(r.Ticket.Value), string(r.Seed.Value), r.CommD.KeyString(), r.CommR.KeyString(), r.C1Digest, string(r.PoRep), string(r.Outcome),
	} {
		k.text(s)
	}
	k.flags(r.KeepUnsealed, r.Abandoned, r.Hold != nil, r.Stored != nil, r.Found != nil, r.NotProven != nil)
	if r.Hold != nil {
		k.text(r.Hold.Reason)
		k.text(string(r.Hold.Class) + string(r.Hold.Stage))
	}
	if r.Stored != nil {
		k.text(r.Stored.Path)
	}
	for _, l := range r.Found {
		k.text(l.Path)
	}
	for _, row := range Stages {
		sr := r.Stages[row.Stage]
		k.text(string(sr.State))
		k.text(sr.Batch)
		k.num(int64(sr.Fence))
		if sr.State != Done || w.echoes(row.Stage) {
			k.num(int64(sr.Attempt))
			k.num(int64(sr.Delivery))
			k.num(int64(sr.Claim))
		}
		if sr.State == Faulted && sr.Fault != nil {
			k.text(string(sr.Fault.Class))
			k.text(string(sr.Fault.From))
			k.text(sr.Fault.Text)
			k.flags(sr.Fault.Missing)
			k.num(int64(sr.Fault.Attempt))
		}
	}
}

// echoes says that a task or a handler of the stage is still about.
func (w *world) echoes(s Stage) bool {
	for _, d := range w.deliveries {
		if d.ref.Stage == s {
			return true
		}
	}
	for ref := range w.tasks {
		if ref.Stage == s {
			return true
		}
	}
	return false
}

// TestKeyTellsRecordsApart changes every field of a record in turn: only what Decide
// and Apply may not go by leaves the key as it was.
func TestKeyTellsRecordsApart(t *testing.T) {
	t.Parallel()
	other := map[reflect.Type]any{
		reflect.TypeFor[cid.Cid](): commR("other"), reflect.TypeFor[[]byte](): []byte("other"), reflect.TypeFor[time.Time](): time.Unix(1, 0),
		reflect.TypeFor[map[Stage]StageRecord](): map[Stage]StageRecord{SDR: {State: Queued}},
	}
	change := func(f reflect.Value) {
		if v, ok := other[f.Type()]; ok {
			f.Set(reflect.ValueOf(v))
			return
		}
		switch f.Kind() {
		case reflect.Bool:
			f.SetBool(!f.Bool())
		case reflect.String:
			f.SetString("other")
		case reflect.Int, reflect.Int64:
			f.SetInt(f.Int() + 7)
		case reflect.Uint64:
			f.SetUint(f.Uint() + 7)
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Struct:
			last := f.Field(f.NumField() - 1)
			last.Set(reflect.ValueOf(int64(7)).Convert(last.Type()))
		default:
			t.Fatalf("how is a %s changed?", f.Type())
		}
	}
	// world of a record with a faulted stage, of which everything is looked at.
	fresh := func() (*world, *StageRecord) {
		w := newWorld(&rules{decide: Decide, apply: Apply}, interactive)
		return w, &StageRecord{State: Faulted, Fence: 1, Attempt: 1, Delivery: 1, Fault: Failf(Transient, "text")}
	}
	key := func(w *world, sr *StageRecord) string {
		if _, changed := w.rec.Stages[SDR]; !changed {
			w.rec.set(SDR, *sr)
		}
		return w.key()
	}
	was := key(fresh())
	check := func(part func(*world, *StageRecord) reflect.Value, ignored ...string) {
		for i := range part(fresh()).NumField() {
			w, sr := fresh()
			v := part(w, sr)
			change(v.Field(i))
			name := v.Type().String() + "." + v.Type().Field(i).Name
			if slices.Contains(ignored, v.Type().Field(i).Name) {
				require.Equal(t, was, key(w, sr), name)
			} else {
				require.NotEqual(t, was, key(w, sr), name)
			}
		}
	}
	check(func(w *world, _ *StageRecord) reflect.Value { return reflect.ValueOf(w.rec).Elem() }, "Version", "Created")
	check(func(w *world, _ *StageRecord) reflect.Value { return reflect.ValueOf(&w.rec.Ticket).Elem() })
	check(func(_ *world, sr *StageRecord) reflect.Value { return reflect.ValueOf(sr).Elem() },
		"Queue", "Worker", "Since", "Message", "Faults", "Answer")
	check(func(_ *world, sr *StageRecord) reflect.Value { return reflect.ValueOf(sr.Fault).Elem() }, "At")
}
