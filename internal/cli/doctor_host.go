package cli

import (
	"os"
	"runtime"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/klauspost/cpuid/v2"

	"github.com/lpseal/lpseal/internal/files"
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

// lanes sees that their provers are in this program and their GPUs on this host.
func (d *doctor) lanes() {
	for _, l := range d.cfg.Worker.Lanes {
		declared := lane(l, d.cfg.Worker.Provers)
		name := strings.TrimSpace(string(l.Class) + " " + l.GPU)
		why := worker.Unfit(declared)
		switch _, known := provers[or(l.Prover, jobs.NativeProver)]; {
		case !known:
			d.fail("lanes", "make build-ffi", "lane %s: prover %s is not in this program", name, l.Prover)
		case why != "":
			d.fail("lanes", "nvidia-smi -L", "lane %s: %s", name, why)
		default:
			d.ok("lanes", "lane %s can run here with prover %s", name, declared.Prover)
		}
	}
}

// paths sees that they can be used, and that sealing paths hold what sdr lanes will fill.
func (d *doctor) paths(sectorSize uint64) {
	var room uint64
	sealing := false
	for _, configured := range d.cfg.Worker.Paths {
		p, err := files.OpenPath(configured.Dir)
		if err != nil {
			d.fail("paths", "lpseal storage attach "+configured.Dir, "%s", err)
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
	need := uint64(width) * jobs.SealingSpace(sectorSize)
	switch {
	case width > 0 && !sealing:
		d.fail("paths", "lpseal storage attach --init --seal DIR", "there are sdr lanes, and no path for sealing")
	case need > room:
		d.warn("paths", "free space, add a path or take width from the lane", "%d sectors in sdr lanes need %s, and the sealing paths have %s", width, humanize.IBytes(need), humanize.IBytes(room))
	}
}
