package scheduler_test

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/scheduler"
)

// seed writes total records straight into Redis, each in a state that state gives
// it, none of them due.
func (p *pipeline) seed(total int, state func(r *jobs.Record)) []jobs.SectorID {
	p.t.Helper()
	commD, err := jobs.CommD(abi.RegisteredSealProof_StackedDrg2KiBV1_1, nil)
	require.NoError(p.t, err)
	ids := make([]jobs.SectorID, total)
	pipe := p.rdb.Pipeline()
	for i := range ids {
		ids[i] = jobs.SectorID{Miner: miner, Number: abi.SectorNumber(i)}
		ticket := sha256.Sum256(fmt.Append(nil, i))
		r := &jobs.Record{
			ID: ids[i], Version: 5, Created: p.clock.Now(), Proof: abi.RegisteredSealProof_StackedDrg2KiBV1_1, CommD: commD, Home: "path-h1",
			Ticket: jobs.Randomness{Epoch: 9_100, Value: ticket[:], At: 10_000},
			Stages: map[jobs.Stage]jobs.StageRecord{},
		}
		state(r)
		pipe.HSet(p.ctx, "lpseal:{"+r.ID.String()+"}", r.Fields())
		pipe.ZAdd(p.ctx, "lpseal:due", redis.Z{Score: float64(p.clock.Now().Add(time.Hour).UnixMilli()), Member: r.ID.String()})
		if pipe.Len() >= 2000 || i == len(ids)-1 {
			_, err := pipe.Exec(p.ctx)
			require.NoError(p.t, err)
		}
	}
	return ids
}

func (p *pipeline) stage(r *jobs.Record, state jobs.StageState, class jobs.Class, stages ...jobs.Stage) {
	for _, s := range stages {
		r.Stages[s] = jobs.StageRecord{
			State: state, Fence: 1, Attempt: 1, Delivery: 1, Claim: 1, Since: p.clock.Now(), Worker: p.worker.Owner(),
			Queue: jobs.Queue{Class: class, Host: "h1"}.String(),
		}
	}
}

// BenchmarkPoll is a whole poll with 1,000 due sectors: they wait (a task in its
// queue for each, a message in flight for each), or they act (each is given its next
// stage), among more and more that are not due.
func BenchmarkPoll(b *testing.B) {
	const due = 1000
	for _, total := range []int{1_000, 10_000, 100_000} {
		for _, acting := range []bool{false, true} {
			what := "waiting"
			if acting {
				what = "acting"
			}
			b.Run(fmt.Sprintf("sectors=%d/due=%d/%s", total, due, what), func(b *testing.B) {
				// Seeding 100,000 records at once would have Redis rewrite its file meanwhile.
				p := start(b, redistest.StartServer(b, "--auto-aof-rewrite-percentage", "0").Client)
				ids := p.seed(total, func(r *jobs.Record) {
					p.stage(r, jobs.Done, jobs.ClassSDR, jobs.SDR, jobs.TreeD)
					if !acting {
						p.stage(r, jobs.Done, jobs.ClassCPU, jobs.TreeRC)
						p.stage(r, jobs.Done, jobs.ClassChain, jobs.PreCommit)
						p.stage(r, jobs.Running, jobs.ClassIO, jobs.Store)
					}
				})
				if !acting {
					for _, id := range ids[:due] {
						require.NoError(b, p.queues.Enqueue(b.Context(), jobs.Queue{Class: jobs.ClassIO, Host: "h1"}, jobs.TaskRef{ID: id, Stage: jobs.Store, Fence: 1, Attempt: 1, Delivery: 1}))
						_, err := p.chain.SendPreCommits(b.Context(), id.String(), []jobs.PreCommitRequest{{Meaning: jobs.Meaning{Stage: jobs.PreCommit, ID: id, Fence: 1}}})
						require.NoError(b, err)
					}
				}
				var report scheduler.Report
				var took []time.Duration
				for n := 0; b.Loop(); n++ {
					b.StopTimer()
					page := ids[:due]
					if acting {
						page = p.freshPage(b, ids, due, n)
					}
					for _, id := range page {
						require.NoError(b, p.store.SetDue(b.Context(), id, p.clock.Now()))
					}
					b.StartTimer()
					var err error
					report, err = p.Poll(b.Context())
					require.NoError(b, err)
					took = append(took, report.Took)
					require.Equal(b, due, report.Looked)
					require.Zero(b, report.Errors)
					require.Equal(b, acting, report.Acted == due)
				}
				b.ReportMetric(float64(percentile(took, 1).Milliseconds()), "ms-max")
				b.ReportMetric(float64(report.RPC), "rpc/poll")
			})
		}
	}
}

// freshPage takes sectors that did not act yet; once all did, they are set back.
func (p *pipeline) freshPage(b *testing.B, ids []jobs.SectorID, due, n int) []jobs.SectorID {
	b.Helper()
	pages := len(ids) / due
	page := ids[n%pages*due:][:due]
	if n >= pages {
		pipe := p.rdb.Pipeline()
		for _, id := range page {
			key := "lpseal:{" + id.String() + "}"
			pipe.HDel(b.Context(), key, "tree_rc.state", "tree_rc.attempt", "tree_rc.delivery", "tree_rc.queue", "tree_rc.since", "tree_rc.fence")
			pipe.HSet(b.Context(), key, "tree_rc.fence", 1+n)
		}
		_, err := pipe.Exec(b.Context())
		require.NoError(b, err)
	}
	return page
}

// BenchmarkHandOff measures from one stage's completion to the next one's start,
// through Redis, a scheduler and asynq, for a sector at a time.
func BenchmarkHandOff(b *testing.B) {
	l := &live{pipeline: start(b, redistest.StartServer(b).Client)}
	l.policy.Look = 200 * time.Millisecond
	// These follow one another with nothing to wait for between them.
	follows := map[jobs.Stage]jobs.Stage{jobs.TreeRC: jobs.SDR, jobs.C2: jobs.C1, jobs.DropLayers: jobs.C2}
	var mu sync.Mutex
	finished := map[string]time.Time{}
	var latencies []time.Duration
	key := func(id jobs.SectorID, s jobs.Stage) string { return id.String() + string(s) }
	l.done = func(id jobs.SectorID, s jobs.Stage) {
		mu.Lock()
		defer mu.Unlock()
		finished[key(id, s)] = time.Now()
	}
	l.started = func(id jobs.SectorID, s jobs.Stage) {
		mu.Lock()
		defer mu.Unlock()
		at := finished[key(id, follows[s])]
		if tree := finished[key(id, jobs.TreeD)]; s == jobs.TreeRC && tree.After(at) {
			at = tree
		}
		if !at.IsZero() {
			latencies = append(latencies, time.Since(at))
		}
	}
	l.run(2)
	for b.Loop() {
		_, err := l.Add(b.Context(), scheduler.Request{Miner: miner, Count: 4}, "bench")
		require.NoError(b, err)
		require.Eventually(b, func() bool { return l.open() == 0 }, time.Minute, 10*time.Millisecond)
	}
	mu.Lock()
	defer mu.Unlock()
	b.ReportMetric(float64(percentile(latencies, 0.5).Milliseconds()), "ms-p50")
	b.ReportMetric(float64(percentile(latencies, 0.99).Milliseconds()), "ms-p99")
	b.ReportMetric(float64(len(latencies)), "handoffs")
}
