package jobs

import (
	"context"
	"fmt"
	"time"
)

// PreCommit sends the replica's commitment, and with it a deposit.
const PreCommit Stage = "precommit"

var preCommit = Row{
	Stage:   PreCommit,
	Title:   "send PreCommitSectorBatch2; landed when the chain shows it at confidence",
	Classes: []Class{ClassChain},
	Place:   AtChain,
	After:   []Stage{TreeRC},
	// No deposit is paid before the layers of a synthetic sector are gone: nothing
	// that comes later is made from them.
	AfterSynthetic: []Stage{TreeRC, DropLayers},
	Ready:          preCommitReady,
	InputFrom:      TreeRC,
	Timeout:        30 * time.Minute,
	MaxRetry:       16,
	DoBatch:        doPreCommits,
}

// preCommitReady checks before money is paid that the proof can be made at all. A fleet
// whose provers are away comes back in time; one that cannot prove may not.
func preCommitReady(r *Record, f *Facts, _ *Policy) Reason {
	if why, lanes, _ := provable(f); lanes > 0 {
		return why
	}
	return Reason{}
}

func doPreCommits(ctx context.Context, env *Env, batch string, rs []*Record) ([]Sent, error) {
	return sendTogether(ctx, rs, func(r *Record) (PreCommitRequest, error) {
		return PreCommitRequest{
			Meaning:     r.Meaning(PreCommit),
			Seal:        r.Seal(),
			TicketEpoch: r.Ticket.Epoch,
			CC:          r.CC(),
			Expiration:  r.Expiration,
			Terms:       TermsOf(r.Pieces),
		}, checkPieces(ctx, env, r)
	}, func(requests []PreCommitRequest) ([]Sent, error) {
		return env.Chain.SendPreCommits(ctx, batch, requests)
	})
}

// checkPieces sees that what the pieces claim is still there: an allocation that another
// sector claimed, or a deal that was never published, would fail the proof after the
// deposit is paid (design rule 6).
func checkPieces(ctx context.Context, env *Env, r *Record) error {
	for i, p := range r.Pieces {
		if _, err := env.Chain.PieceTerms(ctx, r.ID.Miner, p); err != nil {
			return fmt.Errorf("piece %d (%s): %w", i, p.CID, err)
		}
	}
	return nil
}
