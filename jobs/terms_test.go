package jobs

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
)

func TestTermsOfSeveralPieces(t *testing.T) {
	t.Parallel()
	require.Equal(t, Terms{}, TermsOf(nil), "committed capacity")
	got := TermsOf([]Piece{
		{Terms: Terms{Start: 900, LifeMin: 10, LifeMax: 100}},
		{},
		{Terms: Terms{Start: 800, End: 5000, LifeMin: 20}},
		{Terms: Terms{End: 4000, LifeMax: 90}},
	})
	require.Equal(t, Terms{Start: 800, End: 5000, LifeMin: 20, LifeMax: 90}, got, "each bound the tightest")
}

// TestExpiration holds design §6's bounds, and the terms within them.
func TestExpiration(t *testing.T) {
	t.Parallel()
	const (
		day     = 2880
		head    = 1_000_000
		delay   = 150
		lowest  = head + 240 + 30*day + delay + 180*day
		reorg   = 900
		highest = head - reorg + 1278*day
	)
	for _, c := range []struct {
		terms        Terms
		wanted, want abi.ChainEpoch
	}{
		{Terms{}, 0, highest},
		{Terms{}, head, lowest},
		{Terms{}, lowest + 7, lowest + 7},
		{Terms{}, highest + 1, highest},
		{Terms{LifeMin: 200 * day}, head, lowest + 20*day},
		{Terms{LifeMin: 100 * day}, head, lowest},
		{Terms{LifeMax: 300 * day}, 0, head - reorg + delay + 300*day},
		{Terms{LifeMax: 2000 * day}, 0, highest},
		{Terms{End: lowest + 9}, head, lowest + 9},
		{Terms{LifeMin: 200 * day, LifeMax: 300 * day}, head + 250*day, head + 250*day},
	} {
		require.Equal(t, c.want, c.terms.Expiration(head, delay, c.wanted), "%+v wanted %d", c.terms, c.wanted)
	}
	require.NoError(t, Terms{Start: head + delay + 1, LifeMin: 180 * day, LifeMax: 300 * day}.Check(head, delay))
	require.ErrorContains(t, Terms{Start: head + delay}.Check(head, delay), "the proof alone takes 150 epochs")
	require.ErrorContains(t, Terms{LifeMin: 180 * day, LifeMax: 200 * day}.Check(head, delay), "no sector lives as demanded")
	require.ErrorContains(t, Terms{End: highest + 1}.Check(head, delay), "no sector lives as demanded")
}

func TestLayoutAlignsEachPieceToItsSize(t *testing.T) {
	t.Parallel()
	offsets, end := Layout([]Piece{{Size: 128}, {Size: 512}, {Size: 256}, {Size: 256}})
	require.Equal(t, []abi.PaddedPieceSize{0, 512, 1024, 1280}, offsets)
	require.EqualValues(t, 1536, end)
	_, end = Layout(nil)
	require.Zero(t, end)
}

func TestDealOfANotification(t *testing.T) {
	t.Parallel()
	for _, id := range []abi.DealID{0, 23, 24, 300, 1 << 40} {
		got, ok := NotifyMarket(id).Deal()
		require.True(t, ok)
		require.Equal(t, id, got)
	}
	for name, payload := range map[string][]byte{"nothing": nil, "text": {0x60}, "more": {0x01, 0x02}} {
		n := NotifyMarket(1)
		n.Payload = payload
		_, ok := n.Deal()
		require.False(t, ok, name)
	}
}

// deal gives the sector a piece that must be committed by an epoch.
func deal(r *Record, start abi.ChainEpoch) {
	r.Pieces = []Piece{{CID: r.CommD, Size: 2048, Allocation: &Allocation{1001, 7}, Terms: Terms{Start: start}}}
}

// TestDealStartPassed: the sector is held as soon as it cannot be committed in time, before the next message is paid for, and
// never while a message may still do it.
func TestDealStartPassed(t *testing.T) {
	t.Parallel()
	held := func(r *Record, f *Facts, p *Policy) bool {
		a, why := Decide(r, f, p)
		h, ok := a.Event.(Held)
		if ok {
			require.Equal(t, Deadline, h.Hold.Class)
			require.Contains(t, why.Text, "deal start passed")
			require.Contains(t, why.Text, r.CommD.String(), "which piece")
		}
		return ok
	}
	r, f, p := before(t, PreCommit)
	soonest := f.Head.Epoch + 1 + 10 + p.SeedConfidence
	deal(r, soonest)
	require.False(t, held(r, f, p), "just in time")
	deal(r, soonest-1)
	require.True(t, held(r, f, p), "before the deposit")
	r.set(PreCommit, StageRecord{State: Running, Fence: 1, Attempt: 1, Delivery: 1, Claim: 1})
	f.Tasks[PreCommit] = TaskActive
	require.False(t, held(r, f, p), "the message may be on its way")

	r, f, p = before(t, Commit)
	deal(r, f.Head.Epoch+1)
	require.False(t, held(r, f, p))
	require.Equal(t, f.Head.Epoch+1, CommitDeadline(r))
	deal(r, f.Head.Epoch)
	require.True(t, held(r, f, p), "before the gas")
	deal(r, 0)
	require.Equal(t, r.CommitDeadline, CommitDeadline(r), "the pre-commit's")
	deal(r, f.Head.Epoch)
	r.set(Commit, StageRecord{State: Done, Fence: 1, Attempt: 1, Delivery: 1, Claim: 1})
	f.Messages[Commit] = Message{State: MessageLanded}
	require.False(t, held(r, f, p), "it has landed")
	f.Messages[Commit] = Message{State: MessageConfirmed}
	require.False(t, held(r, f, p), "the chain is about to show it")
}

// TestDroppedDeals: a sector held for its deals goes on as plain data.
func TestDroppedDeals(t *testing.T) {
	t.Parallel()
	r, f, p := before(t, Commit)
	deal(r, f.Head.Epoch)
	a, _ := Decide(r, f, p)
	for _, e := range []Event{a.Event, DealsDropped{"by order"}, Released{}} {
		next, err := Apply(r, e, noon)
		require.NoError(t, err)
		r = next
	}
	require.Nil(t, r.Pieces[0].Allocation)
	r.set(DropLayers, StageRecord{State: Done, Fence: 1, Attempt: 1}) // which waits for nobody
	a, _ = Decide(r, f, p)
	require.Equal(t, Commit, a.Event.(Scheduled).Stage)

	r, err := Apply(r, a.In(ofOne), noon)
	require.NoError(t, err)
	_, err = Apply(r, DealsDropped{"by order"}, noon)
	require.ErrorIs(t, err, ErrRefused, "a message may name the allocation already")
}
