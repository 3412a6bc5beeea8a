package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lpseal/lpseal/jobs"
)

// metrics are what this process measures itself; lanes and paths are in the heartbeat,
// and `lpseal web` serves them for the whole fleet.
type metrics struct {
	duration *prometheus.HistogramVec
	wait     *prometheus.HistogramVec
	works    *prometheus.CounterVec
}

// stageBuckets reach from a tenth of a second to five hours, for stages from drop_layers to sdr.
var stageBuckets = prometheus.ExponentialBuckets(0.1, 3, 12)

func newMetrics(host string) *metrics {
	here := prometheus.Labels{"host": host}
	return &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lpseal_stage_duration_seconds", ConstLabels: here, Buckets: stageBuckets,
			Help: "Time from a claim to the record's answer, by result (ok, or the class of the fault). Work adopted after a restart counts from its new claim.",
		}, []string{"stage", "class", "gpu", "result"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lpseal_stage_wait_seconds", ConstLabels: here, Buckets: stageBuckets,
			Help: "Time from the poller's intent to the first claim: how long tasks wait for a lane.",
		}, []string{"stage", "class", "gpu"}),
		works: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lpseal_child_shared_works_total", ConstLabels: here,
			Help: "Works given to child processes that had one already: warm, after another, or together with others (lockstep).",
		}, []string{"stage", "child"}),
	}
}

// Collectors are the worker's metrics, for a registry of the caller's.
func (w *Worker) Collectors() []prometheus.Collector {
	return []prometheus.Collector{w.metrics.duration, w.metrics.wait, w.metrics.works}
}

// waited counts a task's time in the queue. A task that comes again after a lost lease has
// been claimed before, and its wait is not the queue's.
func (m *metrics) waited(task jobs.TaskRef, lane jobs.Lane, queued jobs.StageRecord, now time.Time) {
	if queued.State != jobs.Queued || queued.Since.IsZero() {
		return
	}
	m.wait.WithLabelValues(string(task.Stage), string(lane.Class), lane.GPU).Observe(now.Sub(queued.Since).Seconds())
}

// engaged counts a work that a child took which had, or has, others.
func (m *metrics) engaged(s jobs.Stage, warm bool) {
	child := "together"
	if warm {
		child = "warm"
	}
	m.works.WithLabelValues(string(s), child).Inc()
}

// ended counts a delivery that the record took.
func (m *metrics) ended(task jobs.TaskRef, lane jobs.Lane, o outcome, took time.Duration) {
	result := "ok"
	if o.fault != nil {
		result = string(o.fault.Class)
	}
	m.duration.WithLabelValues(string(task.Stage), string(lane.Class), lane.GPU, result).Observe(took.Seconds())
}
