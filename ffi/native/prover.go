package native

import (
	"runtime"

	"github.com/lpseal/lpseal/jobs"
)

// Options configure a [Prover].
type Options struct {
	// Threads bounds the goroutines that compute at the same time; 0 means one for
	// each processor. Labels of one layer depend on each other and use one only.
	Threads int
}

// Prover is the pure-Go backend. It has no state: one serves any number of sectors
// at once, each call with its own threads and memory.
type Prover struct {
	threads int
	keys    string // folder, or empty
}

var _ jobs.Prover = (*Prover)(nil)

// New makes a Prover.
func New(o Options) *Prover {
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	return &Prover{threads: o.Threads}
}

// Name tells the backend in configuration and logs.
func (*Prover) Name() string { return jobs.NativeProver }

// tell reports how many nodes of a step are done.
func tell(report func(jobs.Progress), step string, done, total int) {
	if report != nil {
		report(jobs.Progress{Step: step, Done: uint64(done) * nodeSize, Total: uint64(total) * nodeSize})
	}
}
