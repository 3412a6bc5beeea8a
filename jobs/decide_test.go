package jobs

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// before gives a record as it stands just before a stage starts, with facts under
// which it can.
func before(t *testing.T, s Stage) (*Record, *Facts, *Policy) { return beforeOf(t, s, interactive) }

// beforeOf is before for a sector of a proof type.
func beforeOf(t *testing.T, s Stage, proof abi.RegisteredSealProof) (*Record, *Facts, *Policy) {
	t.Helper()
	w := newWorld(&rules{apply: Apply, decide: Decide}, proof)
	r, p := w.rec, DefaultPolicy()
	r.Home = "p1"
	r.CommR = commR("ticket at 9100")
	r.Ticket = Randomness{Epoch: 9100, Value: make([]byte, 32), At: 10_000}
	done := map[Stage]bool{}
	var need func(Stage)
	need = func(s Stage) {
		for _, a := range RowOf(s).Needs(r.Proof) {
			if !done[a] {
				done[a] = true
				need(a)
			}
		}
	}
	need(s)
	for d := range done {
		r.set(d, StageRecord{State: Done, Fence: 1, Attempt: 1, Delivery: 1, Claim: 1})
	}
	if done[PreCommit] {
		r.PreCommitEpoch, r.CommitDeadline = 9_950, 100_000
	}
	if s == Finalize {
		r.Activation = 10_000
	}
	if RowOf(s).Recovery {
		r.set(s, StageRecord{State: Wanted, Fence: 1})
	}
	f := w.facts(&p)
	f.Now, f.Network.ChallengeDelay, f.OnChain = noon, 10, nil
	return r, f, &p
}

// TestEveryStageStarts asks, for each row, that Decide schedules it when what it
// needs is there.
func TestEveryStageStarts(t *testing.T) {
	t.Parallel()
	for _, proof := range []abi.RegisteredSealProof{interactive, synthetic} {
		everyStageStarts(t, proof)
	}
}

func everyStageStarts(t *testing.T, proof abi.RegisteredSealProof) {
	for _, row := range Stages {
		r, f, p := beforeOf(t, row.Stage, proof)
		var seen []Stage
		for range len(Stages) {
			a, why := Decide(r, f, p)
			s, ok := a.Event.(Scheduled)
			if !ok {
				require.Nil(t, a.Event, "%s: %s", row.Stage, why.Text)
				break
			}
			seen = append(seen, s.Stage)
			next, err := Apply(r, a.In(ofOne), noon)
			require.NoError(t, err)
			r = next
			f.Tasks[s.Stage] = TaskPending
		}
		require.Contains(t, seen, row.Stage)
	}
}

// TestRecordStateTimesTaskState is design rule 2's table: what happens to a stage
// in each state when the queue says each thing about its task.
func TestRecordStateTimesTaskState(t *testing.T) {
	t.Parallel()
	again := map[TaskState]bool{TaskAbsent: true, TaskArchived: true, TaskCompleted: true, TaskActiveDead: true}
	for _, row := range Stages {
		for _, state := range []StageState{Queued, Running} {
			for _, task := range TaskStates {
				t.Run(fmt.Sprintf("%s %s, task %s", row.Stage, state, task), func(t *testing.T) {
					t.Parallel()
					r, f, p := before(t, row.Stage)
					q, why := route(row, r, f)
					require.True(t, why.OK(), why.Text)
					r.set(row.Stage, StageRecord{State: state, Fence: 1, Attempt: 2, Delivery: 3, Claim: 1, Queue: q.String()})
					f.Tasks[row.Stage] = task
					a, _ := Decide(r, f, p)
					s, scheduled := a.Event.(Scheduled)
					for scheduled && s.Stage != row.Stage { // what needs no batch comes first
						next, err := Apply(r, a.In(ofOne), noon)
						require.NoError(t, err)
						r = next
						f.Tasks[s.Stage] = TaskPending
						a, _ = Decide(r, f, p)
						s, scheduled = a.Event.(Scheduled)
					}
					if !again[task] {
						require.False(t, scheduled && s.Stage == row.Stage, "%v", a)
						return
					}
					require.True(t, scheduled)
					next, err := Apply(r, a.In(ofOne), noon)
					require.NoError(t, err)
					require.Equal(t, "f1.a2.d4", next.Task(row.Stage).String()[len(r.ID.String())+len(row.Stage)+2:], "only the delivery rises")
				})
			}
		}
	}
	for _, state := range []StageState{Idle, Faulted, Done} {
		for _, task := range TaskStates {
			r, f, p := before(t, SDR)
			r.set(SDR, StageRecord{State: state, Fence: 1, Attempt: 2, Delivery: 3, Fault: Failf(Transient, "x")})
			f.Tasks[SDR] = task
			a1, _ := Decide(r, f, p)
			f.Tasks[SDR] = TaskUnread
			a2, _ := Decide(r, f, p)
			require.Equal(t, a2, a1, "what the queue says of a stage that is %q does not matter", state)
		}
	}
}

func TestPendingTaskMovesWhenItsLaneIsGone(t *testing.T) {
	t.Parallel()
	r, f, p := before(t, C2)
	b := modelWorker
	b.Host, b.Instance = "h2", "b"
	b.Lanes = []Lane{{Class: ClassGPU, GPU: "b", Width: 1, Prover: NativeProver}}
	f.Workers = append(f.Workers, b)
	f.Load = map[string]int{"gpu.any.a": 3}
	a, _ := Decide(r, f, p)
	for a.Event.(Scheduled).Stage != C2 {
		next, err := Apply(r, a.Event, noon)
		require.NoError(t, err)
		r = next
		a, _ = Decide(r, f, p)
	}
	require.Equal(t, "gpu.any.b", a.Event.(Scheduled).Queue.String(), "the shortest expected wait")
	r, err := Apply(r, a.Event, noon)
	require.NoError(t, err)
	f.Tasks[C2] = TaskPending
	f.Workers[1].Draining = true
	a, _ = Decide(r, f, p)
	s, ok := a.Event.(Scheduled)
	require.True(t, ok && s.Again)
	require.Equal(t, "gpu.any.a", s.Queue.String())
	f.Tasks[C2] = TaskActive
	a, _ = Decide(r, f, p)
	s, ok = a.Event.(Scheduled)
	require.False(t, ok && s.Stage == C2, "a task at work on a draining lane may finish")

	f.Workers[0].Lanes = append(f.Workers[0].Lanes[:0:0], f.Workers[0].Lanes...)
	for i := range f.Workers[0].Lanes {
		f.Workers[0].Lanes[i].Unfit = "no GPU is seen"
	}
	_, why := route(RowOf(C2), r, f)
	require.Contains(t, why.Text, "c2 waits for a worker: no live worker has a fit gpu lane: h1/")
	require.Contains(t, why.Text, " took it out (no GPU is seen), h2/")
	require.Contains(t, why.Text, " is drained (lpseal machines resume h2/")
	f.Workers[1].Stopping = true
	_, why = route(RowOf(C2), r, f)
	require.Contains(t, why.Text, " is stopping")
	require.NotContains(t, why.Text, "machines resume", "nothing is to be resumed")

	f.Tasks[C2] = TaskPending
	_, why = Decide(r, f, p)
	require.Contains(t, why.Text, "c2 is queued on gpu.any.b: no live worker has a fit gpu lane for that: h1/")
	f.Workers = nil
	_, why = Decide(r, f, p)
	require.Contains(t, why.Text, "c2 is queued on gpu.any.b: no live worker has a fit gpu lane for that")
}

// TestRemedies is design §5's table, for every stage and class.
func TestRemedies(t *testing.T) {
	t.Parallel()
	for _, row := range Stages {
		for _, class := range FaultClasses {
			t.Run(fmt.Sprintf("%s %s", row.Stage, class), func(t *testing.T) {
				t.Parallel()
				r, f, p := before(t, row.Stage)
				r.set(row.Stage, StageRecord{State: Faulted, Fence: 1, Attempt: 2, Delivery: 3, Claim: 1, Faults: 1,
					Fault: &Fault{Class: class, Text: "the text", Attempt: 2, At: noon}})
				remedyOf := func() Action {
					a, _ := Decide(r, f, p)
					for {
						s, ok := a.Event.(Scheduled)
						if !ok || s.Stage == row.Stage {
							return a
						}
						next, err := Apply(r, a.In(ofOne), noon)
						require.NoError(t, err)
						r = next
						f.Tasks[s.Stage] = TaskPending
						a, _ = Decide(r, f, p)
					}
				}
				switch class {
				case Transient, Busy, Funds:
					require.Nil(t, remedyOf().Event, "it waits first")
					f.Now = noon.Add(time.Hour)
					s, ok := remedyOf().Event.(Scheduled)
					require.True(t, ok)
					require.Equal(t, class != Transient, s.Again, "only a transient fault spends an attempt")
				case Data, Rejected, Bug:
					requireHeld(t, remedyOf(), class)
				case Deadline:
					if r.PreCommitted() || row.Recovery {
						requireHeld(t, remedyOf(), class)
						return
					}
					back, ok := remedyOf().Event.(RolledBack)
					require.True(t, ok && back.NewTicket && back.To == SDR)
					r.Retickets = p.MaxRetickets
					requireHeld(t, remedyOf(), class)
				case Input:
					if row.InputFrom == "" || r.Activation != 0 {
						requireHeld(t, remedyOf(), class)
						return
					}
					back, ok := remedyOf().Event.(RolledBack)
					require.True(t, ok)
					require.Equal(t, row.InputFrom, back.To)
					r.Rollbacks = p.MaxRollbacks
					requireHeld(t, remedyOf(), class)
				}
			})
		}
	}
}

func requireHeld(t *testing.T, a Action, class FaultClass) {
	t.Helper()
	h, ok := a.Event.(Held)
	require.True(t, ok, "%v", a.Event)
	require.Equal(t, class, h.Hold.Class)
	require.Contains(t, h.Hold.Reason, "the text")
}

// TestReleaseForgivesWhatHeld releases every held sector: the stage is tried again
// or its input made again, and the sector is not held at once for the old fault.
func TestReleaseForgivesWhatHeld(t *testing.T) {
	t.Parallel()
	for _, row := range Stages {
		for _, class := range FaultClasses {
			r, f, p := before(t, row.Stage)
			r.set(row.Stage, StageRecord{State: Faulted, Fence: 1, Attempt: 2, Delivery: 3, Faults: 1, Fault: &Fault{Class: class, Text: "the text", At: noon}})
			f.Now = noon.Add(time.Hour)
			write := func(e Event) {
				next, err := Apply(r, e, noon)
				require.NoError(t, err)
				r = next
			}
			write(Held{Hold{Reason: "by order"}})
			write(Released{})
			for range 2 * len(Stages) {
				a, why := Decide(r, f, p)
				if a.Event == nil {
					break
				}
				_, again := a.Event.(Held)
				require.False(t, again, "%s %s: %s", row.Stage, class, why.Text)
				write(a.In(ofOne))
				if s, ok := a.Event.(Scheduled); ok {
					f.Tasks[s.Stage] = TaskPending
				}
			}
		}
	}
}

// TestRetryBeforePlacement: a sector without a home has nothing to wipe.
func TestRetryBeforePlacement(t *testing.T) {
	t.Parallel()
	r, f, p := before(t, SDR)
	r.Home = ""
	r, err := Apply(r, RolledBack{To: SDR, ByOrder: true}, noon)
	require.NoError(t, err)
	a, _ := Decide(r, f, p)
	require.Equal(t, Placed{"p1"}, a.Event)
}

// TestHoldIsSaidOnce sees that a held recovery stage is not held again for ever.
func TestHoldIsSaidOnce(t *testing.T) {
	t.Parallel()
	r, f, p := before(t, TreeRC)
	r, err := Apply(r, AbandonOrdered{Why: "by order"}, noon)
	require.NoError(t, err)
	for _, class := range []FaultClass{Bug, Deadline, Input} {
		c := r.Clone()
		c.set(RecoverAbandon, StageRecord{State: Faulted, Fence: 1, Attempt: 1, Fault: &Fault{Class: class, Text: "the text", At: noon}})
		a, _ := Decide(c, f, p)
		require.IsType(t, Held{}, a.Event, class)
		c, err := Apply(c, a.Event, noon)
		require.NoError(t, err)
		a, why := Decide(c, f, p)
		require.Nil(t, a.Event)
		require.Contains(t, why.Text, "the text")
	}
}

func TestMissingInputIsLookedForFirst(t *testing.T) {
	t.Parallel()
	for name, found := range map[string][]Location{"found": {{Path: "p2"}}, "lost": {}} {
		r, f, p := before(t, C2)
		r.set(C2, StageRecord{State: Faulted, Fence: 1, Attempt: 1, Delivery: 1, Fault: &Fault{Class: Input, Text: "no c1", Missing: true, At: noon}})
		a, _ := Decide(r, f, p)
		require.Equal(t, RecoveryWanted{RecoverLocate, "no c1"}, a.Event)
		for _, e := range []Event{
			a.Event,
			Scheduled{Stage: RecoverLocate, Queue: Queue{Class: ClassIO, Host: "h1"}},
			Claimed{Task: TaskRef{r.ID, RecoverLocate, 1, 1, 1}, Worker: "h1/w@r"},
			Completed{Task: TaskRef{r.ID, RecoverLocate, 1, 1, 1}, Claim: 1, Result: Result{Found: found}},
		} {
			next, err := Apply(r, e, noon)
			require.NoError(t, err)
			r = next
		}
		f.Now = noon.Add(time.Hour)
		if name == "lost" {
			for {
				a, _ = Decide(r, f, p)
				s, ok := a.Event.(Scheduled)
				if !ok {
					break
				}
				next, err := Apply(r, a.In(ofOne), noon)
				require.NoError(t, err)
				r = next
				f.Tasks[s.Stage] = TaskPending
			}
			require.Equal(t, C1, a.Event.(RolledBack).To)
			continue
		}
		require.Equal(t, "p2", r.Home)
		require.Equal(t, Transient, r.Stage(C2).Fault.Class)
	}
}

func TestNativeProofsNeverMeetAForeignNetwork(t *testing.T) {
	t.Parallel()
	r, f, p := before(t, TreeD)
	r.Home = ""
	f.Network = Network{Name: "mainnet"}
	a, why := Decide(r, f, p)
	require.IsType(t, Held{}, a.Event)
	require.Contains(t, why.Text, "mainnet")

	r, f, p = before(t, PreCommit)
	f.Network = Network{Name: "mainnet"}
	for {
		a, why = Decide(r, f, p)
		s, ok := a.Event.(Scheduled)
		if !ok {
			break
		}
		require.NotEqual(t, PreCommit, s.Stage, "no deposit for a proof nobody takes")
		next, err := Apply(r, a.In(ofOne), noon)
		require.NoError(t, err)
		r = next
		f.Tasks[s.Stage] = TaskPending
	}
}

func TestForeignCommRHoldsAndKeepsEverything(t *testing.T) {
	t.Parallel()
	for _, oc := range []OnChain{
		{PreCommit: &OnChainPreCommit{Epoch: 1, CommR: commR("other")}},
		{Sector: &OnChainSector{Activation: 1, CommR: commR("other")}},
	} {
		r, f, p := before(t, C1)
		r.PreCommitEpoch = 0
		f.OnChain = &oc
		a, _ := Decide(r, f, p)
		h, ok := a.Event.(Held)
		require.True(t, ok)
		require.Contains(t, h.Hold.Reason, "all files are kept")
	}
}

// TestAHoldStartsNothing: a task that waits in its queue when the sector is held is not
// begun, though the stage was claimed before it failed or was redone; a redelivery of work
// that may still run is.
func TestAHoldStartsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		was  StageRecord
		next Scheduled
		runs bool
	}{
		{"never claimed", StageRecord{State: Idle}, Scheduled{}, false},
		{"redone under a new fence", StageRecord{State: Idle, Fence: 2, Claim: 1}, Scheduled{}, false},
		{"tried again after a fault", StageRecord{State: Faulted, Attempt: 1, Delivery: 1, Claim: 1, Worker: "h1/w@r", Fault: &Fault{Class: Transient}}, Scheduled{}, false},
		{"tried again when the host has room", StageRecord{State: Faulted, Attempt: 1, Delivery: 1, Claim: 1, Worker: "h1/w@r", Fault: &Fault{Class: Busy}}, Scheduled{Again: true}, false},
		{"lost before it was claimed", StageRecord{State: Queued, Attempt: 1, Delivery: 1, Claim: 1}, Scheduled{Again: true}, false},
		{"lost while it ran", StageRecord{State: Running, Attempt: 1, Delivery: 1, Claim: 1, Worker: "h1/w@r"}, Scheduled{Again: true}, true},
		{"lost once more", StageRecord{State: Queued, Attempt: 1, Delivery: 2, Claim: 1, Worker: "h1/w@r"}, Scheduled{Again: true}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, _, _ := before(t, C2)
			r.set(C2, c.was)
			write := func(e Event) {
				next, err := Apply(r, e, noon)
				require.NoError(t, err)
				r = next
			}
			c.next.Stage = C2
			write(c.next)
			write(Held{Hold{Reason: "look at it"}})
			_, err := Apply(r, Claimed{Task: r.Task(C2), Worker: "h1/w@r"}, noon)
			if c.runs {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrStale)
			write(Released{})
			_, err = Apply(r, Claimed{Task: r.Task(C2), Worker: "h1/w@r"}, noon)
			require.NoError(t, err)
		})
	}
}

func TestAbandonEndsInRemoved(t *testing.T) {
	t.Parallel()
	r, f, p := before(t, TreeRC)
	r.set(TreeRC, StageRecord{State: Running, Fence: 1, Attempt: 1, Delivery: 1, Claim: 1, Queue: "cpu.h1"})
	r, err := Apply(r, AbandonOrdered{Why: "by order"}, noon)
	require.NoError(t, err)
	require.Equal(t, 2, r.Stage(TreeRC).Fence, "what runs is made void")
	a, _ := Decide(r, f, p)
	require.Equal(t, RecoverAbandon, a.Event.(Scheduled).Stage)
	r.set(RecoverAbandon, StageRecord{State: Done, Fence: 1})
	a, _ = Decide(r, f, p)
	require.Equal(t, Finished{Removed}, a.Event)
}

// TestNothingKeepsAnAbandonedSector: it ends in removed whatever else was wanted of it, and
// whoever is cut off while ordering it.
func TestNothingKeepsAnAbandonedSector(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(r *Record) (*Record, error){
		"files are looked for on a host that is away": func(r *Record) (*Record, error) {
			r.set(RecoverLocate, StageRecord{State: Faulted, Fence: 1, Attempt: 1, Faults: 9, Fault: &Fault{Class: Transient, Text: "h2 is silent", At: noon}})
			return Apply(r, AbandonOrdered{Why: "by order"}, noon)
		},
		"aborted afterwards": func(r *Record) (*Record, error) {
			r, err := Apply(r, AbandonOrdered{Why: "by order"}, noon)
			require.NoError(t, err)
			r.set(RecoverAbandon, StageRecord{State: Running, Fence: 1, Attempt: 1, Delivery: 1, Claim: 1, Queue: "io.h1"})
			return Apply(r, Aborted{Why: "by order"}, noon)
		},
		"not placed yet": func(r *Record) (*Record, error) {
			r.Home = ""
			return Apply(r, AbandonOrdered{Why: "by order"}, noon)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, f, p := before(t, TreeRC)
			r, err := spoil(r)
			require.NoError(t, err)
			for r.Outcome == Open {
				a, why := Decide(r, f, p)
				require.NotNil(t, a.Event, why.Text)
				r, err = Apply(r, a.Event, noon)
				require.NoError(t, err)
				if s, ok := a.Event.(Scheduled); ok {
					require.Equal(t, RecoverAbandon, s.Stage)
					task := r.Task(s.Stage)
					r, err = Apply(r, Claimed{Task: task, Worker: "h1/w@r"}, noon)
					require.NoError(t, err)
					r, err = Apply(r, Completed{Task: task, Claim: r.Stage(s.Stage).Claim}, noon)
					require.NoError(t, err)
				}
			}
			require.Equal(t, Removed, r.Outcome)
		})
	}
}

// TestAnAbortedWipeIsDoneAfterTheRelease: layers that were found bad are not kept because
// an operator looked at the sector meanwhile.
func TestAnAbortedWipeIsDoneAfterTheRelease(t *testing.T) {
	t.Parallel()
	r, f, p := before(t, TreeRC)
	for _, e := range []Event{
		RolledBack{To: SDR, Why: "bad layers"},
		Scheduled{Stage: RecoverWipe, Queue: Queue{Class: ClassIO, Host: "h1"}},
		Aborted{Why: "by order"},
		Released{},
	} {
		next, err := Apply(r, e, noon)
		require.NoError(t, err)
		r = next
	}
	a, why := Decide(r, f, p)
	require.Equal(t, RecoverWipe, a.Event.(Scheduled).Stage, why.Text)
}

// TestOlderViewOfTheChainProvesNothing: a message may be settled by a scheduler whose
// node is ahead of ours. What our node shows as of an earlier tipset must neither
// hold the sector nor take its pre-commit for gone.
func TestOlderViewOfTheChainProvesNothing(t *testing.T) {
	t.Parallel()
	for _, state := range []MessageState{MessageConfirmed, MessageFailed, MessageDropped} {
		r, f, p := before(t, C1)
		r.PreCommitEpoch, r.CommitDeadline = 0, 0
		f.Messages[PreCommit] = Message{CID: "bafy", State: state, Epoch: 9_951, Fault: Failf(Funds, "x")}
		f.OnChain = &OnChain{AsOf: 9_950}
		judged := func() bool {
			a, _ := Decide(r, f, p)
			_, held := a.Event.(Held)
			_, fault := a.Event.(MessageFault)
			return held || fault
		}
		require.False(t, judged(), state)
		f.OnChain.AsOf = 9_951
		require.True(t, judged(), "%s, as of its epoch", state)
	}
	r, f, p := before(t, C1)
	f.OnChain = &OnChain{AsOf: r.PreCommitEpoch}
	a, _ := Decide(r, f, p)
	require.NotEqual(t, PreCommitGone{}, a.Event, "its tipset's own state is the one before it")
	f.OnChain.AsOf++
	a, _ = Decide(r, f, p)
	require.Equal(t, PreCommitGone{}, a.Event)
}

// TestNothingIsSealedOrPaidThatCannotBeProven: a gpu lane with test parameters, say, on
// a public network. Waiting needs no order: the lane's next heartbeat lets it go on.
func TestNothingIsSealedOrPaidThatCannotBeProven(t *testing.T) {
	t.Parallel()
	for _, s := range []Stage{"", PreCommit} {
		fresh := func() (*Record, *Facts, *Policy) {
			r, f, p := before(t, PreCommit)
			if s == "" {
				r = &Record{ID: r.ID, Proof: r.Proof, CommD: r.CommD, Stages: map[Stage]StageRecord{}}
			}
			r.set(Store, StageRecord{State: Done, Fence: 1})
			f.Network = Network{Name: "mainnet", BlockDelay: 30 * time.Second}
			for i := range f.Workers {
				f.Workers[i].Lanes = slices.Clone(f.Workers[i].Lanes)
				for j := range f.Workers[i].Lanes {
					f.Workers[i].Lanes[j].Prover, f.Workers[i].Lanes[j].Unproven = "filcrypto", "test parameters"
				}
			}
			return r, f, p
		}
		r, f, p := fresh()
		a, why := Decide(r, f, p)
		require.Nil(t, a.Event, "%q: %v", s, a.Event)
		require.Contains(t, why.Text, `waits for a gpu lane whose proofs network "mainnet" takes: `)
		require.Contains(t, why.Text, ": test parameters")

		for i, l := range f.Workers[0].Lanes {
			if l.Class == ClassGPU {
				f.Workers[0].Lanes[i].Unproven, f.Workers[0].Lanes[i].Unfit = "", "two faults running"
			}
		}
		a, _ = Decide(r, f, p)
		require.NotNil(t, a.Event, "%q: a lane that is out for a while will prove later", s)
	}
}

// TestAMovedPreCommitHasAnotherSeed: a reorganisation included the same message in
// another epoch. The record takes the new one over and draws the seed again, but not
// while a commit message may still land, nor by the word of a node that is behind.
func TestAMovedPreCommitHasAnotherSeed(t *testing.T) {
	t.Parallel()
	r, f, p := before(t, Commit)
	epoch := r.PreCommitEpoch + 3
	r.Seed, r.PoRep = Randomness{Epoch: 1, Value: make([]byte, 32)}, []byte("proof")
	f.OnChain = &OnChain{AsOf: epoch + 5, PreCommit: &OnChainPreCommit{Epoch: epoch, CommR: r.CommR, Expires: 1 << 40}}
	f.OnChain.AsOf = r.PreCommitEpoch
	a, _ := Decide(r, f, p)
	require.NotEqual(t, PreCommitGone{}, a.Event, "an older view")

	f.OnChain.AsOf = epoch + 5
	flying := r.Clone()
	flying.Stages[Commit] = StageRecord{State: Done, Fence: 1, Attempt: 1}
	f.Messages[Commit] = Message{CID: "bafy", State: MessagePushed}
	a, _ = Decide(flying, f, p)
	require.NotEqual(t, PreCommitGone{}, a.Event)
	delete(f.Messages, Commit)

	for _, want := range []Event{PreCommitGone{}, PreCommitLanded{*f.OnChain.PreCommit}} {
		a, why := Decide(r, f, p)
		require.Equal(t, want, a.Event, why.Text)
		var err error
		r, err = Apply(r, a.Event, f.Now)
		require.NoError(t, err)
	}
	require.Equal(t, epoch, r.PreCommitEpoch)
	require.Nil(t, r.Seed.Value)
	require.Nil(t, r.PoRep)
	require.Equal(t, Done, r.Stage(PreCommit).State, "nothing is sent again")
	require.Equal(t, Idle, r.Stage(C1).State)
}

// TestARedoneC1AsksForItsSeedAgain: the one it had may be of a fork.
func TestARedoneC1AsksForItsSeedAgain(t *testing.T) {
	t.Parallel()
	r, f, _ := before(t, Commit)
	seed := Randomness{Epoch: 1, Value: make([]byte, 32)}
	r.Seed = seed
	r, err := Apply(r, RolledBack{To: C1, Why: "test"}, f.Now)
	require.NoError(t, err)
	require.Nil(t, r.Seed.Value)
	r, f, _ = before(t, Commit)
	r.Seed = seed
	r, err = Apply(r, RolledBack{To: C2, Why: "test"}, f.Now)
	require.NoError(t, err)
	require.NotNil(t, r.Seed.Value, "the vanilla proof stands, and its seed")
}

func TestRoomIsWhatIsNotPromised(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, 60, Path{Capacity: 100, Reserved: 40, Free: 50}.room(), "what is free counts in the capacity alone")
	require.EqualValues(t, 0, Path{Capacity: 100, Reserved: 100}.room())
	require.EqualValues(t, 0, Path{Capacity: 30, Reserved: 100, Free: 30}.room(), "others filled the disk")
}

// TestSyntheticLayersGoBeforePreCommit follows a sector with synthetic proofs from
// tree_rc on, under either release policy.
func TestSyntheticLayersGoBeforePreCommit(t *testing.T) {
	t.Parallel()
	for _, policy := range []Release{ReleaseAfterC2, ReleaseAfterCommit} {
		r, f, p := beforeOf(t, DropLayers, synthetic)
		p.ReleaseLayers = policy
		require.False(t, r.PreCommitted())
		var order []Stage
		for len(order) < 3 {
			a, why := Decide(r, f, p)
			s, ok := a.Event.(Scheduled)
			require.True(t, ok, why.Text)
			order = append(order, s.Stage)
			next, err := Apply(r, a.In(ofOne), noon)
			require.NoError(t, err)
			sr := next.Stage(s.Stage)
			sr.State = Done
			next.set(s.Stage, sr)
			r = next
		}
		require.Equal(t, []Stage{Store, DropLayers, PreCommit}, order)
	}
}

// TestSyntheticProofsThatDoNotHold are made again from the layers on, which are gone.
func TestSyntheticProofsThatDoNotHold(t *testing.T) {
	t.Parallel()
	r, f, p := beforeOf(t, C1, synthetic)
	require.Equal(t, Done, r.Stage(DropLayers).State)
	fault := *Failf(Input, "a record does not hold")
	fault.At = noon
	r.set(C1, StageRecord{State: Faulted, Fence: 1, Attempt: 1, Faults: 1, Fault: &fault})
	a, why := Decide(r, f, p)
	require.Equal(t, RolledBack{To: SDR, Why: fault.Text}, a.Event, why.Text)
	ticket := r.Ticket
	r, err := Apply(r, a.Event, noon)
	require.NoError(t, err)
	require.Equal(t, ticket, r.Ticket, "the pre-commit on chain freezes it")
	require.Equal(t, Done, r.Stage(PreCommit).State)
	require.Equal(t, StageRecord{Fence: 2, Claim: 1}, r.Stage(DropLayers))
}

// TestAReorganisationIsNoticedBeforeC2: a pre-commit that is gone, or came again with
// another seed, costs no proof, no SNARK and no message.
func TestAReorganisationIsNoticedBeforeC2(t *testing.T) {
	t.Parallel()
	for _, s := range []Stage{C1, C2, Commit} {
		r, f, _ := before(t, s)
		require.True(t, Asks(r, f), "before %s", s)
	}
	r, f, p := before(t, C2)
	standing := OnChainPreCommit{Epoch: r.PreCommitEpoch, CommR: r.CommR, Expires: r.CommitDeadline}
	moved := standing
	moved.Epoch -= 3
	for name, pre := range map[string]*OnChainPreCommit{"gone": nil, "moved": &moved} {
		f.OnChain = &OnChain{AsOf: f.Head.Epoch, PreCommit: pre}
		a, why := Decide(r, f, p)
		require.Equal(t, PreCommitGone{}, a.Event, "%s: %s", name, why.Text)
	}
	f.OnChain = &OnChain{AsOf: f.Head.Epoch, PreCommit: &standing}
	a, _ := Decide(r, f, p)
	require.Equal(t, C2, a.Event.(Scheduled).Stage)
}

func TestAFinishedSectorTakesNoOrders(t *testing.T) {
	t.Parallel()
	for _, outcome := range []Outcome{Committed, Proven, Removed} {
		r := &Record{ID: SectorID{Miner: 1000, Number: 42}, Outcome: outcome}
		for _, e := range []Event{Held{Hold{Reason: "x"}}, Released{}, Aborted{"x"}, AbandonOrdered{"x"}, RolledBack{To: SDR, ByOrder: true}} {
			_, err := Apply(r, e, noon)
			require.ErrorIs(t, err, ErrRefused, "%s, %s", outcome, e)
		}
	}
}
