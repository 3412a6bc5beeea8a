package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/jobs"
)

func TestLanesWithoutAPath(t *testing.T) {
	t.Parallel()
	w := configs.Worker{Lanes: []configs.Lane{{Class: jobs.ClassGPU, GPU: "a"}}}
	require.Empty(t, homeless(&w), "c2 runs anywhere")
	w.Lanes = append(w.Lanes, configs.Lane{Class: jobs.ClassSDR}, configs.Lane{Class: jobs.ClassIO})
	require.Equal(t, []jobs.Class{jobs.ClassSDR, jobs.ClassIO}, homeless(&w))
	w.Paths = []configs.StorePath{{Dir: "/data/seal"}}
	require.Empty(t, homeless(&w))
}
