package jobs

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// C1 opens the challenged nodes: the vanilla proof.
const C1 Stage = "c1"

var c1 = Row{
	Stage:   C1,
	Title:   "vanilla proof for the chain's seed",
	Classes: []Class{ClassCPU},
	Place:   AtHome,
	// A roll-back of tree_rc leaves a pre-commit that is on chain as it is, so the
	// replica must be asked for by itself.
	After:     []Stage{TreeRC, PreCommit},
	Ready:     seedReady,
	Draw:      DrawSeed,
	InputFrom: TreeRC,
	Heavy:     true,
	Timeout:   2 * time.Hour,
	MaxRetry:  8,
	Do:        doC1,
}

// SeedEpoch is the epoch whose randomness challenges the replica: counted from the
// pre-commit's epoch in state, by the network's own delay.
func (r *Record) SeedEpoch(n *Network) int64 {
	return int64(r.PreCommitEpoch + n.ChallengeDelay)
}

// seedReady waits for the pre-commit and then for the seed, at confidence.
func seedReady(r *Record, f *Facts, p *Policy) Reason {
	if !r.PreCommitted() {
		m := f.Messages[PreCommit]
		return Reason{Text: fmt.Sprintf("the pre-commit message is %s; waiting for it to land at confidence", orUnknown(m.State))}
	}
	if r.Seed.Value != nil {
		return Reason{}
	}
	if left := r.PreCommitEpoch + f.Network.ChallengeDelay + p.SeedConfidence - f.Head.Epoch; left >= 0 {
		return Reason{
			Text: fmt.Sprintf("waiting for the seed of epoch %d (head %d, %d epochs of confidence)", r.SeedEpoch(&f.Network), f.Head.Epoch, p.SeedConfidence),
			Look: f.Now.Add(epochs(left+1, &f.Network)),
		}
	}
	return Reason{}
}

func orUnknown(s MessageState) MessageState {
	if s == MessageNone {
		return "not known to the node yet"
	}
	return s
}

func doC1(ctx context.Context, env *Env, r *Record) (*Result, error) {
	home, err := env.Files.Home(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := env.Files.CheckSealed(ctx, r, ProvenFiles(r.Proof)...); err != nil {
		return nil, err
	}
	out, err := env.Prover.C1(ctx, r.Seal(), home)
	if err != nil {
		return nil, err
	}
	digest, err := env.Files.SaveC1(ctx, r, out)
	return &Result{C1Digest: digest}, err
}

// SeedHolds sees that the chain's seed, that of an epoch, is the one that the vanilla proof
// answers. It is asked before a SNARK is made of the proof, and before that is sent: a
// reorganisation deeper than the confidence at which the seed was drawn changes it.
func SeedHolds(ctx context.Context, chain Chain, r *Record, epoch abi.ChainEpoch) error {
	seed, err := chain.Seed(ctx, r.ID.Miner, epoch)
	if err != nil || bytes.Equal(seed, r.Seed.Value) {
		return err
	}
	f := Failf(Input, "the chain's seed of epoch %d is %x, and the proof is of %x: a reorganisation changed it, so the proof is made again", epoch, seed, r.Seed.Value)
	f.From = C1
	return f
}
