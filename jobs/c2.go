package jobs

import (
	"context"
	"time"
)

// C2 makes the proof that goes on chain.
const C2 Stage = "c2"

var c2 = Row{
	Stage:     C2,
	Title:     "SNARK from the vanilla proof, verified here before it is offered",
	Classes:   []Class{ClassGPU},
	Place:     Anywhere,
	After:     []Stage{C1},
	InputFrom: C1,
	Heavy:     true,
	Sharing:   InTurn,
	Timeout:   6 * time.Hour,
	MaxRetry:  8,
	Do:        doC2,
}

func doC2(ctx context.Context, env *Env, r *Record) (*Result, error) {
	vanilla, err := env.Files.LoadC1(ctx, r)
	if err != nil {
		return nil, err
	}
	seal := r.Seal() // CommR is the one on chain: frozen since the pre-commit landed
	proof, err := env.Prover.C2(ctx, seal, vanilla)
	if err != nil {
		return nil, err
	}
	if err := env.Prover.Verify(ctx, seal, proof, vanilla); err != nil {
		return nil, inputOf(err, C1)
	}
	return &Result{PoRep: proof}, nil
}
