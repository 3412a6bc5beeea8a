package jobs

import (
	"context"
	"fmt"
	"io"
	"time"
)

// TreeRC hashes the columns, encodes the replica and builds its tree.
const TreeRC Stage = "tree_rc"

var treeRC = Row{
	Stage:     TreeRC,
	Title:     "tree-c, tree-r, the sealed file, synthetic proofs if they are wanted; three vanilla proofs as a self-check",
	Classes:   []Class{ClassGPU, ClassCPU},
	Place:     AtHome,
	After:     []Stage{TreeD, SDR},
	InputFrom: SDR,
	Heavy:     true,
	Timeout:   6 * time.Hour,
	MaxRetry:  8,
	Do:        doTreeRC,
}

// selfChecks is how many vanilla proofs with random seeds must pass before money
// is put on a replica, as lotus and Curio do after PC2.
const selfChecks = 3

func doTreeRC(ctx context.Context, env *Env, r *Record) (*Result, error) {
	home, err := env.Files.Home(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := env.Files.CheckSealed(ctx, r, TreeDFile); err != nil {
		return nil, inputOf(err, TreeD)
	}
	if err := env.Files.CheckSealed(ctx, r, LayerFiles(r.Proof)...); err != nil {
		return nil, inputOf(err, SDR)
	}
	seal := r.Seal()
	commR, err := env.Prover.TreeRC(ctx, seal, home, env.Progress)
	if err != nil {
		return nil, err
	}
	if r.PreCommitted() && commR != r.CommR {
		return nil, Failf(Rejected, "the redone replica has CommR %s, but %s is on chain: all files are kept, do not delete anything", commR, r.CommR)
	}
	seal.CommR = commR
	for i := range selfChecks {
		seal.Seed = make([]byte, 32)
		if _, err := io.ReadFull(env.Rand, seal.Seed); err != nil {
			return nil, fmt.Errorf("random seed: %w", err)
		}
		if _, err := env.Prover.C1(ctx, seal, home); err != nil {
			return nil, fmt.Errorf("self-check %d of %d: %w", i+1, selfChecks, err)
		}
	}
	_, err = env.Files.Seal(ctx, r, ReplicaFiles(r.Proof)...)
	return &Result{CommR: commR}, err
}
