package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/jobs"
)

// provers are the proof backends in this program, by the name that a lane gives. The native
// one always is; others come with build tags.
var provers = map[string]func(threads int) jobs.Prover{
	jobs.NativeProver: func(threads int) jobs.Prover { return native.New(native.Options{Threads: threads}) },
}

func newProver(l configs.Lane) (jobs.Prover, error) {
	name := or(l.Prover, jobs.NativeProver)
	build, ok := provers[name]
	if !ok {
		return nil, fmt.Errorf("prover %s is not in this program, which has %s: build it with -tags %s",
			name, strings.Join(slices.Sorted(maps.Keys(provers)), ", "), name)
	}
	return build(l.Threads), nil
}

// lane is a configured lane as the domain knows it.
func lane(l configs.Lane) jobs.Lane {
	return jobs.Lane{Class: l.Class, GPU: l.GPU, Device: l.Device, Width: max(l.Width, 1), Prover: or(l.Prover, jobs.NativeProver)}
}
