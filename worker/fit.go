package worker

import "github.com/lpseal/lpseal/jobs"

// Unfit says why this host cannot serve a lane: the GPU that its prover needs is not
// shown. It is empty if the host can.
func Unfit(l jobs.Lane) string { return gpuMissing(l, hostGPUs) }
