package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/web"
	"github.com/lpseal/lpseal/jobs"
)

func TestMetricsTellOfTheFleet(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	f.deal("refused", 1000, time.Hour)
	f.refuse("refused", "late")
	require.NoError(t, f.store.SetDraining(f.ctx, "h2/main", true))
	ours := prometheus.NewCounter(prometheus.CounterOpts{Name: "lpseal_something_total", Help: "Of the caller's."})
	v := f.serve(func(o *web.Options) { o.Collectors = []prometheus.Collector{ours} })
	got := v.get("/metrics").body
	for _, line := range []string{
		`lpseal_sectors{miner="1000",stage="sdr",state="running"} 6`,
		`lpseal_sectors{miner="1000",stage="sdr",state="queued"} 2`,
		`lpseal_sectors{miner="1000",stage="commit",state="fault"} 1`,
		`lpseal_sectors_open{miner="1000",standing="held"} 2`,
		`lpseal_sectors_open{miner="1000",standing="running"} 13`,
		`lpseal_sectors_finished{miner="1000"} 4`,
		`lpseal_sectors_unreadable 0`,
		`lpseal_unreadable{kind="batch"} 0`,
		`lpseal_deals{state="waiting"} 0`,
		`lpseal_deals{state="refused"} 1`,
		`lpseal_unreadable{kind="deal"} 0`,
		`lpseal_unreadable{kind="message"} 0`,
		`lpseal_lane_busy{class="sdr",gpu="",host="h1",instance="main"} 3`,
		`lpseal_lane_lockstep{class="sdr",gpu="",host="h1",instance="main"} 2`,
		`lpseal_lane_warm{class="gpu",gpu="rtx4090",host="h1",instance="main"} 1`,
		`lpseal_lane_width{class="gpu",gpu="rtx4090",host="h1",instance="main"} 1`,
		`lpseal_lane_unfit{class="gpu",gpu="rtx3090",host="h3",instance="gpu0"} 1`,
		`lpseal_worker_draining{host="h2",instance="main"} 1`,
		`lpseal_storage_capacity_bytes{host="h1",instance="main",path="nvme-h1"} 1.5393162788864e+13`,
		`lpseal_queue_width{queue="gpu.any.rtx4090"} 1`,
		`lpseal_queue_width{queue="gpu.any.rtx3090"} 0`,
		`lpseal_queue_width{queue="scheduler"} 8`,
		`lpseal_something_total 0`,
	} {
		require.Contains(t, got, line)
	}
	require.NotContains(t, got, "s-t01000-", "no sector is a label")
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}

// A sector that nobody proved is counted for the alert, and stands among what is wrong.
func TestNotProvenIsSeen(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	id := jobs.SectorID{Miner: 1000, Number: 7}
	f.add(id, time.Hour, false)
	f.write(id, time.Minute, "scheduler/s", jobs.ProofMissed{State: jobs.ProvingFaulty, Text: "faulty after its first deadline (deadline 5, partition 1) closed"})
	v := f.serve(nil)
	require.Contains(t, v.get("/metrics").body, `lpseal_sectors_not_proven{miner="1000",state="faulty"} 1`)
	require.Contains(t, v.get("/metrics").body, `lpseal_sectors_open{miner="1000",standing="fault"} 1`)
	for _, page := range []string{"/", "/sectors/" + id.String()} {
		require.Contains(t, v.get(page).body, "faulty after its first deadline (deadline 5, partition 1) closed", page)
	}
}

// What is pre-committed and not committed has a deposit at stake, whatever it waits for; what is known to be too late is held for a person, who is told.
func TestDepositsAtStakeAreSeen(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	const deadline = "lpseal_commit_deadline_epoch{"
	preCommitted, committed, fresh := sector(1), sector(2), sector(3)
	for _, id := range []jobs.SectorID{preCommitted, committed, fresh} {
		f.add(id, time.Hour, false)
	}
	f.until(committed, jobs.Finalize, time.Hour)
	f.until(fresh, jobs.PreCommit, time.Hour)
	v := f.serve(nil)
	require.NotContains(t, v.get("/metrics").body, deadline)
	f.until(preCommitted, jobs.C2, time.Hour)
	v = f.serve(nil)
	require.Contains(t, v.get("/metrics").body, fmt.Sprintf("%sminer=\"1000\"} %v", deadline, float64(head+86_000)))
	f.write(preCommitted, time.Minute, "scheduler/s1", jobs.Held{Hold: jobs.Hold{Reason: "the pre-commit expired", Class: jobs.Deadline, Stage: jobs.Commit}})
	v = f.serve(nil)
	require.NotContains(t, v.get("/metrics").body, deadline)
}

func TestMetricsSayWhenRedisIsAway(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	v := f.serve(nil)
	f.redis.Kill()
	got := v.get("/metrics")
	require.Equal(t, http.StatusInternalServerError, got.StatusCode)
	require.Contains(t, got.body, "count sectors")
}

func TestMetricsOfOneNameAreRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	double := prometheus.NewGauge(prometheus.GaugeOpts{Name: "lpseal_sectors_double", Help: "Again."})
	_, err := web.New(web.Options{Store: f.store, Queues: f.queues, Redis: f.redis.Client, Scheduler: nobody{}, Node: nobody{}, Collectors: []prometheus.Collector{double, double}})
	require.ErrorContains(t, err, "web: metrics")
	_, err = web.New(web.Options{Store: f.store})
	require.ErrorContains(t, err, "all needed")
}
