package web_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/web"
	"github.com/lpseal/lpseal/jobs"
)

// deal has a market give a deal, some time ago.
func (f *fleet) deal(id string, size uint64, ago time.Duration, change ...func(*jobs.Deal)) jobs.Deal {
	f.t.Helper()
	d := jobs.Deal{ID: id, Miner: miner, Received: f.now.Add(-ago), Piece: jobs.Piece{
		CID: pieceCID(f.t, id), Size: jobs.PaddedFor(size), RawSize: size, Source: "https://boost.example.com/piece/" + id,
	}}
	for _, c := range change {
		c(&d)
	}
	added, err := f.store.AddDeal(f.ctx, d, "digest of "+id)
	require.NoError(f.t, err)
	return added.Deal
}

// pack makes a sector of deals.
func (f *fleet) pack(n int, deals ...jobs.Deal) {
	f.t.Helper()
	r := &jobs.Record{ID: sector(n), Version: 1, Created: f.now, Proof: 8, Stages: map[jobs.Stage]jobs.StageRecord{}}
	for _, d := range deals {
		r.Pieces = append(r.Pieces, d.Piece)
		ok, err := f.store.AssignDeal(f.ctx, d.ID, r.ID)
		require.NoError(f.t, err)
		require.True(f.t, ok)
	}
	require.NoError(f.t, f.store.Create(f.ctx, r, "scheduler/s1"))
	for _, d := range deals {
		require.NoError(f.t, f.store.CloseDeal(f.ctx, d.ID))
	}
}

func (f *fleet) refuse(id, why string) {
	f.t.Helper()
	refused, err := f.store.RefuseDeal(f.ctx, id, why)
	require.NoError(f.t, err)
	require.True(f.t, refused)
	require.NoError(f.t, f.store.CloseDeal(f.ctx, id))
}

// deals is what a market gave: waiting, refused, and in sectors of every kind.
func (f *fleet) deals() {
	f.t.Helper()
	claim := func(n uint64) func(*jobs.Deal) {
		return func(d *jobs.Deal) { d.Piece.Allocation = &jobs.Allocation{Client: 1001, ID: n} }
	}
	f.pack(41, f.deal("boost:12", 16_000_000_000, 9*time.Hour, claim(12)), f.deal("boost:13", 8_000_000_000, 8*time.Hour))
	f.pack(42, f.deal("boost:14", 31_000_000_000, 7*time.Hour))
	f.write(sector(42), time.Hour, "cli", jobs.Held{Hold: jobs.Hold{Reason: "piece 0 is not what its CID says"}})
	f.deal("boost:15", 900_000_000, 6*time.Hour, claim(15))
	f.refuse("boost:15", "allocation f01001/15 is over since epoch 4120000")
	f.deal("boost:16", 8_000_000_000, 50*time.Minute, claim(16))
	f.deal("boost:17", 4_000_000_000, 20*time.Minute)
	f.deal("boost:18", 16_000_000_000, 2*time.Minute, func(d *jobs.Deal) { d.KeepUnsealed, d.Piece.Terms.Start = true, head+5760+20 })
}

func TestDealsPage(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	require.Contains(t, f.serve(nil).page("/deals"), "No market has given a deal yet")
	f.deals()
	v := f.serve(nil)
	got := v.page("/deals")
	for _, shown := range []string{
		"3 wait for a sector, 3 have one, 1 is refused.",
		"A sector of t01000: 12 GiB of 32 GiB 12884901888 of 34359738368 bytes goes when it is full, or in 10m boost:16 8.0 GiB allocation f01001/16 50m ago baga",
		"goes when it is full, or in 10m boost:18 16 GiB 4129236 2m ago",
		"boost:15 refused 1.0 GiB allocation f01001/15 allocation f01001/15 is over since epoch 4120000 baga",
		"boost:14 held s-t01000-42 0 32 GiB piece 0 is not what its CID says baga",
		"boost:13 sealing s-t01000-41 17179869184 8.0 GiB",
		"boost:12 sealing s-t01000-41 0 16 GiB allocation f01001/12",
	} {
		require.Contains(t, got, shown)
	}
	require.Contains(t, v.page("/deals?find=boost:13"), "“boost:13” deal state sector offset size start claims why, and the piece boost:13 sealing s-t01000-41")
	require.Contains(t, v.page("/deals?find=nothing"), "No market has given a deal of this name.")
	require.Contains(t, v.page("/"), "Deals")

	away := f.serve(func(o *web.Options) { o.Scheduler = nobody{} }).page("/deals")
	require.Contains(t, away, "How they share sectors is not known, for the node does not say: the node does not answer")
	require.Contains(t, away, "boost:16 waiting 8.0 GiB")
	require.Contains(t, away, "3 wait for a sector")
}

func TestDealsPageHasPages(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for n := range 103 {
		id := fmt.Sprintf("d%d", n)
		f.deal(id, 1000, time.Duration(200-n)*time.Minute)
		f.refuse(id, "late")
	}
	v := f.serve(nil)
	first, last := v.page("/deals"), v.page("/deals?refused=9")
	require.Contains(t, first, "d102 refused")
	require.Contains(t, first, "1–100 of 103")
	require.NotContains(t, first, "d2 refused")
	require.Contains(t, last, "101–103 of 103")
	require.Contains(t, last, "d2 refused")
	require.Contains(t, v.get("/deals").body, `href="?refused=2"`)
}

func TestBrowserShowsDeals(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.deals()
	v := f.serve(nil)
	ctx := browse(t, 1440, 900)
	open(t, ctx, v.url+"/deals")
	page, err := chromedp.Run(ctx, chromedp.Text("#main"))
	require.NoError(t, err)
	require.Contains(t, page, "goes when it is full")
	requireNothingRefused(t, ctx)
	picture(t, ctx, "deals.png")
}
