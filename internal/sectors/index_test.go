package sectors_test

import (
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func testIndexes(b *bench) {
	a, c := b.create(1).ID, b.create(2).ID
	require.ElementsMatch(b, []jobs.SectorID{a, c}, b.due(), "a new sector is due at once")

	require.NoError(b, b.store.SetDue(b.ctx, a, noon.Add(time.Millisecond)))
	require.Equal(b, []jobs.SectorID{c}, b.due())
	require.NoError(b, b.store.SetDue(b.ctx, a, noon))
	require.NoError(b, b.store.SetDue(b.ctx, c, noon.Add(-time.Second)))
	require.Equal(b, []jobs.SectorID{c, a}, b.due(), "the longest overdue first")
	first, err := b.store.Due(b.ctx, noon, 1)
	require.NoError(b, err)
	require.Equal(b, []jobs.SectorID{c}, first)

	require.NoError(b, b.store.SetDue(b.ctx, a, noon.Add(sectors.Horizon)))
	require.Equal(b, []jobs.SectorID{c}, b.due())
	require.NoError(b, b.store.SetDue(b.ctx, a, noon.Add(sectors.Horizon+time.Millisecond)))
	require.Equal(b, []jobs.SectorID{c, a}, b.due(), "a clock that was wrong put it off")
	first, err = b.store.Due(b.ctx, noon, 1)
	require.NoError(b, err)
	require.Equal(b, []jobs.SectorID{c}, first)

	require.NoError(b, b.store.SetDue(b.ctx, a, noon.Add(time.Hour)))
	b.apply(a, jobs.Placed{Path: "p1"})
	require.Contains(b, b.due(), a, "what changed is looked at")

	b.apply(a, jobs.Held{Hold: jobs.Hold{Reason: "look", Since: noon}})
	b.apply(c, jobs.Held{Hold: jobs.Hold{Reason: "look", Since: noon.Add(-time.Hour)}})
	require.Equal(b, []jobs.SectorID{c, a}, b.held(), "the longest held first")
	b.apply(a, jobs.Released{})
	require.Equal(b, []jobs.SectorID{c}, b.held())

	b.apply(c, jobs.Finished{Outcome: jobs.Removed})
	b.apply(a, jobs.Finished{Outcome: jobs.Committed})
	require.Empty(b, b.due())
	require.Empty(b, b.held(), "a finished sector is not held, whatever its record says")
	require.Equal(b, []jobs.SectorID{c, a}, b.done(), "the highest number first")
	page, err := b.store.Done(b.ctx, miner, 1, 1)
	require.NoError(b, err)
	require.Equal(b, []jobs.SectorID{a}, page)

	require.NoError(b, b.store.SetDue(b.ctx, a, noon))
	require.Empty(b, b.due(), "nobody makes a finished sector due")
	require.Zero(b, b.sweep().Due)
}

func testSweep(b *bench) {
	open, held, finished := b.create(1).ID, b.create(2).ID, b.create(3).ID
	b.apply(open, jobs.Placed{Path: "p1"})
	b.apply(held, jobs.Held{Hold: jobs.Hold{Reason: "look", Since: noon}})
	b.apply(finished, jobs.Finished{Outcome: jobs.Proven})
	b.sweep() // makes the reservation of the placed one
	require.Equal(b, sectors.Mended{Looked: 3}, b.sweep(), "nothing to mend")

	zadd := func(key string, id jobs.SectorID) {
		require.NoError(b, b.rdb.ZAdd(b.ctx, key, redis.Z{Member: id.String()}).Err())
	}
	for _, index := range []string{"lpseal:due", "lpseal:held", "lpseal:done:t01000"} {
		require.NoError(b, b.rdb.Del(b.ctx, index).Err())
	}
	require.NoError(b, b.store.Release(b.ctx, "p1", open))
	require.Equal(b, sectors.Mended{Looked: 3, Due: 2, Held: 1, Done: 1, Space: 1}, b.sweep(), "what is missing")
	require.ElementsMatch(b, []jobs.SectorID{open, held}, b.due())
	require.Equal(b, []jobs.SectorID{held}, b.held())
	require.Equal(b, []jobs.SectorID{finished}, b.done())
	space, err := b.store.Reservations(b.ctx, "p1")
	require.NoError(b, err)
	require.Equal(b, map[jobs.SectorID]uint64{open: jobs.SealingSpace(abi.RegisteredSealProof_StackedDrg2KiBV1_1)}, space)

	zadd("lpseal:due", finished)
	zadd("lpseal:due", sector(99)) // a crash before its creation
	require.NoError(b, b.rdb.ZAdd(b.ctx, "lpseal:due", redis.Z{Member: "rubbish"}).Err())
	zadd("lpseal:held", open)
	zadd("lpseal:held", finished)
	zadd("lpseal:done:t01000", open)
	require.Equal(b, sectors.Mended{Looked: 3, Due: 3, Held: 2, Done: 1}, b.sweep(), "what is too much")
	require.ElementsMatch(b, []jobs.SectorID{open, held}, b.due())
	require.Equal(b, []jobs.SectorID{held}, b.held())
	require.Equal(b, []jobs.SectorID{finished}, b.done())

	require.NoError(b, b.rdb.HSet(b.ctx, key(open), "hold", "{").Err())
	require.Equal(b, 1, b.sweep().Unreadable, "an unreadable record does not stop the sweep")
}

func testSweepSteps(b *bench) {
	const many = 300
	for i := range many {
		b.create(i)
	}
	looked, most := 0, 0
	for cursor := ""; ; {
		next, m, err := b.store.Sweep(b.ctx, cursor, 10)
		require.NoError(b, err)
		looked += m.Looked
		most = max(most, m.Looked)
		if cursor = next; cursor == "" {
			break
		}
	}
	require.GreaterOrEqual(b, looked, many)
	if b.redis.Mini == nil { // which scans all keys in one step
		require.LessOrEqual(b, most, 100)
	}
	_, _, err := b.store.Sweep(b.ctx, "x/y", 10)
	require.ErrorContains(b, err, `sweep at "x/y"`)
}

func testAnyOpen(b *bench) {
	a, c := b.create(1).ID, b.create(2).ID
	require.NoError(b, b.store.SetDue(b.ctx, c, noon.Add(1000*time.Hour)), "however late it is due")
	open := func(but jobs.SectorID, want jobs.SectorID) bool {
		found, err := b.store.AnyOpen(b.ctx, but, func(r *jobs.Record) bool { return r.ID == want })
		require.NoError(b, err)
		return found
	}
	require.True(b, open(a, c))
	require.False(b, open(c, c), "other than this one")
	b.apply(c, jobs.Finished{Outcome: jobs.Committed})
	require.False(b, open(a, c), "it has left the pipeline")

	newer := b.create(3).ID
	require.NoError(b, b.rdb.HSet(b.ctx, key(newer), "colour", "red").Err())
	absent := sector(4)
	ended, err := b.store.Ended(b.ctx, []jobs.SectorID{a, c, newer, absent})
	require.NoError(b, err)
	require.Equal(b, map[jobs.SectorID]bool{a: false, c: true, newer: false, absent: true}, ended)
}
