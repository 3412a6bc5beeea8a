package cli

import (
	"io"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/jobs"
)

// TestDoctorSeesQueuesWithoutWorkers: work that nobody will ever take looks like work that
// waits its turn, to everybody but the doctor.
func TestDoctorSeesQueuesWithoutWorkers(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t)
	l, err := configs.Load(configs.Source{Alone: true, Flags: map[string]string{"redis.url": "redis://" + redis.Addr(), "host.id": "h1"}})
	require.NoError(t, err)
	c, err := (&app{err: io.Discard}).joinAs(t.Context(), &l.Config)
	require.NoError(t, err)
	t.Cleanup(c.close)
	task := jobs.TaskRef{ID: jobs.SectorID{Miner: 1000, Number: 1}, Stage: jobs.SDR, Fence: 1, Attempt: 1, Delivery: 1}
	require.NoError(t, c.queues.Enqueue(t.Context(), jobs.Queue{Class: jobs.ClassSDR, Host: "h1"}, task))
	look := func(lanes ...jobs.Lane) []finding {
		w := jobs.Worker{Host: "h1", Instance: "main", Run: "r", Lanes: lanes}
		require.NoError(t, c.store.Join(t.Context(), w, time.Minute))
		defer func() { require.NoError(t, c.store.Leave(t.Context(), w)) }()
		d := &doctor{cluster: c}
		d.servers(t.Context())
		return d.Findings
	}
	stranded := finding{"workers", failed, "queue sdr.h1 has 1 tasks and no live worker", "lpseal machines list; start or resume the worker that has this lane"}
	all := []jobs.Lane{{Class: jobs.ClassCPU}, {Class: jobs.ClassGPU, GPU: "a"}, {Class: jobs.ClassIO}, {Class: jobs.ClassChain}}

	found := look(all...)
	require.Contains(t, found, stranded)
	require.Contains(t, found, finding{"workers", warned, "no live worker has a fit sdr lane", "add a lane to worker.lanes of a host and start its worker"})

	found = look(append(all, jobs.Lane{Class: jobs.ClassSDR, Unfit: "two faults"})...)
	require.Contains(t, found, stranded)
	require.Contains(t, found, finding{"workers", failed, "lane sdr of h1/main took itself out: two faults", "mend it; the lane tries again by itself"})

	require.Equal(t, []finding{{"workers", fine, "1 are live, with lanes of every class", ""}}, look(append(all, jobs.Lane{Class: jobs.ClassSDR})...))
}
