package sectors_test

import (
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

var group = jobs.Group{Stage: jobs.PreCommit, Miner: miner, Proof: abi.RegisteredSealProof_StackedDrg2KiBV1_1}

// planned makes a planned batch of two sectors.
func planned(name string, created time.Time) *jobs.Batch {
	return &jobs.Batch{
		ID: jobs.NewBatchID(created, name), Version: 1, Created: created, Since: created, Group: group, Cause: jobs.BatchFull, State: jobs.BatchPlanned,
		Members: []jobs.TaskRef{
			{ID: jobs.SectorID{Miner: miner, Number: 1}, Stage: jobs.PreCommit, Fence: 1, Attempt: 1, Delivery: 1},
			{ID: jobs.SectorID{Miner: miner, Number: 2}, Stage: jobs.PreCommit, Fence: 1, Attempt: 1, Delivery: 1},
		},
	}
}

func (b *bench) open() (names []string) {
	b.Helper()
	open, err := b.store.OpenBatches(b.ctx, noon)
	require.NoError(b, err)
	for _, batch := range open {
		names = append(names, batch.ID)
	}
	return names
}

func testBatches(b *bench) {
	batch := planned("aaaaaa", noon)
	require.NoError(b, b.store.CreateBatch(b.ctx, batch, "test"))
	require.ErrorIs(b, b.store.CreateBatch(b.ctx, batch, "test"), sectors.ErrExists)
	back, err := b.store.Batch(b.ctx, batch.ID)
	require.NoError(b, err)
	require.Equal(b, batch, back)
	_, err = b.store.Batch(b.ctx, jobs.NewBatchID(noon, "nobody"))
	require.ErrorIs(b, err, sectors.ErrNoBatch)
	require.Equal(b, []string{batch.ID}, b.open())

	closed, err := b.store.ApplyBatch(b.ctx, batch, jobs.MembersAccepted{Members: batch.Members[:1]}, "test", noon)
	require.NoError(b, err)
	_, err = b.store.ApplyBatch(b.ctx, batch, jobs.BatchDropped{Why: "late"}, "test", noon)
	require.ErrorIs(b, err, sectors.ErrConflict, "of two who saw it planned one is too late")
	running, err := b.store.ApplyBatch(b.ctx, closed, jobs.BatchClaimed{Task: closed.Task(), Worker: "h1/s@r"}, "test", noon)
	require.NoError(b, err)
	_, err = b.store.ApplyBatch(b.ctx, running, jobs.BatchDropped{Why: "late"}, "test", noon)
	require.ErrorIs(b, err, jobs.ErrStale)
	done, err := b.store.ApplyBatch(b.ctx, running, jobs.BatchEnded{Claim: running.Claim, Note: "sent"}, "test", noon)
	require.NoError(b, err)
	require.Empty(b, b.open())
	ended, err := b.store.EndedBatches(b.ctx, 10)
	require.NoError(b, err)
	require.Equal(b, []*jobs.Batch{done}, ended)
	ttl, err := b.rdb.TTL(b.ctx, "lpseal:{"+batch.ID+"}").Result()
	require.NoError(b, err)
	require.Positive(b, ttl, "it does not stay for ever")
}

func testBatchIndex(b *bench) {
	batch := planned("aaaaaa", noon)
	require.NoError(b, b.store.CreateBatch(b.ctx, batch, "test"))
	// The index was lost; a sweep finds the batch by its key.
	require.NoError(b, b.rdb.Del(b.ctx, "lpseal:batches").Err())
	require.Empty(b, b.open())
	require.Equal(b, 1, b.sweep().Batch)
	require.Equal(b, []string{batch.ID}, b.open())
	require.Zero(b, b.sweep().Batch)
	// A creation was cut off after the index: an old entry goes, a young one may be
	// about to be written.
	young, old := planned("bbbbbb", noon), planned("cccccc", noon.Add(-jobs.PlanPatience))
	for _, x := range []*jobs.Batch{young, old} {
		require.NoError(b, b.store.CreateBatch(b.ctx, x, "test"))
		require.NoError(b, b.rdb.Del(b.ctx, "lpseal:{"+x.ID+"}").Err())
	}
	require.Equal(b, []string{batch.ID}, b.open())
	left, err := b.rdb.ZRange(b.ctx, "lpseal:batches", 0, -1).Result()
	require.NoError(b, err)
	require.ElementsMatch(b, []string{batch.ID, young.ID}, left)
	// An ending was cut off before the index: it is done again.
	dropped, err := b.store.ApplyBatch(b.ctx, batch, jobs.BatchDropped{Why: "test"}, "test", noon)
	require.NoError(b, err)
	require.NoError(b, b.rdb.ZAdd(b.ctx, "lpseal:batches", zero(batch.ID)).Err())
	require.NoError(b, b.rdb.Del(b.ctx, "lpseal:batches:ended").Err())
	require.Empty(b, b.open())
	ended, err := b.store.EndedBatches(b.ctx, 10)
	require.NoError(b, err)
	require.Equal(b, []*jobs.Batch{dropped}, ended)
}

// One batch that cannot be parsed hides no other, and stays where it is.
func testUnreadableBatches(b *bench) {
	good, bad := planned("aaaaaa", noon.Add(-time.Hour)), planned("bbbbbb", noon.Add(-time.Hour))
	for _, x := range []*jobs.Batch{good, bad} {
		require.NoError(b, b.store.CreateBatch(b.ctx, x, "test"))
	}
	require.NoError(b, b.rdb.HSet(b.ctx, "lpseal:{"+bad.ID+"}", "colour", "red").Err())
	for range 2 {
		open, err := b.store.OpenBatches(b.ctx, noon)
		unread, err := sectors.Unread(err)
		require.NoError(b, err)
		require.Equal(b, []*jobs.Batch{good}, open)
		require.Equal(b, []string{bad.ID}, unread.Names)
	}
	_, err := b.store.Batch(b.ctx, bad.ID)
	require.ErrorContains(b, err, "colour")
	require.NoError(b, b.rdb.Del(b.ctx, "lpseal:batches").Err())
	m := b.sweep()
	require.Equal(b, [2]int{1, 1}, [2]int{m.Batch, m.Unreadable}, "a sweep goes on")
}

func testWaiting(b *bench) {
	one, two := jobs.SectorID{Miner: miner, Number: 1}, jobs.SectorID{Miner: miner, Number: 2}
	other := group
	other.Stage = jobs.Commit
	for _, c := range []struct {
		group  jobs.Group
		id     jobs.SectorID
		at     time.Time
		joined bool
	}{
		{group, one, noon.Add(time.Hour), true}, {group, two, noon.Add(time.Minute), true},
		{group, one, noon.Add(time.Second), false}, {other, one, noon, true},
	} {
		joined, err := b.store.Wait(b.ctx, c.group, c.id, c.at)
		require.NoError(b, err)
		require.Equal(b, c.joined, joined)
	}
	waiting, err := b.store.Waiting(b.ctx, group)
	require.NoError(b, err)
	require.Equal(b, []jobs.SectorID{one, two}, waiting, "the most urgent first")
	pending, err := b.store.Pending(b.ctx)
	require.NoError(b, err)
	require.Len(b, pending, 2)
	require.Equal(b, sectors.Pending{Group: group, Sectors: 2, First: noon.Add(time.Second).Local()}, pending[1])
	require.NoError(b, b.store.Unwait(b.ctx, group, one, two))
	require.NoError(b, b.store.Unwait(b.ctx, group))
	pending, err = b.store.Pending(b.ctx)
	require.NoError(b, err)
	require.Len(b, pending, 1)
}

func zero(name string) redis.Z { return redis.Z{Member: name} }
