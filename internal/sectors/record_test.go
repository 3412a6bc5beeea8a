package sectors_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func testCreate(b *bench) {
	r := b.create(1)
	require.Equal(b, r, b.load(r.ID))
	err := b.store.Create(b.ctx, r, "test")
	require.ErrorIs(b, err, sectors.ErrExists)
	require.ErrorContains(b, err, "s-t01000-1")

	second := record(sector(2))
	second.Version = 2
	require.ErrorContains(b, b.store.Create(b.ctx, second, "test"), "version is 2")
	_, err = b.store.Load(b.ctx, second.ID)
	require.ErrorIs(b, err, sectors.ErrNotFound)

	version, err := b.rdb.HGet(b.ctx, key(r.ID), "version").Result()
	require.NoError(b, err, "readable in redis-cli")
	require.Equal(b, "1", version)
}

func testWrite(b *bench) {
	r := b.create(1)
	e := jobs.Placed{Path: "p1"}
	next, err := jobs.Apply(r, e, noon)
	require.NoError(b, err)
	require.NoError(b, b.rdb.HSet(b.ctx, key(r.ID), "created", "2026-01-02T13:00:00Z").Err())
	require.NoError(b, b.store.Write(b.ctx, r, next, e, "test"))
	stored := b.load(r.ID)
	require.Equal(b, "p1", stored.Home)
	require.Equal(b, int64(2), stored.Version)
	require.Equal(b, 13, stored.Created.Hour(), "a field that the event did not change is not written")

	require.ErrorIs(b, b.store.Write(b.ctx, r, next, e, "another"), sectors.ErrConflict)
	require.ErrorContains(b, b.store.Write(b.ctx, r, r, e, "test"), "cannot follow")
	absent := record(sector(9))
	next, err = jobs.Apply(absent, e, noon)
	require.NoError(b, err)
	require.ErrorIs(b, b.store.Write(b.ctx, absent, next, e, "test"), sectors.ErrNotFound)

	held := b.apply(r.ID, jobs.Held{Hold: jobs.Hold{Reason: "look"}})
	require.NotNil(b, held.Hold)
	b.apply(r.ID, jobs.Released{})
	require.Nil(b, b.load(r.ID).Hold, "a field that became empty is deleted")
	exists, err := b.rdb.HExists(b.ctx, key(r.ID), "hold").Result()
	require.NoError(b, err)
	require.False(b, exists)
}

func testApply(b *bench) {
	r := b.create(1)
	b.apply(r.ID, jobs.Placed{Path: "p1"})
	_, err := b.store.Apply(b.ctx, r.ID, jobs.Placed{Path: "p2"}, "test", noon)
	require.ErrorIs(b, err, jobs.ErrRefused)

	queued := b.apply(r.ID, scheduled)
	task := queued.Task(jobs.TreeD)
	claimed := b.apply(r.ID, jobs.Claimed{Task: task, Worker: "h1/cpu@r"})
	claim := claimed.Stage(jobs.TreeD).Claim
	stale := task
	stale.Delivery = 7
	_, err = b.store.Apply(b.ctx, r.ID, jobs.Claimed{Task: stale, Worker: "h1/cpu@r"}, "test", noon)
	require.ErrorIs(b, err, jobs.ErrStale)

	completed := jobs.Completed{Task: task, Claim: claim}
	first := b.apply(r.ID, completed)
	again := b.apply(r.ID, completed)
	require.Equal(b, first, again, "a repeated completion is accepted")
	require.Equal(b, first.Version, b.load(r.ID).Version, "and not written again")

	_, err = b.store.Apply(b.ctx, sector(9), completed, "test", noon)
	require.ErrorIs(b, err, sectors.ErrNotFound)
}

func testApplyRace(b *bench) {
	r := b.create(1)
	const writers = 6
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for range writers {
		wg.Go(func() {
			_, err := b.store.Apply(b.ctx, r.ID, jobs.Held{Hold: jobs.Hold{Reason: "race", Since: noon}}, "test", noon)
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		require.NoError(b, *err)
	}
	require.Equal(b, int64(1+writers), b.load(r.ID).Version)
}

func testLog(b *bench) {
	r := b.create(1)
	b.apply(r.ID, jobs.Placed{Path: "p1"})
	b.apply(r.ID, scheduled)
	lines, err := b.store.Log(b.ctx, r.ID, 0)
	require.NoError(b, err)
	require.Len(b, lines, 3)
	require.Equal(b, "added: committed capacity", lines[0].Text)
	require.Equal(b, "placed on path p1", lines[1].Text)
	require.Equal(b, "test", lines[2].By)
	require.Equal(b, int64(3), lines[2].Version)
	require.WithinDuration(b, time.Now(), lines[2].At, time.Minute)

	last, err := b.store.Log(b.ctx, r.ID, 1)
	require.NoError(b, err)
	require.Equal(b, lines[2:], last)
}

func testLogCap(b *bench) {
	r := b.create(1)
	const lines = 1250
	_, err := b.rdb.Pipelined(b.ctx, func(pipe redis.Pipeliner) error {
		for range lines {
			pipe.XAdd(b.ctx, &redis.XAddArgs{Stream: key(r.ID) + ":log", Values: []any{"text", "before", "version", 1}})
		}
		return nil
	})
	require.NoError(b, err)
	b.apply(r.ID, jobs.Placed{Path: "p1"})
	kept, err := b.store.Log(b.ctx, r.ID, 0)
	require.NoError(b, err)
	require.Less(b, len(kept), lines)
	require.GreaterOrEqual(b, len(kept), 1000)
	require.Equal(b, "placed on path p1", kept[len(kept)-1].Text)
}

func testLoadMany(b *bench) {
	const many = 700 // more than one pipeline
	ids := make([]jobs.SectorID, many)
	for i := range ids {
		ids[i] = sector(i)
		if i%2 == 0 {
			b.create(i)
		}
	}
	records, err := b.store.LoadMany(b.ctx, ids)
	require.NoError(b, err)
	require.Len(b, records, many)
	for i, r := range records {
		if i%2 == 1 {
			require.Nil(b, r)
			continue
		}
		require.Equal(b, ids[i], r.ID)
	}

	require.NoError(b, b.rdb.HSet(b.ctx, key(ids[4]), "colour", "red").Err())
	records, err = b.store.LoadMany(b.ctx, ids[:8])
	unreadable := &sectors.UnreadableError{}
	require.ErrorAs(b, err, &unreadable)
	require.Equal(b, []jobs.SectorID{ids[4]}, unreadable.IDs)
	require.ErrorContains(b, err, "colour")
	require.Nil(b, records[4])
	require.NotNil(b, records[6], "one bad record does not hide the others")

	none, err := b.store.LoadMany(b.ctx, nil)
	require.NoError(b, err)
	require.Empty(b, none)
}

func testAll(b *bench) {
	var want []jobs.SectorID
	for _, number := range []int{3, 10, 200} {
		want = append(want, b.create(number).ID)
	}
	other := record(jobs.SectorID{Miner: 10001, Number: 3})
	require.NoError(b, b.store.Create(b.ctx, other, "test"))
	require.NoError(b, b.store.SetProgress(b.ctx, want[0], jobs.SDR, jobs.Progress{}))

	all, err := b.store.All(b.ctx, nil)
	require.NoError(b, err)
	require.Equal(b, append(want, other.ID), all)
	one := miner
	mine, err := b.store.All(b.ctx, &one)
	require.NoError(b, err)
	require.Equal(b, want, mine)
	nobody := abi.ActorID(100) // a prefix of the others
	none, err := b.store.All(b.ctx, &nobody)
	require.NoError(b, err)
	require.Empty(b, none)
}

func testProgress(b *bench) {
	r := b.create(1)
	p := jobs.Progress{Step: "layer 3/11", Done: 3, Total: 11}
	require.NoError(b, b.store.SetProgress(b.ctx, r.ID, jobs.SDR, p))
	require.NoError(b, b.store.SetProgress(b.ctx, r.ID, jobs.TreeD, jobs.Progress{Step: "pieces"}))
	all, err := b.store.Progress(b.ctx, []jobs.SectorID{r.ID, sector(2)})
	require.NoError(b, err)
	require.Equal(b, map[jobs.SectorID]map[jobs.Stage]jobs.Progress{
		r.ID: {jobs.SDR: p, jobs.TreeD: {Step: "pieces"}},
	}, all)
	require.Equal(b, r, b.load(r.ID), "the record is not touched")

	ttl, err := b.rdb.PTTL(b.ctx, key(r.ID)+":progress:sdr").Result()
	require.NoError(b, err)
	require.Positive(b, ttl)
	require.LessOrEqual(b, ttl, sectors.ProgressTTL)
}

// testDamage: keys of another type must not be taken for empty ones.
func testDamage(b *bench) {
	id := sector(1)
	require.NoError(b, b.rdb.Set(b.ctx, key(id), "text", 0).Err())
	_, err := b.store.Load(b.ctx, id)
	require.ErrorContains(b, err, "WRONGTYPE")
	err = b.store.Create(b.ctx, record(id), "test")
	require.ErrorContains(b, err, "WRONGTYPE")
	require.NotErrorIs(b, err, sectors.ErrUnknown, "an answer of the server is certain")

	ended, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err = b.store.Load(ended, id)
	require.True(b, errors.Is(err, context.Canceled), err)
}
