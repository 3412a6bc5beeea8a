package scheduler

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// metrics are labelled by miner, stage and class, never by sector.
type metrics struct {
	head      prometheus.Gauge
	polls     *prometheus.CounterVec
	duration  prometheus.Histogram
	due       prometheus.Gauge
	errors    prometheus.Counter
	conflicts prometheus.Counter
	steps     *prometheus.CounterVec
	failures  *prometheus.CounterVec
	mended    *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{
		head:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "lpseal_chain_head_epoch", Help: "Epoch of the head that the node told last."}),
		polls:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lpseal_polls_total", Help: "Polls done by this scheduler, by result (ok, error)."}, []string{"result"}),
		duration:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "lpseal_poll_duration_seconds", Help: "Time of a whole poll.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 12)}),
		due:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "lpseal_poll_sectors", Help: "Sectors that were due at the last poll."}),
		errors:    prometheus.NewCounter(prometheus.CounterOpts{Name: "lpseal_poll_sector_errors_total", Help: "Sectors that a poll could not look at to the end."}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{Name: "lpseal_poll_conflicts_total", Help: "Writes that another scheduler or a worker was faster with."}),
		steps:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lpseal_stage_deliveries_total", Help: "Tasks enqueued, by why: first, retry (after a fault) or again (its task was lost or moved)."}, []string{"miner", "stage", "why"}),
		failures:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lpseal_stage_failures_total", Help: "Sealing faults that the scheduler chose a remedy for."}, []string{"miner", "stage", "class"}),
		mended:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lpseal_mended_total", Help: "Index entries and space reservations that the sweeps set right."}, []string{"what"}),
	}
}

// Collectors are the scheduler's metrics, for a registry of the caller's.
func (s *Scheduler) Collectors() []prometheus.Collector {
	m := s.metrics
	return []prometheus.Collector{m.head, m.polls, m.duration, m.due, m.errors, m.conflicts, m.steps, m.failures, m.mended}
}

func (m *metrics) polled(r Report, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.polls.WithLabelValues(result).Inc()
	m.duration.Observe(r.Took.Seconds())
	m.due.Set(float64(r.Due))
	m.errors.Add(float64(r.Errors))
	m.conflicts.Add(float64(r.Conflicts))
}

// wrote counts a step once it is in the record: deliveries, and each fault when its
// remedy is chosen.
func (m *metrics) wrote(before, next *jobs.Record, event jobs.Event) {
	miner := strconv.FormatUint(uint64(before.ID.Miner), 10)
	if e, ok := event.(jobs.Scheduled); ok {
		why := "first"
		switch {
		case before.Stage(e.Stage).State == jobs.Faulted:
			why = "retry"
		case e.Again:
			why = "again"
		}
		m.steps.WithLabelValues(miner, string(e.Stage), why).Inc()
	}
	for stage, sr := range before.Stages {
		if sr.State != jobs.Faulted {
			continue
		}
		held := before.Hold == nil && next.Hold != nil && next.Hold.Stage == stage
		if held || next.Stage(stage).State != jobs.Faulted {
			m.failures.WithLabelValues(miner, string(stage), string(sr.Fault.Class)).Inc()
		}
	}
}

// swept counts what a step of the index sweep put right.
func (m *metrics) swept(n sectors.Mended) {
	for what, count := range map[string]int{"due": n.Due, "held": n.Held, "done": n.Done, "space": n.Space, "message": n.Names, "piece": n.Pieces, "deal": n.Deals} {
		m.mended.WithLabelValues(what).Add(float64(count))
	}
}
