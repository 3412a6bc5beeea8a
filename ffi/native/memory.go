package native

import (
	"github.com/dustin/go-humanize"

	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/internal/memory"
	"github.com/lpseal/lpseal/jobs"
)

// sdrMemory is what labelling sectors in lockstep holds, in bytes, as the package's table
// says: two layers of each with windows and pieces of files, and the parents of all nodes
// where no file has them.
func (p *Prover) sdrMemory(g *sdr.Graph, sectors int) uint64 {
	size := uint64(g.Nodes()) * nodeSize
	need := (2*size + 4<<20) * uint64(sectors)
	if !p.cachesParents(g) {
		need += size / nodeSize * sdr.Parents * 4
	}
	return need
}

// checkMemory refuses what the machine has not the memory for: it would be killed in the
// middle, or slow every other sector down by swapping.
func checkMemory(need uint64) error {
	available, known := memory.Available()
	if !known || need <= available {
		return nil
	}
	return jobs.Failf(jobs.Busy, "labelling needs %s of memory and %s are available: wait for other work, or give the lane a machine with more",
		humanize.IBytes(need), humanize.IBytes(available))
}
