package scheduler

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/jobs"
)

// Request asks for new sectors.
type Request struct {
	Miner abi.ActorID
	// Count is how many sectors to make; 0 means 1. More than one only without
	// pieces: the same data is not sealed twice by one order.
	Count int
	// Pieces of the one sector, in order; none makes committed capacity.
	Pieces       []jobs.Piece
	KeepUnsealed bool
	Expiration   abi.ChainEpoch // 0 is the longest allowed
	Duration     abi.ChainEpoch // life from now on, instead of Expiration; 0 is none
	// Synthetic asks for synthetic proofs, also where the miner is not configured so.
	Synthetic bool
	// Home is the sealing path to use, because the pieces lie on its host already; empty
	// leaves the choice to the scheduler.
	Home string
}

// Add checks a request against the miner on chain and writes the sectors' records,
// which the scheduler then finds. by names who asked, for the log. Sectors made
// before an error are returned with it. Of several requests for one allocation or deal that
// come at a time one is granted, and the others are told why not.
func (s *Scheduler) Add(ctx context.Context, req Request, by string) ([]*jobs.Record, error) {
	done, err := s.turn(ctx, req.Pieces)
	if err != nil {
		return nil, fmt.Errorf("add: %w", err)
	}
	defer done(context.WithoutCancel(ctx))
	onChain, err := s.check(ctx, &req)
	if err != nil {
		return nil, fmt.Errorf("add: %w", err)
	}
	count := max(req.Count, 1)
	commD, err := jobs.CommD(onChain.SealProof, req.Pieces)
	if err != nil {
		return nil, fmt.Errorf("add: %w", err)
	}
	numbers, err := s.number(ctx, req.Miner, count)
	if err != nil {
		return nil, fmt.Errorf("add: %w", err)
	}
	var made []*jobs.Record
	for _, n := range numbers {
		r := &jobs.Record{
			ID:           jobs.SectorID{Miner: req.Miner, Number: n},
			Version:      1,
			Created:      s.clock.Now(),
			Proof:        onChain.SealProof,
			Pieces:       req.Pieces,
			KeepUnsealed: req.KeepUnsealed,
			Expiration:   req.Expiration,
			Home:         req.Home,
			CommD:        commD,
			Stages:       map[jobs.Stage]jobs.StageRecord{},
		}
		if err := s.create(ctx, r, by); err != nil {
			return made, fmt.Errorf("add %s: %w", r.ID, err)
		}
		if err := s.uncontested(ctx, r.Pieces, r.ID); err != nil { // since it was checked
			order := jobs.AbandonOrdered{Why: err.Error()}
			return made, fmt.Errorf("add %s: %w", r.ID, errors.Join(err, s.Order(ctx, r.ID, order, by)))
		}
		made = append(made, r)
	}
	return made, nil
}

// turn keeps requests apart that may want the same: each of two that write at a time what they
// want, and look then who else does, would see the other and give way. done lets the next one.
func (s *Scheduler) turn(ctx context.Context, pieces []jobs.Piece) (done func(context.Context), err error) {
	var claiming []cid.Cid
	for _, p := range pieces {
		if p.Claims() && p.CID.Defined() {
			claiming = append(claiming, p.CID)
		}
	}
	done, ok, err := s.store.TakeTurn(ctx, claiming)
	if err == nil && !ok {
		err = jobs.Failf(jobs.Transient, "a sector for the same pieces is being added this moment; look for it with lpseal pieces find, or try again in a minute")
	}
	return done, err
}

// number gives sector numbers that nobody used.
func (s *Scheduler) number(ctx context.Context, miner abi.ActorID, count int) ([]abi.SectorNumber, error) {
	used, err := s.chain.Allocated(ctx, miner)
	if err != nil {
		return nil, fmt.Errorf("used sector numbers of f0%d: %w", miner, err)
	}
	numbers, err := s.store.Allocate(ctx, miner, count, used, s.ranges[miner])
	if err != nil {
		return nil, fmt.Errorf("give %d sector numbers of f0%d: %w", count, miner, err)
	}
	return numbers, nil
}

// create writes a new record, and has it looked at at once.
func (s *Scheduler) create(ctx context.Context, r *jobs.Record, by string) error {
	if err := s.settleIn(ctx, r); err != nil {
		return err
	}
	if err := s.store.Create(ctx, r, by); err != nil {
		return err
	}
	if err := s.queues.Advance(ctx, r.ID, r.Version); err != nil {
		s.log.Warn("the sector is written; the next poll starts it", "sector", r.ID.String(), "err", err)
	}
	return nil
}

// Check makes Add's checks and writes nothing: before hours are spent on bringing data.
func (s *Scheduler) Check(ctx context.Context, req Request) error {
	if _, err := s.check(ctx, &req); err != nil {
		return fmt.Errorf("add: %w", err)
	}
	return nil
}

// check completes the request and gives the miner, with the proof type of its new sectors.
func (s *Scheduler) check(ctx context.Context, req *Request) (jobs.Miner, error) {
	if req.Count > 1 && len(req.Pieces) > 0 {
		return jobs.Miner{}, jobs.Failf(jobs.Rejected, "%d sectors of the same pieces: add each sector's pieces by an order of its own", req.Count)
	}
	m, err := s.chain.Miner(ctx, req.Miner)
	if err != nil {
		return m, fmt.Errorf("miner f0%d: %w", req.Miner, err)
	}
	if err := checkPieces(req.Pieces, m.SectorSize); err != nil {
		return m, jobs.Failf(jobs.Rejected, "%w", err)
	}
	if m.SealProof, err = s.sealProof(ctx, m, *req); err != nil {
		return m, err
	}
	if err := s.bind(ctx, req); err != nil {
		return m, err
	}
	return m, s.unclaimed(ctx, req.Pieces, jobs.SectorID{})
}

// unclaimed refuses an allocation or a deal that a sector other than this one is to claim already: only the first to be committed would get it, and the
// other's deposit would be lost.
func (s *Scheduler) unclaimed(ctx context.Context, pieces []jobs.Piece, this jobs.SectorID) error {
	for i, p := range pieces {
		if !p.Claims() {
			continue
		}
		records, err := s.store.Holding(ctx, p.CID)
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.ID == this || !slices.ContainsFunc(r.Pieces, p.ClaimsOf) {
				continue
			}
			free, err := s.givenUp(ctx, r)
			if err != nil {
				return err
			}
			if !free {
				return jobs.Failf(jobs.Rejected, "piece %d (%s): sector %s has it already for the same allocation or deal", i, p.CID, r.ID)
			}
		}
	}
	return nil
}

// uncontested refuses what [Scheduler.unclaimed] does, and a deal for the same that is on its
// way into another sector. Whoever asks after it has written that it wants the pieces sees all
// who wrote before: of two that want one allocation at a time, one gives way at least.
//
// What a deal wants that this lpseal cannot read is not seen, and one such deal must not stop
// all others. Only a newer scheduler puts it into a sector. It looks after it wrote, too, and a
// sector that is written is seen; should it have looked just before this one was written, both
// are sealed, and the one that commits second is held, so that it can be released as plain data
// (sectors release --drop-deals): no deposit is lost.
func (s *Scheduler) uncontested(ctx context.Context, pieces []jobs.Piece, this jobs.SectorID) error {
	if !slices.ContainsFunc(pieces, func(p jobs.Piece) bool { return p.Claims() }) {
		return nil
	}
	// Deals before records: one that is packed in between has a record.
	open, err := s.store.OpenDeals(ctx)
	if err = s.known(err); err != nil {
		return err
	}
	for _, d := range open {
		if d.Sector == nil || *d.Sector == this || d.Refused != "" {
			continue
		}
		if slices.ContainsFunc(pieces, d.Piece.ClaimsOf) {
			return jobs.Failf(jobs.Transient, "deal %s, for the same allocation or deal number, is being put into sector %s; try again in a minute", d.ID, d.Sector)
		}
	}
	return s.unclaimed(ctx, pieces, this)
}

// givenUp says that a sector will never claim what its pieces are for: it was removed, and no
// message of it that commits it can land any more.
func (s *Scheduler) givenUp(ctx context.Context, r *jobs.Record) (bool, error) {
	if r.Outcome != jobs.Removed && !r.Abandoned || r.Activation != 0 {
		return false, nil
	}
	if r.Stage(jobs.Commit).Attempt == 0 {
		return true, nil
	}
	m, err := s.chain.Messages(ctx, []jobs.Meaning{r.Meaning(jobs.Commit)})
	if err == nil {
		err = m[0].Unknown
	}
	if err != nil {
		return false, fmt.Errorf("ask for the commit message of %s, which was removed: %w", r.ID, err)
	}
	return m[0].State == jobs.MessageNone || m[0].State == jobs.MessageFailed || m[0].State == jobs.MessageDropped, nil
}

// SealProof is the type that a request's sectors are proven by, as its miner and the
// network have it now.
func (s *Scheduler) SealProof(ctx context.Context, req Request) (abi.RegisteredSealProof, error) {
	m, err := s.chain.Miner(ctx, req.Miner)
	if err != nil {
		return 0, fmt.Errorf("miner f0%d: %w", req.Miner, err)
	}
	return s.sealProof(ctx, m, req)
}

func (s *Scheduler) sealProof(ctx context.Context, onChain jobs.Miner, req Request) (abi.RegisteredSealProof, error) {
	if !req.Synthetic && !s.synthetic[req.Miner] {
		return onChain.SealProof, nil
	}
	on, err := s.chain.Network(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask for the network: %w", err)
	}
	return jobs.SyntheticOn(on, onChain.SealProof)
}

// settleIn reserves space for a sector whose home was chosen with the request: before the
// record names it, as for any other (design rule 9).
func (s *Scheduler) settleIn(ctx context.Context, r *jobs.Record) error {
	if r.Home == "" {
		return nil
	}
	workers, err := s.store.Workers(ctx)
	if err = s.known(err); err != nil {
		return err
	}
	for _, w := range workers {
		for _, p := range w.Paths {
			if p.ID == r.Home && p.CanSeal {
				return s.store.Reserve(ctx, p.ID, r.ID, jobs.SealingSpace(r.Proof), p.Capacity)
			}
		}
	}
	return fmt.Errorf("no live worker serves path %s for sealing: start the worker of its host", r.Home)
}

// checkPieces gives all that is wrong with the pieces, each named by its place.
func checkPieces(pieces []jobs.Piece, size abi.SectorSize) error {
	var errs []error
	seen := map[string]int{}
	aligned := true
	for i, p := range pieces {
		fail := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("piece %d (%s): %w", i, p.CID, fmt.Errorf(format, args...)))
		}
		if !p.CID.Defined() {
			fail("has no piece CID")
		} else if _, err := commcid.CIDToDataCommitmentV1(p.CID); err != nil {
			fail("is no piece CID (baga6ea4sea…): %w", err)
		} else if first, ok := seen[p.CID.String()]; ok {
			fail("is the same as piece %d: name each piece once", first)
		} else {
			seen[p.CID.String()] = i
		}
		if err := p.Size.Validate(); err != nil {
			fail("padded size %d: %w", p.Size, err)
			aligned = false
			continue
		}
		if p.RawSize == 0 || p.RawSize > uint64(p.Size.Unpadded()) {
			fail("has %d bytes, but a padded size of %d holds 1 to %d", p.RawSize, p.Size, p.Size.Unpadded())
		}
		if err := checkSource(p.Source); err != nil {
			fail("%w", err)
		}
	}
	if !aligned {
		return errors.Join(errs...)
	}
	if _, end := jobs.Layout(pieces); end > abi.PaddedPieceSize(size) {
		errs = append(errs, fmt.Errorf("the pieces need %d bytes, each aligned to its own size, but the miner's sectors have %d: use fewer or smaller pieces", end, size))
	}
	if !jobs.Committable(pieces) {
		errs = append(errs, fmt.Errorf("the message that commits the sector has no room for %d pieces and whom they notify: use fewer pieces, or shorter payloads", len(pieces)))
	}
	return errors.Join(errs...)
}

func checkSource(source string) error {
	if filepath.IsAbs(source) {
		return nil
	}
	if u, err := url.Parse(source); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return nil
	}
	return fmt.Errorf("source %q is neither an absolute path nor an http(s) URL", source)
}

// bind asks the chain what the pieces' allocations and deals demand of their sector, and settles on its expiration: what the chain
// would refuse after days of sealing is refused now.
func (s *Scheduler) bind(ctx context.Context, req *Request) error {
	network, err := s.chain.Network(ctx)
	if err != nil {
		return err
	}
	head, err := s.chain.Head(ctx)
	if err != nil {
		return err
	}
	req.Pieces = slices.Clone(req.Pieces)
	var errs []error
	for i := range req.Pieces {
		p := &req.Pieces[i]
		terms, err := s.chain.PieceTerms(ctx, req.Miner, *p)
		if p.Terms = p.Terms.And(terms); err == nil {
			err = p.Terms.Check(head.Epoch, network.ChallengeDelay)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("piece %d (%s): %w", i, p.CID, err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	terms := jobs.TermsOf(req.Pieces)
	if err := terms.Check(head.Epoch, network.ChallengeDelay); err != nil {
		return fmt.Errorf("the pieces do not go together in one sector: %w", err)
	}
	if req.Duration != 0 {
		if req.Expiration != 0 {
			return jobs.Failf(jobs.Rejected, "give a duration or an expiration, not both")
		}
		req.Expiration = head.Epoch + req.Duration
	}
	soonest, latest := terms.Expirations(head.Epoch, network.ChallengeDelay)
	if at := req.Expiration; at != 0 && (at < soonest || at > latest) {
		return jobs.Failf(jobs.Rejected, "expiration at epoch %d is not between %d and %d, the least and most that the chain and the pieces' deals allow from head %d", at, soonest, latest, head.Epoch)
	}
	return nil
}
