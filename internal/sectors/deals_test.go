package sectors_test

import (
	"context"

	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func (b *bench) deal(id string) jobs.Deal {
	return jobs.Deal{ID: id, Miner: miner, Piece: b.piece(id), Received: noon}
}

func (b *bench) openDeals() (ids []string) {
	b.Helper()
	open, err := b.store.OpenDeals(b.ctx)
	require.NoError(b, err)
	for _, d := range open {
		ids = append(ids, d.ID)
	}
	return ids
}

func testDeals(b *bench) {
	_, err := b.store.Deal(b.ctx, "x")
	require.ErrorIs(b, err, sectors.ErrNoDeal)
	added, err := b.store.AddDeal(b.ctx, b.deal("x"), "1")
	require.NoError(b, err)
	require.Equal(b, &sectors.Deal{Deal: b.deal("x"), Digest: "1"}, added)
	again, err := b.store.AddDeal(b.ctx, b.deal("x"), "2")
	require.NoError(b, err)
	require.Equal(b, "1", again.Digest, "the first one stands")

	assign := func(id string, n int) bool {
		ok, err := b.store.AssignDeal(b.ctx, id, sector(n))
		require.NoError(b, err)
		return ok
	}
	require.True(b, assign("x", 7))
	require.True(b, assign("x", 7), "again is the same")
	require.False(b, assign("x", 8), "it has a sector")
	require.False(b, assign("nobody's", 8))
	refuse := func(id string) bool {
		ok, err := b.store.RefuseDeal(b.ctx, id, "late")
		require.NoError(b, err)
		return ok
	}
	require.False(b, refuse("x"), "it has a sector")
	require.NoError(b, b.store.FreeDeal(b.ctx, "x", sector(8)), "not its sector: nothing happens")
	d, err := b.store.Deal(b.ctx, "x")
	require.NoError(b, err)
	require.Equal(b, sector(7), *d.Sector)
	require.Empty(b, d.Refused, "what has a sector is not refused")
	require.NoError(b, b.store.FreeDeal(b.ctx, "x", sector(7)))
	require.True(b, refuse("x"))
	require.False(b, assign("x", 8), "it is refused")
	d, err = b.store.Deal(b.ctx, "x")
	require.NoError(b, err)
	require.Equal(b, "late", d.Refused)

	// The index is mended from the deals.
	for _, id := range []string{"waiting", "assigned", "made"} {
		_, err := b.store.AddDeal(b.ctx, b.deal(id), "1")
		require.NoError(b, err)
	}
	require.True(b, assign("assigned", 9))
	require.True(b, assign("made", 1))
	b.create(1)
	require.NoError(b, b.store.CloseDeal(b.ctx, "made"))
	require.NoError(b, b.store.CloseDeal(b.ctx, "x"))
	require.NoError(b, b.store.CloseDeal(b.ctx, "nobody's"))
	named := func(deals []*sectors.Deal, all int, err error) (ids []string) {
		require.NoError(b, err)
		require.Len(b, deals, all)
		for _, d := range deals {
			ids = append(ids, d.ID)
		}
		return ids
	}
	indexed := func() {
		require.Equal(b, []string{"assigned", "waiting"}, b.openDeals())
		require.Equal(b, []string{"made"}, named(b.store.PackedDeals(b.ctx, 0, 10)))
		require.Equal(b, []string{"x"}, named(b.store.RefusedDeals(b.ctx, 0, 10)))
		counts, err := b.store.CountDeals(b.ctx)
		require.NoError(b, err)
		require.Equal(b, map[jobs.DealState]int{jobs.DealWaiting: 2, jobs.DealSealing: 1, jobs.DealRefused: 1}, counts)
	}
	indexed()
	require.Zero(b, b.sweep().Deals)
	for _, index := range []string{"lpseal:deals", "lpseal:deals:packed", "lpseal:deals:refused"} { // on a cluster each has a node of its own
		require.NoError(b, b.rdb.Del(b.ctx, index).Err())
	}
	require.Equal(b, 4, b.sweep().Deals)
	indexed()
}

// Pages of an index are of its latest deals first.
func testPagesOfDeals(b *bench) {
	for n, id := range []string{"first", "second", "third"} {
		d := b.deal(id)
		d.Received = noon.Add(time.Duration(n) * time.Minute)
		_, err := b.store.AddDeal(b.ctx, d, "1")
		require.NoError(b, err)
		_, err = b.store.RefuseDeal(b.ctx, id, "late")
		require.NoError(b, err)
		require.NoError(b, b.store.CloseDeal(b.ctx, id))
	}
	for from, want := range map[int][]string{0: {"third", "second"}, 2: {"first"}, 4: nil} {
		deals, all, err := b.store.RefusedDeals(b.ctx, from, 2)
		require.NoError(b, err)
		require.Equal(b, 3, all)
		var ids []string
		for _, d := range deals {
			ids = append(ids, d.ID)
		}
		require.Equal(b, want, ids, "from %d", from)
	}
}

func testReopenedDeals(b *bench) {
	d, err := b.store.AddDeal(b.ctx, b.deal("x"), "1")
	require.NoError(b, err)
	reopen := func() {
		b.Helper()
		d, err = b.store.Deal(b.ctx, "x")
		require.NoError(b, err)
		for range 2 {
			d, err = b.store.ReopenDeal(b.ctx, d)
			require.NoError(b, err)
			require.Equal(b, &sectors.Deal{Deal: b.deal("x"), Digest: "1"}, d)
			require.Equal(b, []string{"x"}, b.openDeals())
			for _, closed := range []func(context.Context, int, int) ([]*sectors.Deal, int, error){b.store.PackedDeals, b.store.RefusedDeals} {
				_, n, err := closed(b.ctx, 0, 10)
				require.NoError(b, err)
				require.Zero(b, n)
			}
		}
	}
	_, err = b.store.RefuseDeal(b.ctx, "x", "late")
	require.NoError(b, err)
	require.NoError(b, b.store.CloseDeal(b.ctx, "x"))
	require.Empty(b, b.openDeals())
	reopen()
	b.create(1)
	ok, err := b.store.AssignDeal(b.ctx, "x", sector(1))
	require.NoError(b, err)
	require.True(b, ok)
	require.NoError(b, b.store.CloseDeal(b.ctx, "x"))
	before, err := b.store.Deal(b.ctx, "x")
	require.NoError(b, err)
	reopen()
	for _, left := range []string{"lpseal:deals:packed", "lpseal:deals:refused"} { // who reopened it was cut off
		require.NoError(b, b.rdb.ZAdd(b.ctx, left, redis.Z{Member: "x"}).Err())
	}
	require.Equal(b, 2, b.sweep().Deals)
	require.Zero(b, b.sweep().Deals)
	reopen()
	ok, err = b.store.AssignDeal(b.ctx, "x", sector(2))
	require.NoError(b, err)
	require.True(b, ok)
	_, err = b.store.ReopenDeal(b.ctx, before)
	require.ErrorIs(b, err, sectors.ErrConflict, "it has another sector by now")
}

// One deal that cannot be parsed hides no other, and stays where it is.
func testUnreadableDeals(b *bench) {
	for _, id := range []string{"good", "bad"} {
		_, err := b.store.AddDeal(b.ctx, b.deal(id), "1")
		require.NoError(b, err)
	}
	require.NoError(b, b.rdb.HSet(b.ctx, "lpseal:{d-bad}", "deal", "{").Err())
	open, err := b.store.OpenDeals(b.ctx)
	unread, err := sectors.Unread(err)
	require.NoError(b, err)
	require.Len(b, open, 1)
	require.Equal(b, []string{"bad"}, unread.Names)
	require.NoError(b, b.rdb.Del(b.ctx, "lpseal:deals").Err())
	m := b.sweep()
	require.Equal(b, [2]int{1, 1}, [2]int{m.Deals, m.Unreadable}, "a sweep goes on")
}

func testPlans(b *bench) {
	none, err := b.store.Plan(b.ctx, sector(7))
	require.NoError(b, err)
	require.Nil(b, none)
	swap := func(from, to jobs.PlanState, deals ...string) jobs.PlanState {
		p, err := b.store.SwapPlan(b.ctx, sector(7), from, jobs.Plan{State: to, Deals: deals, At: noon})
		require.NoError(b, err)
		return p.State
	}
	require.Equal(b, jobs.Planned, swap("", jobs.Planned, "x", "y"))
	require.Equal(b, jobs.Planned, swap("", jobs.GivenUp), "there is one")
	require.Equal(b, jobs.Closed, swap(jobs.Planned, jobs.Closed, "x"))
	require.Equal(b, jobs.Closed, swap(jobs.Planned, jobs.GivenUp), "the first end stands")
	p, err := b.store.Plan(b.ctx, sector(7))
	require.NoError(b, err)
	require.Equal(b, &jobs.Plan{State: jobs.Closed, Deals: []string{"x"}, At: noon}, p)
	all, err := b.store.All(b.ctx, nil)
	require.NoError(b, err)
	require.Empty(b, all, "a plan is no record")
}
