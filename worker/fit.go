package worker

import (
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// Unfit says why this host cannot serve a lane: the GPU that its prover needs is not
// shown. It is empty if the host can.
func Unfit(l jobs.Lane) string { return gpuMissing(l, hostGPUs) }

// Unable says which stages a lane could never run on a host, even alone: all of them
// at once. sealsHere says that the host serves a sealing path.
func Unable(l jobs.Lane, c jobs.Capacity, proof abi.RegisteredSealProof, sealsHere bool) error {
	var errs []error
	for _, s := range jobs.HeavyStages(l.Class, sealsHere) {
		if missing := c.Short(l.NeedOf(s, proof, c.Cores), jobs.Need{}); missing != "" {
			size, _ := proof.SectorSize()
			errs = append(errs, fmt.Errorf("a %s lane can never run %s of sectors of %s by %s here: it lacks %s",
				l.Class, s, jobs.Bytes(uint64(size)), l.ProverOf(s), missing))
		}
	}
	return errors.Join(errs...)
}

// environment is what a lane's proof processes have beside the worker's own: the
// lane's variables, and its GPU alone.
func environment(l jobs.Lane) []string {
	env := l.Env[:len(l.Env):len(l.Env)]
	switch l.Device {
	case "":
		return env
	case jobs.NoGPU:
		return append(env, "CUDA_VISIBLE_DEVICES=", "BELLMAN_NO_GPU=1")
	}
	return append(env, "CUDA_VISIBLE_DEVICES="+l.Device)
}
