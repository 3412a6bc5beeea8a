package worker

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// TestStagesAreMeasured: how long each waited and took, by how it ended.
func TestStagesAreMeasured(t *testing.T) {
	t.Parallel()
	for want, fault := range map[string]*jobs.Fault{"ok": nil, "transient": jobs.Failf(jobs.Transient, "once")} {
		w := newWorld(t)
		worker, task := w.idle(jobs.DropLayers)
		w.set(t, scene{Fault: fault})
		require.NoError(t, worker.lanes[3].handle(w.ctx, task))

		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(worker.Collectors()...)
		got, err := registry.Gather()
		require.NoError(t, err)
		require.Len(t, got, 2)
		labels := map[string]string{}
		for _, l := range got[0].Metric[0].Label {
			labels[l.GetName()] = l.GetValue()
		}
		require.Equal(t, "lpseal_stage_duration_seconds", got[0].GetName())
		require.EqualValues(t, 1, got[0].Metric[0].Histogram.GetSampleCount())
		require.Equal(t, map[string]string{"stage": "drop_layers", "class": "io", "gpu": "", "host": worker.Host, "result": want}, labels)
		require.Equal(t, "lpseal_stage_wait_seconds", got[1].GetName())
		require.EqualValues(t, 1, got[1].Metric[0].Histogram.GetSampleCount())

		require.NoError(t, worker.lanes[3].handle(w.ctx, task), "a task that comes again is not wanted")
		again, err := registry.Gather()
		require.NoError(t, err)
		require.EqualValues(t, 1, again[0].Metric[0].Histogram.GetSampleCount(), "and counts no more")
		require.EqualValues(t, 1, again[1].Metric[0].Histogram.GetSampleCount())
	}
}
