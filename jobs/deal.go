package jobs

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// Deal is a piece that a market wants sealed, in whatever sector it fits.
type Deal struct {
	ID           string      `json:"id"` // the market's
	Miner        abi.ActorID `json:"miner"`
	Piece        Piece       `json:"piece"`
	KeepUnsealed bool        `json:"keep_unsealed,omitempty"`
	// Home is the sealing path on whose host a file source lies; empty for URLs, which
	// every host can read.
	Home     string    `json:"home,omitempty"`
	Received time.Time `json:"received"`
}

// ValidDealID says that a market's name for a deal can be one of ours: part of keys and URLs.
func ValidDealID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, c := range id {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == ':':
		default:
			return false
		}
	}
	return id != "." && id != ".."
}

// DealState is how far a deal has come.
type DealState string

// The deal states. Once it has a sector, a deal goes where the sector goes.
const (
	DealWaiting   DealState = "waiting"   // for others to fill its sector with
	DealRefused   DealState = "refused"   // it cannot be sealed any more; Why says why
	DealSealing   DealState = "sealing"   // its sector is in the pipeline
	DealHeld      DealState = "held"      // its sector waits for a person
	DealCommitted DealState = "committed" // the chain has its sector
	DealRemoved   DealState = "removed"   // its sector was given up
)

// DealStatus answers where a deal is.
type DealStatus struct {
	ID    string      `json:"id"`
	State DealState   `json:"state"`
	Why   string      `json:"why,omitempty"`
	Place *PiecePlace `json:"place,omitempty"` // nil until it has a sector
}

// StatusOf judges a deal by the record of its sector, nil while it has none.
func StatusOf(d *Deal, r *Record) DealStatus {
	s := DealStatus{ID: d.ID, State: DealWaiting}
	if r == nil {
		return s
	}
	if places := PlacesOf(r, d.Piece.CID); len(places) > 0 {
		s.Place = &places[0]
	}
	switch {
	case r.Outcome == Removed || r.Abandoned:
		s.State = DealRemoved
	case r.Activation != 0:
		s.State = DealCommitted
	case r.Hold != nil:
		s.State, s.Why = DealHeld, r.Hold.Reason
	default:
		s.State = DealSealing
	}
	return s
}

// Packing is deals that go into one sector together.
type Packing struct {
	Deals []Deal // in the order of their pieces
	// Why they go now; empty: they wait for more, until Until at the latest.
	Why   string
	Until time.Time
}

// Filled is how much of the sector the deals' pieces take.
func (b *Packing) Filled() abi.PaddedPieceSize {
	_, end := Layout(piecesOf(b.Deals))
	return end
}

// Forming is a sector to be, that deals wait to fill.
type Forming struct {
	Packing
	Miner abi.ActorID
	Size  abi.SectorSize
}

// Pack puts the waiting deals of one miner into sectors, and says which of those are to be
// sealed now: full ones, those with a deal that has waited for PackWait, and those with
// one that starts within PackSlack. Large pieces come first, so that none leaves a gap
// before it; every scheduler decides the same.
func Pack(deals []Deal, size abi.SectorSize, f *Facts, p *Policy) []Packing {
	deals = slices.Clone(deals)
	slices.SortFunc(deals, func(a, b Deal) int {
		return cmp.Or(
			-cmp.Compare(a.Piece.Size, b.Piece.Size),
			cmp.Compare(uint64(a.Piece.Terms.Start-1), uint64(b.Piece.Terms.Start-1)), // no start comes last
			a.Received.Compare(b.Received), cmp.Compare(a.ID, b.ID),
		)
	})
	var bins []Packing
	for _, d := range deals {
		i := slices.IndexFunc(bins, func(b Packing) bool { return fits(b.Deals, d, size, f) })
		if i < 0 {
			bins, i = append(bins, Packing{}), len(bins)
		}
		bins[i].Deals = append(bins[i].Deals, d)
	}
	for i := range bins {
		bins[i].due(size, f, p)
	}
	return bins
}

// fits says that a deal may share a sector with others: there is room, they lie on the same
// host, are kept alike, some life of the sector suits them all, and one message can commit them.
func fits(others []Deal, d Deal, size abi.SectorSize, f *Facts) bool {
	first := others[0]
	if d.Home != first.Home || d.KeepUnsealed != first.KeepUnsealed {
		return false
	}
	pieces := piecesOf(others)
	if slices.ContainsFunc(pieces, func(p Piece) bool { return p.CID == d.Piece.CID }) {
		return false // one sector names a piece once
	}
	pieces = append(pieces, d.Piece)
	_, end := Layout(pieces)
	return end <= abi.PaddedPieceSize(size) && TermsOf(pieces).Check(f.Head.Epoch, f.Network.ChallengeDelay) == nil && Committable(pieces)
}

func piecesOf(deals []Deal) []Piece {
	pieces := make([]Piece, len(deals))
	for i, d := range deals {
		pieces[i] = d.Piece
	}
	return pieces
}

// due decides whether the sector is sealed now.
func (b *Packing) due(size abi.SectorSize, f *Facts, p *Policy) {
	start := TermsOf(piecesOf(b.Deals)).Start
	for _, d := range b.Deals {
		if until := d.Received.Add(p.PackWait); b.Until.IsZero() || until.Before(b.Until) {
			b.Until = until
		}
	}
	switch {
	case b.Filled() == abi.PaddedPieceSize(size):
		b.Why = "the sector is full"
	case start != 0 && start-p.PackSlack <= f.Head.Epoch:
		b.Why = fmt.Sprintf("a deal starts at epoch %d", start)
	case !f.Now.Before(b.Until):
		b.Why = fmt.Sprintf("a deal has waited for %s", p.PackWait)
	case start != 0:
		if at := f.Now.Add(epochs(start-p.PackSlack-f.Head.Epoch, &f.Network)); at.Before(b.Until) {
			b.Until = at
		}
	}
}

// Plan says which deals one sector is to hold. It is written before any of them is
// assigned to it and closed with those that were: only a closed plan makes a record, and
// one that was never closed is given up and sets its deals free (as rule 12 has it for
// batches).
type Plan struct {
	State PlanState               `json:"state"`
	Proof abi.RegisteredSealProof `json:"proof"` // of the record, whoever makes it
	Deals []string                `json:"deals"`
	At    time.Time               `json:"at"`
}

// PlanState is how far a plan has come.
type PlanState string

// The plan states. The last two are for ever.
const (
	Planned PlanState = "planned"
	Closed  PlanState = "closed"
	GivenUp PlanState = "given-up"
)
