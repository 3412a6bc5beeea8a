package native

import (
	"github.com/dustin/go-humanize"

	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/jobs"
)

// sdrMemory is what labelling sectors in lockstep holds, in bytes: two layers of each, the
// parents of all nodes or a window of them, and a piece for each writer.
func (p *Prover) sdrMemory(g *sdr.Graph, sectors int) uint64 {
	size := uint64(g.Nodes()) * nodeSize
	need := 2*size*uint64(sectors) + uint64(sectors)*2*pieceNodes*nodeSize
	if p.cachesParents(g) {
		return need + 3<<20
	}
	return need + size/nodeSize*sdr.Parents*4
}

// checkMemory refuses what the machine has not the memory for: it would be killed in the
// middle, or slow every other sector down by swapping.
func checkMemory(need uint64) error {
	available, known := availableMemory()
	if !known || need <= available {
		return nil
	}
	return jobs.Failf(jobs.Busy, "labelling needs %s of memory and %s are available: wait for other work, or give the lane a machine with more",
		humanize.IBytes(need), humanize.IBytes(available))
}
