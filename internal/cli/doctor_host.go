package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/dustin/go-humanize"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"

	"github.com/lpseal/lpseal/ffi/filcrypto"
	"github.com/lpseal/lpseal/internal/figures"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/internal/params"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/worker"
)

// cpu looks at what SDR and the trees are fast by. A host without lanes seals nothing.
func (d *doctor) cpu() {
	if len(d.cfg.Worker.Lanes) == 0 {
		return
	}
	sha, wide := cpuid.CPU.Supports(cpuid.SHA), cpuid.CPU.Supports(cpuid.AVX2)
	if runtime.GOARCH == "arm64" {
		sha, wide = cpuid.CPU.Supports(cpuid.SHA2), true
	}
	if !sha {
		d.warn("cpu", "seal where there are some: AMD Zen, Intel Ice Lake, or newer", "%s has no SHA instructions: sdr takes about seven times as long", cpuid.CPU.BrandName)
	}
	if !wide {
		d.warn("cpu", "seal on a newer processor", "%s has no AVX2: trees are slow", cpuid.CPU.BrandName)
	}
	if sha && wide {
		d.ok("cpu", "%s has SHA and vector instructions", or(cpuid.CPU.BrandName, runtime.GOARCH))
	}
	const pages = "/sys/kernel/mm/transparent_hugepage/enabled"
	if b, err := os.ReadFile(pages); err == nil && strings.Contains(string(b), "[never]") {
		d.warn("cpu", "echo madvise > "+pages, "huge pages are off: sdr reads its parents at random, and pays for each page")
	}
}

// lanes sees that their provers are in this program, that this host shows their GPUs and
// has what their stages need, and that somebody reads their environment.
func (d *doctor) lanes(s surroundings) {
	var err error
	if s.figures, err = figures.Load(d.cfg.Host.StateDir); err != nil {
		d.warn("lanes", "lpseal bench seal", "%w", err)
	}
	s.capacity = d.capacity()
	for _, l := range d.cfg.Worker.Lanes {
		declared := lane(l, d.cfg.Worker.Provers, s)
		name := strings.TrimSpace(string(l.Class) + " " + l.GPU)
		why := worker.Unfit(declared)
		missing := slices.IndexFunc(declared.Stages, func(made jobs.LaneStage) bool { return provers[made.Prover].make == nil })
		switch {
		case missing >= 0:
			d.fail("lanes", "make build-ffi", "lane %s: prover %s is not in this program", name, declared.Stages[missing].Prover)
		case why != "":
			d.fail("lanes", "nvidia-smi -L", "lane %s: %s", name, why)
		default:
			d.ok("lanes", "lane %s can run here%s", name, stagesOf(declared))
		}
		for _, proof := range s.proofs {
			if err := worker.Unable(declared, s.capacity, proof, true); err != nil {
				d.fail("lanes", "give the lane to a larger host; host.memory and host.cores bound what is used", "%w", err)
			}
		}
		if err := blind(declared); err != nil {
			d.fail("lanes", "FFI_GPU=cuda make build-ffi", "%w", err)
		}
		if makesSNARKs(declared) {
			d.parameters(name, s)
		}
		d.environment(name, declared.Env)
	}
	if set := filcrypto.Environment(); len(set) > 0 {
		d.ok("lanes", "all proof processes inherit %s", strings.Join(set, " "))
	}
}

// parameters looks at those of a lane's proofs; it reads no file, for that takes minutes.
func (d *doctor) parameters(lane string, s surroundings) {
	listed := func(_ context.Context, size abi.SectorSize) error {
		return params.DefaultDir().Usable(s.network.Name, params.Proving(size))
	}
	if why := parametersLack(context.Background(), params.DefaultDir(), s.proofs, listed); why != "" {
		d.fail("lanes", "docs/how-to/ffi.md, Parameters", "lane %s: %s", lane, why)
		return
	}
	d.ok("lanes", "lane %s: its proof parameters are in %s", lane, params.DefaultDir())
}

// aggregation sees whether a scheduler on this host can join proofs. It reads no file
// either.
func (d *doctor) aggregation(s surroundings) {
	if !d.aggregates() || d.cfg.Policy.Commits.Max < jobs.MinAggregate {
		return
	}
	dir := params.DefaultDir()
	for _, proof := range s.proofs {
		size, err := proof.SectorSize()
		if err == nil {
			err = dir.Usable(s.network.Name, params.Aggregating(size))
		}
		if err != nil {
			d.warn("chain", "docs/how-to/ffi.md, Aggregates; or set chain.aggregate: off", "a scheduler on this host sends proofs one by one, for it cannot join them: %w", err)
			return
		}
	}
	d.ok("chain", "a scheduler on this host joins the proofs of a batch where that is cheaper; the SRS is in %s", dir)
}

// environment names a lane's variables that filecoin-ffi does not read: a slip of the pen
// would make it slow in silence.
func (d *doctor) environment(lane string, env []string) {
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if slices.Contains(filcrypto.Variables, name) {
			d.ok("lanes", "lane %s: its proof processes have %s", lane, e)
		} else {
			d.warn("lanes", "docs/how-to/ffi.md names the known ones", "lane %s: filecoin-ffi does not read %s", lane, name)
		}
	}
}

// stagesOf lists a lane's stages with their provers.
func stagesOf(l jobs.Lane) string {
	var out []string
	for _, s := range l.Stages {
		out = append(out, fmt.Sprintf("%s by %s", s.Stage, s.Prover))
	}
	if len(out) == 0 {
		return ""
	}
	return ": " + strings.Join(out, ", ")
}

// state sees that host.state_dir can be written, or made: workers keep their children there,
// schedulers their messages.
func (d *doctor) state() {
	if len(d.cfg.Worker.Lanes) == 0 {
		return
	}
	dir := d.cfg.Host.StateDir
	there := dir
	info, err := os.Stat(there)
	for errors.Is(err, fs.ErrNotExist) && there != filepath.Dir(there) {
		there = filepath.Dir(there)
		info, err = os.Stat(there)
	}
	switch {
	case err == nil && !info.IsDir():
		err = &fs.PathError{Op: "open", Path: there, Err: syscall.ENOTDIR}
	case err == nil:
		if err = unix.Access(there, unix.W_OK|unix.X_OK); err != nil {
			err = &fs.PathError{Op: "write to", Path: there, Err: err}
		}
	}
	if err != nil {
		d.fail("state", "set host.state_dir to a folder that this user may write", "host.state_dir %s: %w", dir, err)
		return
	}
	d.ok("state", "%s can be written", dir)
}

// paths sees that they can be used, and that sealing paths hold what sdr lanes will fill.
func (d *doctor) paths(s surroundings) {
	var room uint64
	sealing, unread := false, false
	for _, configured := range d.cfg.Worker.Paths {
		p, err := files.OpenPath(configured.Dir)
		if err != nil {
			d.fail("paths", "lpseal storage attach "+configured.Dir, "%w", err)
			unread = true
			continue
		}
		if p.CanSeal {
			sealing = true
			room += p.Capacity
		}
		d.ok("paths", "%s is for %s and has %s free", configured.Dir, purpose(p), humanize.IBytes(p.Free))
	}
	width := 0
	for _, l := range d.cfg.Worker.Lanes {
		if l.Class == jobs.ClassSDR {
			width += max(1, l.Width)
		}
	}
	need := uint64(width) * jobs.SealingSpace(s.proof()) // 0 where no miner is known, which has been said
	switch {
	case unread: // which may be the one for sealing
	case width > 0 && !sealing:
		d.fail("paths", "lpseal storage attach --init --seal DIR", "there are sdr lanes, and no path for sealing")
	case need > room:
		d.warn("paths", "free space, add a path or take width from the lane", "%d sectors in sdr lanes need %s, and the sealing paths have %s", width, humanize.IBytes(need), humanize.IBytes(room))
	}
}
