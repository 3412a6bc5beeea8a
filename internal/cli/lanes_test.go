package cli

import (
	"context"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/klauspost/cpuid/v2"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/figures"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

const whole = abi.RegisteredSealProof_StackedDrg32GiBV1_1

// TestLaneTellsWhoMakesTheProof: what the fleet knows of a GPU lane is its c2, for a
// native one must never get a deposit paid on a real network (design rule 6).
func TestLaneTellsWhoMakesTheProof(t *testing.T) {
	t.Parallel()
	gpu := configs.Lane{Class: jobs.ClassGPU, GPU: "a", Prover: "filcrypto"}
	require.Equal(t, "filcrypto", lane(gpu, configs.StageProvers{TreeRC: "native"}, surroundings{}).Prover)
	require.Equal(t, "native", lane(gpu, configs.StageProvers{C2: "native"}, surroundings{}).Prover)
	require.Equal(t, "filcrypto", lane(configs.Lane{Class: jobs.ClassSDR}, configs.StageProvers{SDR: "filcrypto"}, surroundings{}).Prover)
	require.Equal(t, "native", lane(configs.Lane{Class: jobs.ClassIO}, configs.StageProvers{SDR: "filcrypto", C2: "filcrypto"}, surroundings{}).Prover)
}

// TestWhoSaysTheProver: a stage's own key, then the lane's, then the choice.
func TestWhoSaysTheProver(t *testing.T) {
	t.Parallel()
	cpu := configs.Lane{Class: jobs.ClassCPU, Prover: "filcrypto", Threads: 3, Env: []string{"A=b"}}
	s := surroundings{proofs: []abi.RegisteredSealProof{whole}, capacity: jobs.Capacity{Memory: 1 << 40, Cores: 8}}
	d := lane(cpu, configs.StageProvers{C1: "native", TreeD: "auto"}, s)
	require.Equal(t, []jobs.LaneStage{
		{Stage: jobs.TreeD, Prover: "native", Why: "the only prover in this program", Need: jobs.NeedOf(jobs.TreeD, whole, "native", 3, false)},
		{Stage: jobs.TreeRC, Prover: "filcrypto", Why: "the lane's prover", Need: jobs.NeedOf(jobs.TreeRC, whole, "filcrypto", 3, false)},
		{Stage: jobs.C1, Prover: "native", Why: "worker.provers.c1 says so", Need: jobs.NeedOf(jobs.C1, whole, "native", 3, false)},
	}, d.Stages)
	require.Equal(t, []string{"A=b"}, d.Env)
	require.Equal(t, "filcrypto", d.Prover, "of its longest stage")
	cpu.Prover = "auto"
	require.Equal(t, "native", lane(cpu, configs.StageProvers{}, surroundings{}).ProverOf(jobs.TreeRC))
	require.Zero(t, lane(cpu, configs.StageProvers{}, surroundings{}).Stages[0].Need, "no miner, no size")
}

// TestWhatChildrenShare: by default what the provers gain by.
func TestWhatChildrenShare(t *testing.T) {
	t.Parallel()
	gpu := configs.Lane{Class: jobs.ClassGPU, GPU: "a", Prover: "filcrypto"}
	warmth := func(l configs.Lane) time.Duration { return lane(l, configs.StageProvers{}, surroundings{}).Warm }
	require.Equal(t, warmIdle, warmth(gpu))
	gpu.WarmIdle = time.Hour
	require.Equal(t, time.Hour, warmth(gpu))
	gpu.Warm = configs.WarmNever
	require.Zero(t, warmth(gpu))
	gpu.Warm, gpu.Prover = configs.WarmAuto, jobs.NativeProver
	require.Zero(t, warmth(gpu), "it has no parameters")
	gpu.Warm = configs.WarmAlways
	require.Equal(t, time.Hour, warmth(gpu))
	require.Zero(t, warmth(configs.Lane{Class: jobs.ClassSDR, Prover: "filcrypto"}))

	var two jobs.Prover = lockstepProver{}
	require.Equal(t, 2, lockstep(configs.Lane{Class: jobs.ClassSDR, Width: 4}, two))
	require.Equal(t, 1, lockstep(configs.Lane{Class: jobs.ClassSDR}, two), "the width is what memory bears")
	require.Equal(t, 1, lockstep(configs.Lane{Class: jobs.ClassSDR, Width: 4, Lockstep: 1}, two))
	require.Equal(t, 2, lockstep(configs.Lane{Class: jobs.ClassSDR, Width: 4, Lockstep: 3}, two), "more is not faster")
	require.Zero(t, lockstep(configs.Lane{Class: jobs.ClassCPU, Width: 4}, two))
	staged := &stagedProver{Prover: two, sdr: two}
	require.Equal(t, 2, lockstep(configs.Lane{Class: jobs.ClassSDR, Width: 4}, staged))
	require.Len(t, staged.SDRTogether(t.Context(), make([]jobs.SDRJob, 2)), 2)
	staged.sdr = &jobstest.Prover{}
	require.Equal(t, 1, lockstep(configs.Lane{Class: jobs.ClassSDR, Width: 4}, staged))
}

// lockstepProver is one for whom two together are faster.
type lockstepProver struct{ jobs.Prover }

func (lockstepProver) Width() int { return 2 }

func (lockstepProver) SDRTogether(_ context.Context, group []jobs.SDRJob) []error {
	return make([]error, len(group))
}

// TestAutoFollowsTheFigures has a second prover in the program for as long as it runs.
func TestAutoFollowsTheFigures(t *testing.T) {
	provers["filcrypto"] = backend{build: func() string { return "lib" }}
	t.Cleanup(func() { delete(provers, "filcrypto") })
	measured := func(prover, build string, ns int64) figures.Figure {
		return figures.Figure{Stage: jobs.TreeRC, Prover: prover, Proof: whole, Threads: 2, NS: ns, Build: build, CPU: cpuid.CPU.BrandName}
	}
	s := surroundings{proofs: []abi.RegisteredSealProof{whole}, figures: []figures.Figure{
		measured("native", thisBuild().name(), 1e9), measured("filcrypto", "lib", 2e9),
	}}
	gpu := configs.Lane{Class: jobs.ClassGPU, GPU: "a", Threads: 2}
	d := lane(gpu, configs.StageProvers{}, s)
	require.Equal(t, "native", d.ProverOf(jobs.TreeRC))
	require.Contains(t, d.Stages[0].Why, "faster: 1s against 2s of filcrypto at 32 GiB")
	require.Equal(t, "filcrypto", d.ProverOf(jobs.C2), "only it makes SNARKs")
	require.Equal(t, "filcrypto", d.Prover)
	s.network.Embedded = true
	require.Equal(t, "native", lane(gpu, configs.StageProvers{}, s).Prover)
	s.figures = nil
	require.Equal(t, "filcrypto", lane(gpu, configs.StageProvers{}, s).ProverOf(jobs.TreeRC), "the production prover, if nothing was measured")
}

// TestLanesThatCanNeverRun are refused before they take a task, all at once.
func TestLanesThatCanNeverRun(t *testing.T) {
	t.Parallel()
	c := &cluster{cfg: &configs.Config{}, logs: quietLogs(t)}
	c.cfg.Worker.Lanes = []configs.Lane{{Class: jobs.ClassSDR}, {Class: jobs.ClassCPU, Threads: 2}, {Class: jobs.ClassIO}}
	s := surroundings{proofs: []abi.RegisteredSealProof{whole}, capacity: jobs.Capacity{Memory: 32 << 30, Cores: 1}, seals: true}
	env := func(jobs.Prover) *jobs.Env { return &jobs.Env{} }
	_, _, err := c.lanes(s, env)
	require.ErrorContains(t, err, "a sdr lane can never run sdr of sectors of 32 GiB by native here: it lacks 32.1 GiB of memory: it needs 64.1 GiB, and of 32 GiB here 0 B are held")
	require.NotContains(t, err.Error(), "cpu lane")
	s.capacity.Memory = 128 << 30
	world, lanes, err := c.lanes(s, env)
	require.NoError(t, err)
	require.Len(t, lanes, 3)
	for _, l := range lanes {
		l.Busy, l.Unfit = 1, "x" // as a heartbeat has it
		require.NotNil(t, world(l))
	}
}

// TestAGPUThatTheLibraryCannotUse is told at the start: the proof would take hours on
// the CPU, in silence.
func TestAGPUThatTheLibraryCannotUse(t *testing.T) {
	kind := "none"
	provers["filcrypto"] = backend{
		make:  func(backendOptions) (jobs.Prover, error) { return struct{ jobs.Prover }{}, nil },
		build: func() string { return "lib" }, gpu: func() string { return kind },
	}
	t.Cleanup(func() { delete(provers, "filcrypto") })
	c := &cluster{cfg: &configs.Config{}, logs: quietLogs(t)}
	try := func(l configs.Lane) error {
		c.cfg.Worker.Lanes = []configs.Lane{l}
		_, _, err := c.lanes(surroundings{}, func(jobs.Prover) *jobs.Env { return &jobs.Env{} })
		return err
	}
	gpu := configs.Lane{Class: jobs.ClassGPU, GPU: "a", Device: "0", Prover: "filcrypto"}
	require.ErrorContains(t, try(gpu), "lane gpu a is to use a GPU, and filcrypto was built without: build it with FFI_GPU=cuda")
	cpu := gpu
	cpu.Device = jobs.NoGPU
	require.NoError(t, try(cpu))
	require.NoError(t, try(configs.Lane{Class: jobs.ClassSDR, Prover: "filcrypto"}))
	kind = "cuda"
	require.NoError(t, try(gpu))
}

// TestFilesMayComeLater: a worker without a sealing path is never given layers to make.
func TestFilesMayComeLater(t *testing.T) {
	t.Parallel()
	c := &cluster{cfg: &configs.Config{}, logs: quietLogs(t)}
	c.cfg.Worker.Lanes = []configs.Lane{{Class: jobs.ClassSDR}}
	s := surroundings{proofs: []abi.RegisteredSealProof{whole}, capacity: jobs.Capacity{Memory: 1 << 30, Cores: 1}}
	_, _, err := c.lanes(s, func(jobs.Prover) *jobs.Env { return &jobs.Env{} })
	require.NoError(t, err)
}

func quietLogs(t *testing.T) *logs {
	l, err := newLogs(configs.Log{Level: "error", Format: "nocolor"}, t.Output())
	require.NoError(t, err)
	return l
}
