package jobs

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// Commit sends the proof.
const Commit Stage = "commit"

var commit = Row{
	Stage:     Commit,
	Title:     "send ProveCommitSectors3; landed when the chain shows the sector at confidence",
	Classes:   []Class{ClassChain},
	Place:     AtChain,
	After:     []Stage{C2, Store},
	InputFrom: C2,
	Timeout:   30 * time.Minute,
	MaxRetry:  16,
	Do:        doCommit,
}

func doCommit(ctx context.Context, env *Env, r *Record) (*Result, error) {
	if bytes.HasPrefix(r.PoRep, []byte(VanillaTag)) {
		vanilla, err := env.Files.LoadC1(ctx, r)
		if err != nil {
			return nil, err
		}
		if err := env.Chain.OfferVanilla(ctx, r.ID, vanilla); err != nil {
			return nil, fmt.Errorf("offer the vanilla proof: %w", err)
		}
	}
	m := r.Meaning(Commit)
	sent, err := env.Chain.SendCommits(ctx, m.Alone(), []CommitRequest{{Meaning: m, Seal: r.Seal(), Pieces: r.Pieces, Proof: r.PoRep}}, nil)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return sent[0].result("commit")
}
