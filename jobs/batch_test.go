package jobs

import (
	"slices"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// candidateFor is a sector that became ready at a time, with so many bytes.
func candidateFor(number uint64, at time.Time, bytes int) Candidate {
	return Candidate{
		Record: &Record{ID: SectorID{1000, abi.SectorNumber(number)}},
		Event:  Scheduled{Stage: PreCommit}, Fire: Fire{at, BatchTimeout}, Bytes: bytes,
	}
}

func numbers(cs []Candidate) (out []uint64) {
	for _, c := range cs {
		out = append(out, uint64(c.Record.ID.Number))
	}
	return out
}

func TestBatchesGoWhenTheyAreFullOrDue(t *testing.T) {
	t.Parallel()
	later := noon.Add(time.Minute)
	p := BatchPolicy{Max: 3, Bytes: 1000}
	type plan struct {
		cause   BatchCause
		members []uint64
	}
	for name, c := range map[string]struct {
		candidates []Candidate
		flush      bool
		plans      []plan
		rest       []uint64
	}{
		"nobody":  {},
		"waiting": {candidates: []Candidate{candidateFor(1, later, 10), candidateFor(2, later, 10)}, rest: []uint64{1, 2}},
		"one is due": {
			candidates: []Candidate{candidateFor(1, later, 10), candidateFor(2, noon, 10)},
			plans:      []plan{{BatchTimeout, []uint64{2, 1}}},
		},
		"full by count": {
			candidates: []Candidate{candidateFor(1, later, 10), candidateFor(2, later, 10), candidateFor(3, later, 10), candidateFor(4, later, 10)},
			plans:      []plan{{BatchFull, []uint64{1, 2, 3}}}, rest: []uint64{4},
		},
		"full by bytes": {
			candidates: []Candidate{candidateFor(1, later, 600), candidateFor(2, later, 600)},
			plans:      []plan{{BatchFull, []uint64{1}}}, rest: []uint64{2},
		},
		"one that is too large goes alone": {
			candidates: []Candidate{candidateFor(1, later, 5000)},
			plans:      []plan{{BatchFull, []uint64{1}}},
		},
		"the urgent ones go first": {
			candidates: []Candidate{candidateFor(1, later.Add(3), 10), candidateFor(2, later.Add(2), 10), candidateFor(3, later.Add(1), 10), candidateFor(4, later, 10)},
			plans:      []plan{{BatchFull, []uint64{4, 3, 2}}}, rest: []uint64{1},
		},
		"flushed": {
			candidates: []Candidate{candidateFor(1, later, 10)}, flush: true,
			plans: []plan{{BatchFlush, []uint64{1}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plans, rest := DecideBatches(c.candidates, p, noon, c.flush)
			var got []plan
			for _, p := range plans {
				got = append(got, plan{p.Cause, numbers(p.Members)})
			}
			require.Equal(t, c.plans, got)
			require.Equal(t, c.rest, numbers(rest))
			for _, other := range rest {
				require.False(t, other.Fire.At.Before(rest[0].Fire.At), "the most urgent of the rest fires it")
			}
		})
	}
}

// TestNobodyIsForgotten: whatever waits is in one plan or in the rest, no message is
// too large, and nobody who is due stays behind.
func TestNobodyIsForgotten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := BatchPolicy{Max: rapid.IntRange(1, 5).Draw(t, "max"), Bytes: rapid.IntRange(1, 2000).Draw(t, "bytes")}
		var all []Candidate
		for i := range rapid.IntRange(0, 20).Draw(t, "n") {
			at := noon.Add(time.Duration(rapid.IntRange(-3, 3).Draw(t, "at")) * time.Second)
			all = append(all, candidateFor(uint64(i), at, rapid.IntRange(1, 900).Draw(t, "size")))
		}
		plans, rest := DecideBatches(all, p, noon, rapid.Bool().Draw(t, "flush"))
		seen := numbers(rest)
		for _, plan := range plans {
			require.NotEmpty(t, plan.Members)
			require.LessOrEqual(t, len(plan.Members), p.Max)
			bytes := 0
			for _, m := range plan.Members {
				bytes += m.Bytes
			}
			require.True(t, bytes <= p.Bytes || len(plan.Members) == 1)
			seen = append(seen, numbers(plan.Members)...)
		}
		slices.Sort(seen)
		require.Equal(t, numbers(all), seen)
		for _, c := range rest {
			require.True(t, c.Fire.At.After(noon))
		}
	})
}

// TestWhatFiresABatch: the wait after the stages before it, the deadline of ticket or
// pre-commit, or a failure before.
func TestWhatFiresABatch(t *testing.T) {
	t.Parallel()
	fire := func(s Stage, change func(*Record, *Facts, *Policy)) Fire {
		r, f, p := before(t, s)
		f.Network.BlockDelay = 30 * time.Second
		ready := r.Stage(RowOf(s).After[0])
		ready.Since = noon.Add(-time.Minute)
		r.set(RowOf(s).After[0], ready)
		for _, b := range []*BatchPolicy{&p.PreCommits, &p.Commits} {
			b.Wait, b.Slack = time.Hour, 2*time.Hour
		}
		change(r, f, p)
		return NewCandidate(r, Scheduled{Stage: s}, f, p).Fire
	}
	plain := func(*Record, *Facts, *Policy) {}
	require.Equal(t, Fire{noon.Add(59 * time.Minute), BatchTimeout}, fire(PreCommit, plain))
	require.Equal(t, Fire{noon.Add(59 * time.Minute), BatchTimeout}, fire(Commit, plain))
	// The ticket of epoch 9100 may land until 12820; at epoch 12500 that is 160 min away.
	require.Equal(t, Fire{noon.Add(40 * time.Minute), BatchSlack}, fire(PreCommit, func(_ *Record, f *Facts, _ *Policy) { f.Head.Epoch = 12_500 }))
	require.Equal(t, Fire{noon.Add(30 * time.Minute), BatchSlack}, fire(Commit, func(r *Record, f *Facts, _ *Policy) { r.CommitDeadline = f.Head.Epoch + 300 }))
	// A deal that starts in 300 epochs leaves the pre-commit 10 fewer for the seed and 6 until that is believed.
	soon := func(r *Record, f *Facts, _ *Policy) { deal(r, f.Head.Epoch+300) }
	require.Equal(t, Fire{noon.Add(284*30*time.Second - 2*time.Hour), BatchSlack}, fire(PreCommit, soon))
	require.Equal(t, Fire{noon.Add(30 * time.Minute), BatchSlack}, fire(Commit, soon))
	require.Equal(t, Fire{noon, BatchRetry}, fire(PreCommit, func(r *Record, _ *Facts, _ *Policy) { r.set(PreCommit, StageRecord{Attempt: 1}) }))
}

// TestABatchStopsNothingElse: a sector that waits for company goes on with what needs
// none, whether it waits for the first time, again, or because its batch was lost.
func TestABatchStopsNothingElse(t *testing.T) {
	t.Parallel()
	for name, sr := range map[string]StageRecord{
		"first": {},
		"lost":  {State: Queued, Fence: 1, Attempt: 1, Delivery: 1, Queue: "chain", Batch: ofOne},
		"again": {State: Faulted, Fence: 1, Attempt: 1, Delivery: 1, Fault: &Fault{Class: Transient, At: noon.Add(-time.Hour)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, f, p := before(t, PreCommit)
			r.set(PreCommit, sr)
			f.Tasks[PreCommit] = TaskAbsent
			a, _ := Decide(r, f, p)
			require.False(t, a.Batched)
			require.Equal(t, Store, a.Event.(Scheduled).Stage)
			r, err := Apply(r, a.Event, noon)
			require.NoError(t, err)
			f.Tasks[Store] = TaskPending
			a, why := Decide(r, f, p)
			require.True(t, a.Batched, why.Text)
			require.Equal(t, PreCommit, a.Event.(Scheduled).Stage)
			_, err = Apply(r, a.Event, noon)
			require.ErrorIs(t, err, ErrRefused, "it cannot be written without a batch")
		})
	}
}

func TestBatchNamesHaveOneForm(t *testing.T) {
	t.Parallel()
	name := NewBatchID(noon, "k3x9qa")
	_, err := ParseBatchID(name)
	require.NoError(t, err)
	for _, bad := range []string{"", "b-", "s-t01000-1", name + "}", name + ".d1", "b-20261123-061530-K3X9QA"} {
		_, err := ParseBatchID(bad)
		require.Error(t, err, bad)
	}
	ref := BatchRef{Batch: name, Stage: Commit, Delivery: 2}
	back, err := ParseBatchPayload(Commit.TaskType(), ref.Payload())
	require.NoError(t, err)
	require.Equal(t, ref, back)
	_, err = ParseBatchPayload(PreCommit.TaskType(), ref.Payload())
	require.Error(t, err, "the payload of another type")
	g := Group{PreCommit, 1000, abi.RegisteredSealProof_StackedDrg32GiBV1_1}
	same, err := ParseGroup(g.String())
	require.NoError(t, err)
	require.Equal(t, g, same)
	for _, bad := range []string{"", "precommit/t01000", "sdr/t01000/8", "precommit/1000/8", "precommit/t01000/08"} {
		_, err := ParseGroup(bad)
		require.Error(t, err, bad)
	}
}

func TestABatchIsReadBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	b := &Batch{
		ID: NewBatchID(noon, "k3x9qa"), Version: 3, Created: noon, Since: noon.Add(time.Second),
		Group: Group{Commit, 1000, abi.RegisteredSealProof_StackedDrg2KiBV1_1}, Cause: BatchSlack,
		Members: []TaskRef{{SectorID{1000, 1}, Commit, 1, 2, 3}, {SectorID{1000, 2}, Commit, 2, 1, 1}},
		State:   BatchRunning, Delivery: 2, Claim: 1, Worker: "h1/s@r", Note: "a note",
	}
	back, err := ParseBatch(b.Fields())
	require.NoError(t, err)
	require.Equal(t, b, back)
	fields := b.Fields()
	fields["colour"] = "red"
	_, err = ParseBatch(fields)
	require.ErrorContains(t, err, "unknown field")
}

// TestJoinedProofsFillNoMessage: thirty proofs of 32 GiB fill a message, eight hundred
// joined ones do not.
func TestJoinedProofsFillNoMessage(t *testing.T) {
	t.Parallel()
	r, f, p := before(t, Commit)
	r.PoRep = make([]byte, 1920)
	plain := NewCandidate(r, Scheduled{Stage: Commit}, f, p).Bytes
	p.Commits.Aggregated = true
	joined := NewCandidate(r, Scheduled{Stage: Commit}, f, p).Bytes
	require.Greater(t, plain, 1920)
	require.Less(t, plain-joined, 1930)
	require.Less(t, joined*MaxAggregate, MaxBatchBytes)
}
