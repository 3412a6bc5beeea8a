package jobs

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// aDeal is of a piece of its own.
func aDeal(id string, size abi.PaddedPieceSize, change ...func(*Deal)) Deal {
	sum := sha256.Sum256([]byte(id))
	sum[31] &= 0x3f
	c, err := commcid.PieceCommitmentV1ToCID(sum[:])
	if err != nil {
		panic(err)
	}
	d := Deal{ID: id, Miner: 1000, Piece: Piece{CID: c, Size: size, RawSize: 100}, Received: noon}
	for _, c := range change {
		c(&d)
	}
	return d
}

// packed names the deals of each sector, with a mark for those that go now.
func packed(bins []Packing) (out []string) {
	for _, b := range bins {
		text := ""
		for _, d := range b.Deals {
			text += d.ID
		}
		if b.Why != "" {
			text += "!"
		}
		out = append(out, text)
	}
	return out
}

func TestPack(t *testing.T) {
	t.Parallel()
	const head = 1_000_000
	p := DefaultPolicy()
	start := func(e abi.ChainEpoch) func(*Deal) { return func(d *Deal) { d.Piece.Terms.Start = e } }
	old := func(d *Deal) { d.Received = noon.Add(-p.PackWait) }
	for name, c := range map[string]struct {
		deals []Deal
		want  []string
	}{
		"nothing":              {nil, nil},
		"one waits":            {[]Deal{aDeal("a", 512)}, []string{"a"}},
		"full":                 {[]Deal{aDeal("a", 512), aDeal("b", 1024), aDeal("c", 512)}, []string{"bac!"}},
		"large ones first":     {[]Deal{aDeal("a", 128), aDeal("b", 1024), aDeal("c", 256), aDeal("d", 1024)}, []string{"bd!", "ca"}},
		"the longest waited":   {[]Deal{aDeal("a", 512), aDeal("b", 512, old)}, []string{"ba!"}},
		"start is near":        {[]Deal{aDeal("a", 512), aDeal("b", 512, start(head+p.PackSlack))}, []string{"ba!"}},
		"start is not":         {[]Deal{aDeal("a", 512), aDeal("b", 512, start(head+p.PackSlack+1))}, []string{"ba"}},
		"other host":           {[]Deal{aDeal("a", 512), aDeal("b", 512, func(d *Deal) { d.Home = "p1" })}, []string{"a", "b"}},
		"kept and not kept":    {[]Deal{aDeal("a", 512), aDeal("b", 512, func(d *Deal) { d.KeepUnsealed = true })}, []string{"a", "b"}},
		"the same piece twice": {[]Deal{aDeal("a", 512), aDeal("b", 512, func(d *Deal) { d.Piece.CID = aDeal("a", 512).Piece.CID })}, []string{"a", "b"}},
		"lives that do not go together": {[]Deal{
			aDeal("a", 512, func(d *Deal) { d.Piece.Terms.LifeMax = 300 * 2880 }), aDeal("b", 512, func(d *Deal) { d.Piece.Terms.LifeMin = 400 * 2880 }),
		}, []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &Facts{Now: noon, Head: Head{Epoch: head}, Network: Network{ChallengeDelay: 150}}
			require.Equal(t, c.want, packed(Pack(c.deals, 2048, f, &p)))
		})
	}
}

// A sector has room for more small pieces than one message can commit: the rest go into another, or the deposit would be lost.
func TestPackAsMuchAsAMessageCommits(t *testing.T) {
	t.Parallel()
	p := DefaultPolicy()
	var deals []Deal
	for n := range 1200 {
		deals = append(deals, aDeal(fmt.Sprint(n), 1024, func(d *Deal) {
			d.Piece.Allocation = &Allocation{Client: 1001, ID: uint64(n)}
			d.Piece.Notify = []Notification{NotifyMarket(abi.DealID(n))}
		}))
	}
	bins := Pack(deals, 32<<30, &Facts{Now: noon}, &p)
	require.Len(t, bins, 2)
	for _, b := range bins {
		r := CommitRequest{Seal: Seal{ID: SectorID{Number: 1 << 40}}, Pieces: piecesOf(b.Deals), Proof: make([]byte, 1920)}
		require.LessOrEqual(t, r.Bytes(), MaxBatchBytes)
	}
	require.False(t, Committable(piecesOf(deals)))
}

// Until is when the first of the deals has waited for long enough, or starts too soon to wait.
func TestPackUntil(t *testing.T) {
	t.Parallel()
	p := DefaultPolicy()
	f := &Facts{Now: noon, Head: Head{Epoch: 1000}, Network: Network{ChallengeDelay: 150, BlockDelay: 30 * time.Second}}
	for soon, want := range map[abi.ChainEpoch]time.Duration{0: p.PackWait - time.Minute, 10: 5 * time.Minute, 1000: p.PackWait - time.Minute} {
		deals := []Deal{aDeal("a", 512, func(d *Deal) { d.Received = noon.Add(-time.Minute) }), aDeal("b", 512, func(d *Deal) {
			if d.Received = noon; soon != 0 {
				d.Piece.Terms.Start = f.Head.Epoch + p.PackSlack + soon
			}
		})}
		got := Pack(deals, 2048, f, &p)
		require.Len(t, got, 1)
		require.Empty(t, got[0].Why)
		require.Equal(t, noon.Add(want), got[0].Until, "%d epochs", soon)
	}
}

// TestPackIsSound: every deal is in exactly one sector, every sector holds what it has, and the order of deals does not matter.
func TestPackIsSound(t *testing.T) {
	t.Parallel()
	p := DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		var deals []Deal
		for i := range rapid.IntRange(0, 12).Draw(t, "deals") {
			size := abi.PaddedPieceSize(128) << rapid.IntRange(0, 4).Draw(t, "size")
			deals = append(deals, aDeal(fmt.Sprint("d", i), size, func(d *Deal) {
				d.Received = noon.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "age")) * time.Minute)
				d.KeepUnsealed = rapid.Bool().Draw(t, "keep")
			}))
		}
		f := &Facts{Now: noon, Head: Head{Epoch: 10_000}}
		bins := Pack(deals, 2048, f, &p)
		seen, room := map[string]bool{}, 0
		for _, b := range bins {
			_, end := Layout(piecesOf(b.Deals))
			require.LessOrEqual(t, end, abi.PaddedPieceSize(2048))
			var sum abi.PaddedPieceSize
			for _, d := range b.Deals {
				require.False(t, seen[d.ID])
				seen[d.ID] = true
				sum += d.Piece.Size
			}
			require.Equal(t, sum, end, "no gaps")
			if b.Why == "" && end <= 1024 {
				room++
			}
		}
		require.Len(t, seen, len(deals))
		require.LessOrEqual(t, room, 4, "half empty sectors would have been merged: one for each way of keeping, full or not")
		shuffled := rapid.Permutation(deals).Draw(t, "order")
		require.Equal(t, packed(bins), packed(Pack(shuffled, 2048, f, &p)))
	})
}

func TestDealIDs(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "550e8400-e29b-41d4-a716-446655440000", "boost:42", "A_1.b"} {
		require.True(t, ValidDealID(good), good)
	}
	for _, bad := range []string{"", ".", "..", "a/b", "a b", "{x}", "é", string(make([]byte, 129))} {
		require.False(t, ValidDealID(bad), "%q", bad)
	}
}

func TestStatusFollowsTheSector(t *testing.T) {
	t.Parallel()
	d := aDeal("a", 512)
	require.Equal(t, DealWaiting, StatusOf(&d, nil).State)
	r := &Record{ID: SectorID{1000, 7}, Pieces: []Piece{aDeal("b", 1024).Piece, d.Piece}}
	s := StatusOf(&d, r)
	require.Equal(t, DealSealing, s.State)
	require.Equal(t, abi.PaddedPieceSize(1024), s.Place.Offset)
	r.Hold = &Hold{Reason: "look"}
	require.Equal(t, DealStatus{ID: "a", State: DealHeld, Why: "look", Place: s.Place}, StatusOf(&d, r))
	r.Hold, r.Activation = nil, 9
	require.Equal(t, DealCommitted, StatusOf(&d, r).State)
	r.Outcome = Removed
	require.Equal(t, DealRemoved, StatusOf(&d, r).State)
}
