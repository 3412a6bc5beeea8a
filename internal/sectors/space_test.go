package sectors_test

import (
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func testSpace(b *bench) {
	reserve := func(number int, bytes uint64) error {
		return b.store.Reserve(b.ctx, "p1", sector(number), bytes, 100)
	}
	require.NoError(b, reserve(1, 60))
	require.NoError(b, reserve(1, 60), "for the same sector it changes nothing")
	err := reserve(2, 41)
	require.ErrorIs(b, err, sectors.ErrNoSpace)
	require.ErrorContains(b, err, "needs 41 B, and 60 B of 100 B are promised")
	require.NoError(b, reserve(2, 40), "to the last byte")
	require.NoError(b, b.store.Reserve(b.ctx, "p1", sector(1), 60, 10), "a promise outlives a capacity that shrank")
	require.NoError(b, b.store.Reserve(b.ctx, "p2", sector(2), 90, 100), "paths are counted apart")
	got, err := b.store.Reservations(b.ctx, "p1")
	require.NoError(b, err)
	require.Equal(b, map[jobs.SectorID]uint64{sector(1): 60, sector(2): 40}, got)

	require.NoError(b, b.rdb.HSet(b.ctx, "lpseal:{path-p1}", "nobody", "a lot").Err())
	require.ErrorIs(b, reserve(4, 1), sectors.ErrNoSpace, "what is no promise stops nobody")
	got, err = b.store.Reservations(b.ctx, "p1")
	unread, err := sectors.Unread(err)
	require.NoError(b, err)
	require.Equal(b, []string{"nobody"}, unread.Names)
	require.Len(b, got, 2)

	require.NoError(b, b.store.Release(b.ctx, "p1", sector(1)))
	require.NoError(b, b.store.Release(b.ctx, "p1", sector(1)))
	require.NoError(b, reserve(3, 60))
	const tebi = 1 << 40
	require.NoError(b, b.store.Reserve(b.ctx, "p3", sector(1), 500*tebi, 1000*tebi))
	require.ErrorIs(b, b.store.Reserve(b.ctx, "p3", sector(2), 500*tebi+1, 1000*tebi), sectors.ErrNoSpace, "exact at any size")
	require.NoError(b, b.store.Reserve(b.ctx, "p3", sector(2), 500*tebi, 1000*tebi))
}

func testSweepSpace(b *bench) {
	const capacity = 1000
	cases := []struct {
		name   string
		events []jobs.Event
		kept   bool
	}{
		{"is being placed", nil, true},
		{"is at home here", []jobs.Event{jobs.Placed{Path: "p1"}}, true},
		{"is held here", []jobs.Event{jobs.Placed{Path: "p1"}, jobs.Held{Hold: jobs.Hold{Reason: "look"}}}, true},
		{"has another home", []jobs.Event{jobs.Placed{Path: "p2"}}, false},
		{"is finished", []jobs.Event{jobs.Placed{Path: "p1"}, jobs.Finished{Outcome: jobs.Proven}}, false},
		{"is finalized", append([]jobs.Event{jobs.Placed{Path: "p1"}}, runs(jobs.Finalize)...), false},
		{"is abandoned", append([]jobs.Event{jobs.Placed{Path: "p1"}, jobs.AbandonOrdered{Why: "dead"}}, runs(jobs.RecoverAbandon)...), false},
	}
	want := map[jobs.SectorID]uint64{}
	for i, c := range cases {
		id := b.create(i).ID
		for _, e := range c.events {
			if claimed, ok := e.(jobs.Claimed); ok { // of this sector
				claimed.Task = b.load(id).Task(claimed.Task.Stage)
				e = claimed
			}
			if completed, ok := e.(jobs.Completed); ok {
				completed.Task = b.load(id).Task(completed.Task.Stage)
				e = completed
			}
			b.apply(id, e)
		}
		require.NoError(b, b.store.Reserve(b.ctx, "p1", id, 10, capacity))
		if c.kept {
			want[id] = 10
		}
	}
	absent, unreadable := sector(100), b.create(101).ID
	require.NoError(b, b.store.Reserve(b.ctx, "p1", absent, 10, capacity))
	require.NoError(b, b.store.Reserve(b.ctx, "p1", unreadable, 10, capacity))
	require.NoError(b, b.rdb.HSet(b.ctx, key(unreadable), "colour", "red").Err())
	want[unreadable] = 10

	dropped, err := b.store.SweepSpace(b.ctx)
	require.NoError(b, err)
	require.Equal(b, 5, dropped)
	got, err := b.store.Reservations(b.ctx, "p1")
	require.NoError(b, err)
	require.Equal(b, want, got)
}

// runs are the events of a stage that goes well.
func runs(s jobs.Stage) []jobs.Event {
	task := jobs.TaskRef{Stage: s}
	return []jobs.Event{
		jobs.Scheduled{Stage: s, Queue: jobs.Queue{Class: jobs.ClassIO, Host: "h1"}},
		jobs.Claimed{Task: task, Worker: "h1/io@r"},
		jobs.Completed{Task: task, Claim: 1},
	}
}
