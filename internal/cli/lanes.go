package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/klauspost/cpuid/v2"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/figures"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/worker"
)

// surroundings are what lanes are declared by: the network, the sectors to come, and this
// host with what was measured on it.
type surroundings struct {
	network  jobs.Network
	proofs   []abi.RegisteredSealProof // of the configured miners, the largest sectors first
	capacity jobs.Capacity
	figures  []figures.Figure
	seals    bool // a sealing path is served here
}

// unknownProof stands for the type of sectors nobody named a miner of.
const unknownProof = abi.RegisteredSealProof(-1)

func (s *surroundings) proof() abi.RegisteredSealProof {
	if len(s.proofs) == 0 {
		return unknownProof
	}
	return s.proofs[0]
}

func (s *surroundings) add(proof abi.RegisteredSealProof) {
	if !slices.Contains(s.proofs, proof) {
		s.proofs = append(s.proofs, proof)
	}
	slices.SortFunc(s.proofs, func(a, b abi.RegisteredSealProof) int { return cmp.Compare(b, a) })
}

// look gathers them. A miner that the node does not know is an error of its own.
func (c *cluster) look(ctx context.Context, node jobs.Chain, paths []jobs.Path) (s surroundings, err error) {
	if s.network, err = node.Network(ctx); err != nil {
		return s, fmt.Errorf("worker: which network: %w", err)
	}
	for _, m := range c.cfg.Miners {
		info, err := node.Miner(ctx, abi.ActorID(m.ID))
		if err != nil {
			return s, fmt.Errorf("worker: sector size of %s: %w", m.ID, err)
		}
		s.add(info.SealProof)
	}
	s.seals = slices.ContainsFunc(paths, func(p jobs.Path) bool { return p.CanSeal })
	s.capacity = c.capacity()
	if s.figures, err = figures.Load(c.cfg.Host.StateDir); err != nil {
		c.logs.of("prover").Warn("provers are chosen without figures", "err", err)
	}
	return s, nil
}

// capacity is what stages may take of this host.
func (c *cluster) capacity() jobs.Capacity {
	have := worker.HostCapacity()
	if m := uint64(c.cfg.Host.Memory); m > 0 {
		have.Memory = m
	}
	if n := c.cfg.Host.Cores; n > 0 {
		have.Cores = n
	}
	return have
}

// proving are the stages that a prover makes.
var proving = []jobs.Stage{jobs.TreeD, jobs.SDR, jobs.TreeRC, jobs.C1, jobs.C2}

// leading is the stage whose prover the fleet must know of a lane: on a GPU the one that
// makes the proof which goes on chain.
var leading = map[jobs.Class]jobs.Stage{jobs.ClassGPU: jobs.C2, jobs.ClassSDR: jobs.SDR, jobs.ClassCPU: jobs.TreeRC}

// lane is a configured lane as the domain knows it, with a prover for each stage.
func lane(l configs.Lane, named configs.StageProvers, s surroundings) jobs.Lane {
	d := jobs.Lane{Class: l.Class, GPU: l.GPU, Device: l.Device, Width: max(l.Width, 1), Threads: l.Threads, Env: l.Env, Prover: jobs.NativeProver}
	builds := map[string]string{}
	for name, b := range provers {
		builds[name] = b.build()
	}
	threads := l.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	for _, stage := range jobs.HeavyStages(l.Class, true) {
		if !slices.Contains(proving, stage) {
			continue
		}
		var made jobs.LaneStage
		switch of := named.Of(stage); {
		case of != "" && of != configs.AutoProver:
			made = jobs.LaneStage{Stage: stage, Prover: of, Why: "worker.provers." + string(stage) + " says so"}
		case of == "" && l.Prover != "" && l.Prover != configs.AutoProver:
			made = jobs.LaneStage{Stage: stage, Prover: l.Prover, Why: "the lane's prover"}
		default:
			made = figures.Choose(figures.Question{
				Stage: stage, Proof: s.proof(), Threads: threads, Embedded: s.network.Embedded,
				Builds: builds, CPU: cpuid.CPU.BrandName, Figures: s.figures,
			})
		}
		d.Stages = append(d.Stages, made)
		if stage == leading[l.Class] {
			d.Prover = made.Prover
		}
	}
	d.Warm = warm(l, d)
	for i := range d.Stages {
		d.Stages[i].Need = d.NeedOf(d.Stages[i].Stage, s.proof(), s.capacity.Cores)
	}
	return d
}

// lanes declares the lanes, makes each one's world, and refuses those that could never run
// one of their stages.
func (c *cluster) lanes(s surroundings, env func(jobs.Prover) *jobs.Env) (func(jobs.Lane) *jobs.Env, []jobs.Lane, error) {
	envs := map[string]*jobs.Env{}
	var declared []jobs.Lane
	var unable []error
	for _, l := range c.cfg.Worker.Lanes {
		d := lane(l, c.cfg.Worker.Provers, s)
		prover, err := newProver(d, c.backendOptions(s.network.Name))
		if err != nil {
			return nil, nil, err
		}
		unable = append(unable, blind(d))
		d.Lockstep = lockstep(l, prover)
		for _, proof := range s.proofs {
			unable = append(unable, worker.Unable(d, s.capacity, proof, s.seals))
		}
		declared = append(declared, d)
		envs[laneKey(d)] = env(prover)
	}
	if err := errors.Join(unable...); err != nil {
		return nil, nil, refused("lpseal doctor shows what the host has; host.memory and host.cores bound what is used", "%w", err)
	}
	return func(l jobs.Lane) *jobs.Env { return envs[laneKey(l)] }, declared, nil
}

// blind says that a lane's prover was built without support for GPUs, though the lane is to
// use one: it would prove on the CPU, and nobody would know why it takes hours.
func blind(l jobs.Lane) error {
	b := provers[l.Prover]
	if !l.HasGPU() || b.gpu == nil || b.gpu() != jobs.NoGPU {
		return nil
	}
	return fmt.Errorf("lane gpu %s is to use a GPU, and %s was built without: build it with FFI_GPU=cuda or FFI_GPU=opencl, or give the lane device: %s", l.GPU, l.Prover, jobs.NoGPU)
}

// warmIdle is how long a warm child waits for the next c2 where the configuration does
// not say: longer than the pauses of a line that has work.
const warmIdle = 10 * time.Minute

// warm says how long the lane's children stay for the next c2. With filecoin-ffi the
// parameters are indexed once for each process (12 s at 32 GiB, and the GPU's
// programs besides); the native prover has none.
func warm(l configs.Lane, d jobs.Lane) time.Duration {
	switch choice := or(l.Warm, configs.WarmAuto); {
	case l.Class != jobs.ClassGPU, choice == configs.WarmNever:
		return 0
	case choice == configs.WarmAuto && d.ProverOf(jobs.C2) == jobs.NativeProver:
		return 0
	}
	return cmp.Or(l.WarmIdle, warmIdle)
}

// lockstep is how many sectors one child of the lane makes layers of together: no more
// than its prover is faster with.
func lockstep(l configs.Lane, p jobs.Prover) int {
	together, ok := p.(jobs.Lockstep)
	if !ok || l.Class != jobs.ClassSDR {
		return 0
	}
	return min(cmp.Or(l.Lockstep, together.Width()), together.Width(), max(l.Width, 1))
}

// laneKey names what a lane's world is made from.
func laneKey(l jobs.Lane) string {
	key := []string{string(l.Class), l.GPU, l.Device, l.Prover, fmt.Sprint(l.Threads)}
	for _, s := range l.Stages {
		key = append(key, s.Prover)
	}
	return strings.Join(key, " ")
}
