package web_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/jobs"
)

// BenchmarkPipeline measures a page of a large fleet, on a real Redis: with the count of
// all sectors made anew, and with the count of a moment ago, as viewers see it.
func BenchmarkPipeline(b *testing.B) {
	for _, n := range []int{500, 10_000} {
		f := newFleetOn(b, redistest.StartServer(b))
		f.workers()
		for i := range n {
			f.add(sector(i), time.Hour, true)
			f.write(sector(i), time.Hour, "scheduler/s1", jobs.Placed{Path: "nvme-" + homeOf(sector(i))})
			f.do(sector(i), jobs.TreeD, time.Hour)
			f.run(sector(i), jobs.SDR, time.Hour)
		}
		v := f.serve(nil)
		for name, pass := range map[string]time.Duration{"counted_anew": time.Hour, "counted_before": 0} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				for b.Loop() {
					f.clock.Advance(pass)
					require.Contains(b, v.get("/").body, "s-t01000-99")
				}
			})
		}
	}
}
