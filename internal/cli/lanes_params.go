package cli

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/internal/params"
	"github.com/lpseal/lpseal/jobs"
)

const (
	// paramsLook is how often a worker looks at its proof parameters. Files that did not
	// change are not read again.
	paramsLook = 15 * time.Second
	// paramsPatience is how long a starting worker waits for the first look: files whose
	// digests are known take no time, others minutes.
	paramsPatience = 2 * time.Second
)

// watchParameters looks at the proof parameters while the worker runs, if a lane makes
// SNARKs, and says of each lane why its proofs would not count. So nothing is sealed or
// paid for while they are missing, damaged, or made for tests and the network is a public
// one: long before c2 would find out.
func (c *cluster) watchParameters(ctx context.Context, s surroundings, lanes []jobs.Lane) func(jobs.Lane) string {
	if !slices.ContainsFunc(lanes, makesSNARKs) {
		return func(jobs.Lane) string { return "" }
	}
	var said atomic.Pointer[string]
	say := func(text string) { said.Store(&text) }
	say("proof parameters are being checked")
	looked := make(chan struct{})
	go func() {
		check := proofParameters(s.network.Name, params.Proving, c.logs.of("prover").Warn)
		for first := true; ; first = false {
			say(parametersLack(ctx, params.DefaultDir(), s.proofs, check))
			if first {
				close(looked)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(paramsLook):
			}
		}
	}()
	select {
	case <-looked:
	case <-ctx.Done():
	case <-time.After(paramsPatience):
	}
	return func(l jobs.Lane) string {
		if !makesSNARKs(l) {
			return ""
		}
		return *said.Load()
	}
}

func makesSNARKs(l jobs.Lane) bool {
	return l.Class == jobs.ClassGPU && l.ProverOf(jobs.C2) != jobs.NativeProver
}

// parametersLack says why sectors of these proof types cannot be proven; without types,
// those of any size that the folder has parameters of.
func parametersLack(ctx context.Context, dir params.Dir, proofs []abi.RegisteredSealProof, check func(context.Context, abi.SectorSize) error) string {
	var sizes []abi.SectorSize
	for _, proof := range proofs {
		size, err := proof.SectorSize()
		if err != nil {
			return err.Error()
		}
		sizes = append(sizes, size)
	}
	if len(proofs) == 0 {
		all, err := dir.List(params.Files(nil, params.PoRep))
		if err != nil {
			return err.Error()
		}
		for _, f := range all {
			if f.State != params.Missing && !slices.Contains(sizes, f.SectorSize) {
				sizes = append(sizes, f.SectorSize)
			}
		}
		if len(sizes) == 0 {
			return fmt.Sprintf("no proof parameters in %s: run lpseal params fetch", dir)
		}
	}
	for _, size := range sizes {
		if err := check(ctx, size); err != nil {
			return jobs.TextOf(err)
		}
	}
	return ""
}
