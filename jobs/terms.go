package jobs

import (
	"cmp"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
)

// Terms are what allocations and deals demand of the sector that holds their pieces, in
// epochs. 0 demands nothing.
type Terms struct {
	// Start is the last epoch at which the sector may be committed: a deal's start, or the
	// end of an allocation.
	Start abi.ChainEpoch `json:"start,omitempty"`
	// End is the epoch to which the sector must live at least: a deal's end.
	End abi.ChainEpoch `json:"end,omitempty"`
	// LifeMin and LifeMax bound the sector's life from its commitment on: an allocation's term.
	LifeMin abi.ChainEpoch `json:"life_min,omitempty"`
	LifeMax abi.ChainEpoch `json:"life_max,omitempty"`
}

// And gives the terms that fulfil both.
func (t Terms) And(o Terms) Terms {
	return Terms{
		Start: sooner(t.Start, o.Start), End: max(t.End, o.End),
		LifeMin: max(t.LifeMin, o.LifeMin), LifeMax: sooner(t.LifeMax, o.LifeMax),
	}
}

// sooner is the lower of two epochs of which 0 means none.
func sooner(a, b abi.ChainEpoch) abi.ChainEpoch {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// TermsOf are the terms of a sector with these pieces.
func TermsOf(pieces []Piece) (t Terms) {
	for _, p := range pieces {
		t = t.And(p.Terms)
	}
	return t
}

// CommitDeadline is the last epoch at which the sector may be committed: the end of its
// pre-commit or, if that is sooner, the start of its deals and the end of its allocations.
// 0 means that nothing presses yet.
func CommitDeadline(r *Record) abi.ChainEpoch {
	return sooner(r.CommitDeadline, TermsOf(r.Pieces).Start)
}

// MaxProveCommit is how long after its pre-commit a sector's proof may land: 30 days and
// the network's challenge delay (FIP-0013).
func MaxProveCommit(delay abi.ChainEpoch) abi.ChainEpoch { return 30*builtin.EpochsInDay + delay }

// landingMargin is how many epochs a pre-commit may wait in the mempool without its
// expiration becoming too near (2 h at 30 s).
const landingMargin = 240

// Expirations bounds the expiration of a sector that is pre-committed at head: what the
// miner actor accepts at whatever epoch the messages may then land, narrowed by the terms.
// There is none if soonest is above latest.
//
// The message may be executed at an epoch before head: a node's mempool is behind its chain
// for a moment, another node is epochs behind, and a reorganisation takes the head back. The
// longest life is counted from the earliest that the chain can fall back to.
func (t Terms) Expirations(head, delay abi.ChainEpoch) (soonest, latest abi.ChainEpoch) {
	soonest = head + landingMargin + MaxProveCommit(delay) + max(miner.MinSectorExpiration, t.LifeMin)
	earliest := head - miner.ChainFinality
	latest = earliest + miner.MaxSectorExpirationExtension
	if t.LifeMax != 0 {
		// The proof lands after the challenge delay, and the life counts from there.
		latest = min(latest, earliest+delay+t.LifeMax)
	}
	return max(soonest, t.End), latest
}

// Expiration is the acceptable expiration nearest to the one that is wanted; wanted 0 is
// the longest.
func (t Terms) Expiration(head, delay, wanted abi.ChainEpoch) abi.ChainEpoch {
	soonest, latest := t.Expirations(head, delay)
	return min(max(cmp.Or(wanted, latest), soonest), latest)
}

// Check tells of terms that a sector which is sealed from head on cannot fulfil.
func (t Terms) Check(head, delay abi.ChainEpoch) error {
	if t.Start != 0 && t.Start <= head+delay {
		return Failf(Deadline, "it must be committed by epoch %d, and from head %d the proof alone takes %d epochs more", t.Start, head, delay)
	}
	if soonest, latest := t.Expirations(head, delay); soonest > latest {
		return Failf(Rejected, "no sector lives as demanded: it would have to expire at epoch %d at the soonest, and at %d at the latest", soonest, latest)
	}
	return nil
}

// lateForDeals sees that the sector can no longer be committed before its deals start: before a
// deposit is paid for it (design rule 6), and before gas is.
func lateForDeals(r *Record, f *Facts, p *Policy) (Action, Reason) {
	start := TermsOf(r.Pieces).Start
	if start == 0 || r.Abandoned || r.Activation != 0 {
		return pass()
	}
	next, soonest := Commit, f.Head.Epoch+1
	if !r.PreCommitted() {
		next, soonest = PreCommit, soonest+f.Network.ChallengeDelay+p.SeedConfidence
	}
	if r.Stage(next).State == Done || inFlight(r, next, f) {
		return pass() // its message decides
	}
	if soonest <= start {
		return pass()
	}
	text := fmt.Sprintf("deal start passed: the sector had to be committed by epoch %d and cannot be before epoch %d (head %d)", start, soonest, f.Head.Epoch)
	for i, piece := range r.Pieces {
		if piece.Terms.Start == start {
			text += fmt.Sprintf("; piece %d (%s)", i, piece.CID)
		}
	}
	text += ": release it with --drop-deals to commit it as plain data, or remove it"
	return act(Held{Hold{Reason: text, Class: Deadline, Stage: Commit}}), Reason{Text: text}
}
