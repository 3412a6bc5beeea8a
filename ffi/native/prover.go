package native

import (
	"os"
	"runtime"

	"github.com/lpseal/lpseal/jobs"
)

// Options configure a [Prover].
type Options struct {
	// Threads bounds the goroutines that compute at the same time; 0 means one for
	// each processor. Labels of one layer depend on each other and use one only.
	Threads int
	// ParentCache is the folder of parent caches, the same as rust-fil-proofs uses: SDR
	// reads the graph from its file there, and writes the file if need be. Empty means
	// $FIL_PROOFS_PARENT_CACHE, and if that is empty too, the graph is kept in memory:
	// 1.75 times the sector.
	ParentCache string
}

// Prover is the pure-Go backend. It has no state: one serves any number of sectors
// at once, each call with its own threads and memory.
type Prover struct {
	threads int
	parents string // folder, or empty
	keys    string // folder, or empty
}

var _ jobs.Prover = (*Prover)(nil)

// New makes a Prover.
func New(o Options) *Prover {
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.ParentCache == "" {
		o.ParentCache = os.Getenv("FIL_PROOFS_PARENT_CACHE")
	}
	return &Prover{threads: o.Threads, parents: o.ParentCache}
}

// Name tells the backend in configuration and logs.
func (*Prover) Name() string { return jobs.NativeProver }

// tell reports how many nodes of a step are done.
func tell(report func(jobs.Progress), step string, done, total int) {
	if report != nil {
		report(jobs.Progress{Step: step, Done: uint64(done) * nodeSize, Total: uint64(total) * nodeSize})
	}
}
