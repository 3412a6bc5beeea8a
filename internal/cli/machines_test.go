package cli

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// TestMachinesAreListed with what their stages need and who makes them.
func TestMachinesAreListed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	plain := jobs.Worker{Host: "h0", Instance: "scheduler", Lanes: []jobs.Lane{{Class: jobs.ClassChain, Width: 8}}}
	require.NoError(t, printMachines(&out, []jobs.Worker{plain}))
	require.NotContains(t, out.String(), "STAGE", "no lane of it has a prover")
	out.Reset()
	sealer := jobs.Worker{
		Host: "h1", Instance: "main", Capacity: jobs.Capacity{Memory: 256 << 30, Cores: 16}, Held: jobs.Need{Memory: 64 << 30},
		Lanes: []jobs.Lane{
			{Class: jobs.ClassGPU, GPU: "a", Width: 1, Loaded: 1, Env: []string{"A=1", "B=2"}, Unfit: "no parameters", Stages: []jobs.LaneStage{
				{Stage: jobs.TreeRC, Prover: "native", Why: "faster", Need: jobs.Need{Memory: 93 << 20}},
				{Stage: jobs.C2, Prover: "filcrypto", Why: "SNARKs", Need: jobs.Need{Memory: 150 << 30, VRAM: 8 << 30}},
			}},
			{Class: jobs.ClassSDR, Width: 2, Busy: 2, Group: 2, Stages: []jobs.LaneStage{{Stage: jobs.SDR, Prover: "native", Why: "why", Need: jobs.Need{Cores: 1}}}},
		},
	}
	require.NoError(t, printMachines(&out, []jobs.Worker{plain, sealer}))
	require.Equal(t, `WORKER        STATE    LANES                                          MEMORY             PATHS  CHILDREN  FILES
h0/scheduler  serving  chain 0/8                                      -                  0      0         -
h1/main       unfit    gpu a 0/1 1 warm unfit, sdr 2/2 2 in lockstep  64 GiB of 256 GiB  0      0         -

WORKER   LANE   UNFIT, BECAUSE
h1/main  gpu a  no parameters

WORKER   LANE   STAGE    PROVER     NEEDS               WHY
h1/main  gpu a  tree_rc  native     93 MiB              faster
h1/main  gpu a  c2       filcrypto  150 GiB, GPU 8 GiB  SNARKs
h1/main  gpu a                                          environment: A=1 B=2
h1/main  sdr    sdr      native     0 B, 1 core         why
`, out.String())
}
