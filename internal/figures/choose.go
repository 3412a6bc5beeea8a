package figures

import (
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// Question is what a choice depends on.
type Question struct {
	Stage jobs.Stage
	// Proof is the type of the sectors to come; negative while it is not known.
	Proof   abi.RegisteredSealProof
	Threads int // of the lane
	// Embedded says that the connected node is the embedded one.
	Embedded bool
	// Builds are the provers in this program by name, each with its build.
	Builds  map[string]string
	CPU     string
	Figures []Figure
}

// Choose says which prover makes a stage, and why:
//
//   - the only one there is;
//   - for c2 the one whose proof the network takes;
//   - for tree_d the native one, for filecoin-ffi makes no data tree by itself;
//   - the faster one, where this very program was measured on this CPU: by figures for
//     the same sector size if there are, else the largest one, and for the lane's
//     threads before others;
//   - without such figures the production prover.
func Choose(q Question) jobs.LaneStage {
	answer := func(prover, why string, args ...any) jobs.LaneStage {
		return jobs.LaneStage{Stage: q.Stage, Prover: prover, Why: fmt.Sprintf(why, args...)}
	}
	production := ""
	for name := range q.Builds {
		if name != jobs.NativeProver {
			production = name
		}
	}
	switch {
	case production == "":
		return answer(jobs.NativeProver, "the only prover in this program")
	case q.Stage == jobs.C2 && q.Embedded:
		return answer(jobs.NativeProver, "the embedded node takes vanilla proofs, which need no parameters")
	case q.Stage == jobs.C2:
		return answer(production, "a real network takes SNARKs only")
	case q.Stage == jobs.TreeD:
		return answer(jobs.NativeProver, "%s makes no data tree by itself", production)
	}
	native, other, found := q.best(production)
	switch {
	case found && native.NS <= other.NS:
		return answer(jobs.NativeProver, "faster: %s", compare(native, other))
	case found:
		return answer(production, "faster: %s", compare(other, native))
	case slices.ContainsFunc(q.Figures, func(f Figure) bool { return f.Stage == q.Stage }):
		return answer(production, "the figures are of one prover only, or of another program or CPU: lpseal bench seal --backend %s, and %s, measure again", jobs.NativeProver, production)
	}
	return answer(production, "not measured: lpseal bench seal --backend %s, and %s, measure", jobs.NativeProver, production)
}

func compare(a, b Figure) string {
	size, err := a.Proof.SectorSize()
	if err != nil {
		size = 0
	}
	threads := "1 thread"
	if a.Threads != 1 {
		threads = fmt.Sprintf("%d threads", a.Threads)
	}
	return fmt.Sprintf("%s against %s of %s at %s with %s, measured %s",
		took(a), took(b), b.Prover, jobs.Bytes(uint64(size)), threads, a.At.UTC().Format(time.DateOnly))
}

func took(f Figure) time.Duration {
	return time.Duration(f.NS).Round(10 * time.Microsecond)
}

// best finds the pair of figures that tells most about the question.
func (q Question) best(production string) (native, other Figure, found bool) {
	type pair struct{ native, other Figure }
	var pairs []pair
	for _, n := range q.counting(jobs.NativeProver) {
		for _, o := range q.counting(production) {
			if n.Proof == o.Proof && n.Threads == o.Threads {
				pairs = append(pairs, pair{n, o})
			}
		}
	}
	if len(pairs) == 0 {
		return native, other, false
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		for _, by := range []int{
			first(q.sameSize(a.native), q.sameSize(b.native)),
			first(a.native.Threads == q.Threads, b.native.Threads == q.Threads),
			int(sizeOf(b.native)>>10) - int(sizeOf(a.native)>>10),
			b.native.Threads - a.native.Threads,
		} {
			if by != 0 {
				return by
			}
		}
		return int(b.native.Proof - a.native.Proof)
	})
	return pairs[0].native, pairs[0].other, true
}

// counting are a prover's figures of this stage, program and CPU.
func (q Question) counting(prover string) (out []Figure) {
	for _, f := range q.Figures {
		if f.Stage == q.Stage && f.Prover == prover && f.CPU == q.CPU && f.Build == q.Builds[prover] && f.NS > 0 {
			out = append(out, f)
		}
	}
	return out
}

func (q Question) sameSize(f Figure) bool {
	want, err := q.Proof.SectorSize()
	return err == nil && want == sizeOf(f)
}

func sizeOf(f Figure) abi.SectorSize {
	size, err := f.Proof.SectorSize()
	if err != nil {
		return 0
	}
	return size
}

// first orders what is true before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
