package sectors_test

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func worker(host, instance, run string) jobs.Worker {
	return jobs.Worker{Host: host, Instance: instance, Run: run, Boot: "boot-" + host}
}

func testJoin(b *bench) {
	const ttl = time.Minute
	gpu := func(w jobs.Worker, device string) jobs.Worker {
		w.Lanes = append(w.Lanes, jobs.Lane{Class: jobs.ClassGPU, GPU: "a", Device: device, Width: 1})
		return w
	}
	path := func(w jobs.Worker, id string, seal bool) jobs.Worker {
		w.Paths = append(w.Paths, jobs.Path{ID: id, CanSeal: seal, CanStore: true})
		return w
	}
	first := path(gpu(worker("h1", "a", "run1"), "0"), "p1", true)
	first.PID = 77
	require.NoError(b, b.store.Join(b.ctx, first, ttl))
	require.NoError(b, b.store.Join(b.ctx, first, ttl), "the same process may join twice")
	require.NoError(b, b.store.Beat(b.ctx, first, ttl))

	err := b.store.Join(b.ctx, worker("h1", "a", "run2"), ttl)
	instance := &sectors.InstanceTakenError{}
	require.ErrorAs(b, err, &instance)
	require.Equal(b, first, instance.Other)
	require.ErrorContains(b, err, "h1/a is running already (pid 77, boot boot-h1)")

	device := &sectors.DeviceTakenError{}
	require.ErrorAs(b, b.store.Join(b.ctx, gpu(worker("h1", "b", "r"), "1,0"), ttl), &device)
	require.Equal(b, sectors.DeviceTakenError{Host: "h1", Device: "0", Other: "h1/a@run1"}, *device)
	require.ErrorAs(b, b.store.Join(b.ctx, gpu(gpu(worker("h1", "b", "r"), "1"), "1"), ttl), &device, "in one worker too")
	require.Equal(b, "1", device.Device)
	require.NoError(b, b.store.Join(b.ctx, gpu(worker("h2", "b", "r"), "0"), ttl), "another host's GPU 0 is another")
	for _, instance := range []string{"cpu1", "cpu2"} {
		proving := gpu(gpu(worker("h2", instance, "r"), jobs.NoGPU), jobs.NoGPU)
		require.NoError(b, b.store.Join(b.ctx, proving, ttl), "without a GPU there is none to share")
	}

	taken := &sectors.PathTakenError{}
	require.ErrorAs(b, b.store.Join(b.ctx, path(worker("h3", "a", "r"), "p1", true), ttl), &taken)
	require.Equal(b, sectors.PathTakenError{Path: "p1", Host: "h3", Other: "h1"}, *taken)
	require.NoError(b, b.store.Join(b.ctx, path(worker("h3", "a", "r"), "p1", false), ttl), "a storage path may be shared")
	require.NoError(b, b.store.Join(b.ctx, path(gpu(worker("h1", "b", "r"), "1"), "p1", true), ttl), "workers of one host share it too")

	twin := worker("h1", "c", "r")
	twin.Boot = "another machine"
	host := &sectors.HostTakenError{}
	require.ErrorAs(b, b.store.Join(b.ctx, twin, ttl), &host)
	require.Equal(b, sectors.HostTakenError{Host: "h1", Boot: "boot-h1"}, *host)

	// A killed process's place may be freed by who knows that it is dead, and then
	// the dead one's heartbeat is refused if it was not.
	require.NoError(b, b.store.Leave(b.ctx, instance.Other))
	next := path(gpu(worker("h1", "a", "run2"), "0"), "p1", true)
	require.NoError(b, b.store.Join(b.ctx, next, ttl))
	require.ErrorAs(b, b.store.Beat(b.ctx, first, ttl), &instance)
	require.NoError(b, b.store.Leave(b.ctx, first), "which takes nothing from the new one")
	require.ErrorAs(b, b.store.Join(b.ctx, worker("h1", "a", "run3"), ttl), &instance)
	require.ErrorAs(b, b.store.Join(b.ctx, gpu(worker("h1", "d", "r"), "0"), ttl), &device)
}

func testWorkers(b *bench) {
	none, err := b.store.Workers(b.ctx)
	require.NoError(b, err)
	require.Empty(b, none)

	a := worker("h1", "a", "r")
	a.Paths = []jobs.Path{{ID: "p1", CanSeal: true, Capacity: 100, Free: 90}, {ID: "s1"}}
	a.Lanes = []jobs.Lane{{Class: jobs.ClassCPU, Width: 2}}
	c := worker("h2", "c", "r")
	require.NoError(b, b.store.Join(b.ctx, c, time.Minute))
	require.NoError(b, b.store.Join(b.ctx, a, time.Minute))
	require.NoError(b, b.store.Reserve(b.ctx, "p1", sector(1), 30, 100))
	require.NoError(b, b.store.Reserve(b.ctx, "p1", sector(2), 12, 100))
	require.NoError(b, b.store.SetDraining(b.ctx, "h2/c", true))
	on, err := b.store.Draining(b.ctx, "h2/c")
	require.NoError(b, err)
	require.True(b, on)

	live, err := b.store.Workers(b.ctx)
	require.NoError(b, err)
	want := a
	want.Paths = []jobs.Path{{ID: "p1", CanSeal: true, Capacity: 100, Free: 90, Reserved: 42}, {ID: "s1"}}
	drained := c
	drained.Draining = true
	require.Equal(b, []jobs.Worker{want, drained}, live)

	require.NoError(b, b.store.SetDraining(b.ctx, "h2/c", false))
	c.Lanes = []jobs.Lane{{Class: jobs.ClassSDR, Width: 1, Busy: 1}}
	require.NoError(b, b.store.Beat(b.ctx, c, time.Minute))
	live, err = b.store.Workers(b.ctx)
	require.NoError(b, err)
	require.Equal(b, []jobs.Worker{want, c}, live)

	// Only a heartbeat keeps a worker alive.
	require.NoError(b, b.store.Beat(b.ctx, c, 50*time.Millisecond))
	require.Eventually(b, func() bool {
		if b.redis.Mini != nil {
			b.redis.Mini.FastForward(50 * time.Millisecond)
		}
		live, err := b.store.Workers(b.ctx)
		require.NoError(b, err)
		return len(live) == 1
	}, 10*time.Second, 10*time.Millisecond)
	names, err := b.rdb.SMembers(b.ctx, "lpseal:{workers}").Result()
	require.NoError(b, err)
	require.Equal(b, []string{"h1/a"}, names, "the dead are forgotten")

	require.NoError(b, b.store.Leave(b.ctx, a))
	live, err = b.store.Workers(b.ctx)
	require.NoError(b, err)
	require.Empty(b, live)
}

func testTakePoll(b *bench) {
	take := func(bucket string) bool {
		ok, err := b.store.TakePoll(b.ctx, bucket, time.Minute)
		require.NoError(b, err)
		return ok
	}
	require.True(b, take("17"))
	require.False(b, take("17"))
	require.True(b, take("18"))
	ttl, err := b.rdb.PTTL(b.ctx, "lpseal:poll:17").Result()
	require.NoError(b, err)
	require.Positive(b, ttl)
}
