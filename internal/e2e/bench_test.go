package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkIdle counts what 20 workers of four lanes and a scheduler ask of Redis
// while there is nothing to do.
func BenchmarkIdle(b *testing.B) {
	const workers, window = 20, 5 * time.Second
	c := newCluster(b)
	for i := range workers {
		c.worker(settings{host: fmt.Sprintf("h%d", i+1), instance: "main", lanes: sealing + ", {class: gpu, gpu: a, width: 1}"})
	}
	c.scheduler("s1")
	c.alive(workers + 1)
	before := c.spent()
	for b.Loop() {
		<-time.After(window)
	}
	after := c.spent()
	b.ReportMetric((after["total_commands_processed"]-before["total_commands_processed"])/b.Elapsed().Seconds(), "commands/s")
	b.ReportMetric(100*(after["used_cpu_sys"]+after["used_cpu_user"]-before["used_cpu_sys"]-before["used_cpu_user"])/b.Elapsed().Seconds(), "redis-cpu-%")
}

var field = regexp.MustCompile(`(?m)^(\w+):([\d.]+)\r?$`)

// spent is what Redis has done so far: commands, those inside scripts too, and
// seconds of processor time.
func (c *cluster) spent() map[string]float64 {
	out := map[string]float64{}
	for _, section := range []string{"stats", "cpu"} {
		info, err := c.redis.Client.Info(c.t.Context(), section).Result()
		require.NoError(c.t, err)
		for _, m := range field.FindAllStringSubmatch(info, -1) {
			out[m[1]], err = strconv.ParseFloat(m[2], 64)
			require.NoError(c.t, err)
		}
	}
	return out
}
