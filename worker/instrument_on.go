//go:build crashpoints

package worker

import (
	"context"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
)

// instrument gives a stage its mid-work crash points: some output exists, no result
// does. They lie where progress tells of a second step (layer 1 is finished when
// layer 2 begins), where a prover has written and the stage has not yet sealed what
// it wrote, and between a chain stage's offer and its send.
func instrument(env *jobs.Env, role crash.Role, stage jobs.Stage) *jobs.Env {
	mine := *env
	half := func() { crash.At(role, stage, crash.MidWork) }
	report := env.Progress
	var mu sync.Mutex
	first := ""
	mine.Progress = func(p jobs.Progress) {
		report(p)
		mu.Lock()
		defer mu.Unlock()
		if first == "" {
			first = p.Step
		}
		if p.Step != first {
			half()
		}
	}
	if env.Prover != nil {
		mine.Prover = crashingProver{env.Prover, half}
	}
	if env.Chain != nil {
		mine.Chain = crashingChain{env.Chain, half}
	}
	return &mine
}

type crashingProver struct {
	jobs.Prover
	half func()
}

func (p crashingProver) TreeD(ctx context.Context, proof abi.RegisteredSealProof, cache string, pieces []jobs.PieceReader, report func(jobs.Progress)) (cid.Cid, error) {
	defer p.half()
	return p.Prover.TreeD(ctx, proof, cache, pieces, report)
}

func (p crashingProver) SDR(ctx context.Context, s jobs.Seal, cache string, report func(jobs.Progress)) error {
	defer p.half()
	return p.Prover.SDR(ctx, s, cache, report)
}

func (p crashingProver) TreeRC(ctx context.Context, s jobs.Seal, f jobs.Folders, report func(jobs.Progress)) (cid.Cid, error) {
	defer p.half()
	return p.Prover.TreeRC(ctx, s, f, report)
}

func (p crashingProver) C1(ctx context.Context, s jobs.Seal, f jobs.Folders) ([]byte, error) {
	defer p.half()
	return p.Prover.C1(ctx, s, f)
}

func (p crashingProver) C2(ctx context.Context, s jobs.Seal, c1 []byte) ([]byte, error) {
	defer p.half()
	return p.Prover.C2(ctx, s, c1)
}

type crashingChain struct {
	jobs.Chain
	half func()
}

func (c crashingChain) SendPreCommits(ctx context.Context, batch string, rs []jobs.PreCommitRequest) ([]jobs.Sent, error) {
	c.half()
	return c.Chain.SendPreCommits(ctx, batch, rs)
}

func (c crashingChain) SendCommits(ctx context.Context, batch string, rs []jobs.CommitRequest, agg jobs.Aggregator) ([]jobs.Sent, error) {
	c.half()
	return c.Chain.SendCommits(ctx, batch, rs, agg)
}
