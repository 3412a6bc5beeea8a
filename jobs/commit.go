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
	DoBatch:   doCommits,
}

func doCommits(ctx context.Context, env *Env, batch string, rs []*Record) ([]Sent, error) {
	return sendTogether(ctx, rs, func(r *Record) (CommitRequest, error) {
		if err := holdsOnChain(ctx, env.Chain, r); err != nil {
			return CommitRequest{}, err
		}
		return CommitRequest{Meaning: r.Meaning(Commit), Seal: r.Seal(), Pieces: r.Pieces, Proof: r.PoRep, Deadline: CommitDeadline(r)}, offer(ctx, env, r)
	}, func(requests []CommitRequest) ([]Sent, error) {
		return env.Chain.SendCommits(ctx, batch, requests, env.Aggregator)
	})
}

// offer gives the embedded node what a native proof stands for.
func offer(ctx context.Context, env *Env, r *Record) error {
	if !bytes.HasPrefix(r.PoRep, []byte(VanillaTag)) {
		return nil
	}
	vanilla, err := env.Files.LoadC1(ctx, r)
	if err != nil {
		return err
	}
	if err := env.Chain.OfferVanilla(ctx, r.ID, vanilla); err != nil {
		return fmt.Errorf("sector %s: offer the vanilla proof: %w", r.ID, err)
	}
	return nil
}

// holdsOnChain sees that the record's values, against which c2 verified the proof, are
// those that the chain will verify it against: nothing is offered that it must refuse.
// A reorganisation may have moved the pre-commit or changed its seed meanwhile. Where no
// pre-commit is at confidence there is nothing to compare with; then the node is behind, the
// sector is committed already, which the client sees, or the estimation refuses the message.
func holdsOnChain(ctx context.Context, chain Chain, r *Record) error {
	on, err := chain.OnChain(ctx, r.ID)
	switch {
	case err != nil:
		return err
	case on.PreCommit == nil && on.Sector == nil && on.AsOf <= r.PreCommitEpoch:
		return Failf(Transient, "the pre-commit landed at epoch %d, and what the node has settled ends at %d; waiting for it to sync", r.PreCommitEpoch, on.AsOf)
	case on.PreCommit == nil:
		return nil
	}
	pre := on.PreCommit
	differs := func(what string, ours, theirs any) error {
		return Failf(Rejected, "the proof is of %s %v, and the pre-commit on chain of %v: all files are kept", what, ours, theirs)
	}
	switch {
	case pre.CommR != r.CommR:
		return differs("CommR", r.CommR, pre.CommR)
	case pre.CommD.Defined() && pre.CommD != r.CommD:
		return differs("CommD", r.CommD, pre.CommD)
	case pre.TicketEpoch != r.Ticket.Epoch:
		return differs("the ticket of epoch", r.Ticket.Epoch, pre.TicketEpoch)
	}
	network, err := chain.Network(ctx)
	if err != nil {
		return err
	}
	ticket, err := chain.Ticket(ctx, r.ID.Miner, pre.TicketEpoch)
	if err != nil {
		return err
	}
	if !bytes.Equal(ticket, r.Ticket.Value) {
		return differs("ticket", fmt.Sprintf("%x", r.Ticket.Value), fmt.Sprintf("%x", ticket))
	}
	return SeedHolds(ctx, chain, r, pre.Epoch+network.ChallengeDelay)
}
