package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// planPatience is for how long the plan of a sector may stay open. Another scheduler then
// gives it up; which of the two wins is decided by one swap, so the clocks need not agree.
const planPatience = time.Minute

// TakeDeal remembers a piece that a market wants sealed, once for its name, and says where
// it is. digest is that of what the market sent: another one under the same name is
// [sectors.ErrExists]. A deal that the chain would not take is refused with a fault.
func (s *Scheduler) TakeDeal(ctx context.Context, d jobs.Deal, digest string) (jobs.DealStatus, error) {
	there, err := s.store.Deal(ctx, d.ID)
	if errors.Is(err, sectors.ErrNoDeal) {
		there, err = s.newDeal(ctx, d, digest)
	}
	if err != nil {
		return jobs.DealStatus{}, err
	}
	if there.Digest != digest {
		return jobs.DealStatus{}, fmt.Errorf("deal %s: %w: another one of that name was given before", d.ID, sectors.ErrExists)
	}
	return s.store.StatusOf(ctx, there)
}

func (s *Scheduler) newDeal(ctx context.Context, d jobs.Deal, digest string) (*sectors.Deal, error) {
	piece, err := s.takable(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("deal %s: %w", d.ID, err)
	}
	d.Piece, d.Received = piece, s.clock.Now()
	return s.store.AddDeal(ctx, d, digest)
}

// takable checks a deal that is to wait, as early as can be, and gives its piece with what the
// chain demands. Of two that come at a time for the same, [Scheduler.fill] takes one.
func (s *Scheduler) takable(ctx context.Context, d jobs.Deal) (jobs.Piece, error) {
	req := Request{Miner: d.Miner, Pieces: []jobs.Piece{d.Piece}}
	if _, err := s.check(ctx, &req); err != nil {
		return d.Piece, err
	}
	open, err := s.store.OpenDeals(ctx)
	if err = s.known(err); err != nil {
		return d.Piece, err
	}
	for _, other := range open {
		if other.Refused == "" && other.ID != d.ID && d.Piece.ClaimsOf(other.Piece) {
			return d.Piece, jobs.Failf(jobs.Rejected, "deal %s waits with the same allocation or deal number", other.ID)
		}
	}
	return req.Pieces[0], nil
}

// RetryDeal has a deal wait for a sector again, by an operator's order: one that was refused, or
// whose sector was given up. It is judged as if it came now.
func (s *Scheduler) RetryDeal(ctx context.Context, id string) (jobs.DealStatus, error) {
	fail := func(err error) (jobs.DealStatus, error) {
		return jobs.DealStatus{}, fmt.Errorf("retry deal %s: %w", id, err)
	}
	d, err := s.store.Deal(ctx, id)
	if err != nil {
		return fail(err)
	}
	status, err := s.store.StatusOf(ctx, d)
	if err != nil {
		return fail(err)
	}
	switch status.State {
	case jobs.DealRefused:
	case jobs.DealRemoved:
		r, err := s.store.Load(ctx, *d.Sector)
		if err != nil {
			return fail(err)
		}
		if free, err := s.givenUp(ctx, r); err != nil {
			return fail(err)
		} else if !free {
			return fail(fmt.Errorf("%w: its sector %s was removed, and its commit message may land all the same; try again when it has ended", jobs.ErrRefused, r.ID))
		}
	default:
		return fail(fmt.Errorf("%w: it is %s, and only refused deals and those of removed sectors can be tried again", jobs.ErrRefused, status.State))
	}
	if _, err := s.takable(ctx, d.Deal); err != nil {
		return fail(err)
	}
	if d, err = s.store.ReopenDeal(ctx, d); err != nil {
		return fail(err)
	}
	return s.store.StatusOf(ctx, d)
}

// PackDeals makes sectors of the deals that wait, as [jobs.Pack] decides, and ends what
// another scheduler began. Any number of schedulers may do it at a time, and each may
// stop between any two lines: a deal is in one sector at most, and in the end in one. What
// cannot be read or packed does not stop the others.
func (s *Scheduler) PackDeals(ctx context.Context) error {
	open, err := s.store.OpenDeals(ctx)
	if err = s.known(err); err != nil {
		return err
	}
	byMiner := map[abi.ActorID][]jobs.Deal{}
	var errs []error
	for _, d := range open {
		switch {
		case d.Refused != "":
			errs = append(errs, s.store.CloseDeal(ctx, d.ID))
		case d.Sector != nil:
			errs = append(errs, s.known(s.follow(ctx, d)))
		default:
			byMiner[d.Miner] = append(byMiner[d.Miner], d.Deal)
		}
	}
	for miner, deals := range byMiner {
		if err := s.pack(ctx, miner, deals); err != nil {
			errs = append(errs, fmt.Errorf("pack the deals of f0%d: %w", miner, err))
		}
	}
	return errors.Join(errs...)
}

// follow sees that an assigned deal comes to a record, or waits again.
func (s *Scheduler) follow(ctx context.Context, d *sectors.Deal) error {
	plan, err := s.store.Plan(ctx, *d.Sector)
	if err != nil {
		return err
	}
	now := s.clock.Now()
	if plan == nil { // lost: a plan is written before a deal is assigned by it
		plan, err = s.store.SwapPlan(ctx, *d.Sector, "", jobs.Plan{State: jobs.GivenUp, At: now})
	} else if plan.State == jobs.Planned && now.Sub(plan.At) >= planPatience {
		plan, err = s.store.SwapPlan(ctx, *d.Sector, jobs.Planned, jobs.Plan{State: jobs.GivenUp, Deals: plan.Deals, At: plan.At})
	}
	switch {
	case err != nil:
		return err
	case plan.State == jobs.Planned:
		return nil // whoever planned it is at it
	case plan.State == jobs.Closed && slices.Contains(plan.Deals, d.ID):
		return s.open(ctx, *d.Sector, plan)
	}
	return s.store.FreeDeal(ctx, d.ID, *d.Sector)
}

// Forming says how the deals that wait share sectors now, and makes none.
func (s *Scheduler) Forming(ctx context.Context) ([]jobs.Forming, error) {
	open, err := s.store.OpenDeals(ctx)
	if _, err = sectors.Unread(err); err != nil {
		return nil, err
	}
	byMiner := map[abi.ActorID][]jobs.Deal{}
	for _, d := range open {
		if d.Sector == nil && d.Refused == "" {
			byMiner[d.Miner] = append(byMiner[d.Miner], d.Deal)
		}
	}
	var out []jobs.Forming
	for _, miner := range slices.Sorted(maps.Keys(byMiner)) {
		size, facts, err := s.room(ctx, miner)
		if err != nil {
			return nil, err
		}
		for _, p := range jobs.Pack(byMiner[miner], size, facts, &s.policy) {
			out = append(out, jobs.Forming{Packing: p, Miner: miner, Size: size})
		}
	}
	return out, nil
}

// room is what packing goes by: the size of a miner's sectors, and the facts.
func (s *Scheduler) room(ctx context.Context, miner abi.ActorID) (abi.SectorSize, *jobs.Facts, error) {
	m, err := s.chain.Miner(ctx, miner)
	if err != nil {
		return 0, nil, err
	}
	n, err := s.askNode(ctx)
	if err != nil {
		return 0, nil, err
	}
	return m.SectorSize, &jobs.Facts{Now: s.clock.Now(), Head: n.head, Network: n.network}, nil
}

func (s *Scheduler) pack(ctx context.Context, miner abi.ActorID, deals []jobs.Deal) error {
	size, facts, err := s.room(ctx, miner)
	if err != nil {
		return err
	}
	var errs []error
	for again := true; again; {
		again = false
		for _, p := range jobs.Pack(deals, size, facts, &s.policy) {
			if p.Why == "" {
				continue
			}
			unfit, err := s.fill(ctx, miner, p)
			errs = append(errs, s.known(err))
			done := p.Deals
			if len(unfit) > 0 {
				done, again = unfit, true // the others may fill sectors without them
			}
			deals = slices.DeleteFunc(deals, func(d jobs.Deal) bool {
				return slices.ContainsFunc(done, func(o jobs.Deal) bool { return o.ID == d.ID })
			})
		}
	}
	return errors.Join(errs...)
}

// fill makes one sector of deals, or gives those that keep it from being made now.
func (s *Scheduler) fill(ctx context.Context, miner abi.ActorID, p jobs.Packing) (unfit []jobs.Deal, err error) {
	ids := make([]string, len(p.Deals))
	req := Request{Miner: miner}
	for i, d := range p.Deals {
		ids[i] = d.ID
		req.Pieces = append(req.Pieces, d.Piece)
	}
	m, err := s.check(ctx, &req)
	if err != nil {
		return s.unfit(ctx, miner, p.Deals, err)
	}
	numbers, err := s.number(ctx, miner, 1)
	if err != nil {
		return nil, err
	}
	id := jobs.SectorID{Miner: miner, Number: numbers[0]}
	plan, err := s.store.SwapPlan(ctx, id, "", jobs.Plan{State: jobs.Planned, Proof: m.SealProof, Deals: ids, At: s.clock.Now()})
	if err != nil {
		return nil, err
	}
	next := jobs.Plan{State: jobs.Closed, Proof: plan.Proof, At: plan.At}
	for _, d := range p.Deals {
		ours, err := s.store.AssignDeal(ctx, d.ID, id)
		if err != nil {
			return nil, err
		}
		if !ours {
			continue
		}
		if err := s.uncontested(ctx, []jobs.Piece{d.Piece}, id); err != nil { // since it was checked
			s.log.Warn("a sector of deals is given up; they are packed anew", "sector", id.String(), "deal", d.ID, "err", err)
			next.Deals = nil
			break
		}
		next.Deals = append(next.Deals, d.ID)
	}
	if len(next.Deals) == 0 {
		next.State = jobs.GivenUp // another scheduler has them, or wants one for what is wanted elsewhere
	}
	if plan, err = s.store.SwapPlan(ctx, id, jobs.Planned, next); err != nil || plan.State != jobs.Closed {
		return nil, err // given up: the next turn sets its deals free
	}
	s.log.Info("deals packed", "sector", id.String(), "deals", len(plan.Deals), "why", p.Why)
	return nil, s.open(ctx, id, plan)
}

// unfit finds the deals that are to blame for a refusal. What the chain would never take again is
// refused by name; what cannot be judged now is left for another turn.
func (s *Scheduler) unfit(ctx context.Context, miner abi.ActorID, deals []jobs.Deal, together error) (unfit []jobs.Deal, err error) {
	for _, d := range deals {
		_, err := s.check(ctx, &Request{Miner: miner, Pieces: []jobs.Piece{d.Piece}})
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, err
		}
		unfit = append(unfit, d)
		var fault *jobs.Fault
		if !errors.As(err, &fault) || fault.Class != jobs.Rejected && fault.Class != jobs.Deadline {
			s.log.Warn("a deal cannot be packed now; it is tried again", "deal", d.ID, "err", err)
			continue
		}
		refused, err := s.store.RefuseDeal(ctx, d.ID, fault.Text)
		if err != nil {
			return unfit, err
		}
		if !refused {
			continue // another scheduler has it: what becomes of it is its affair
		}
		s.log.Warn("a deal cannot be sealed any more", "deal", d.ID, "err", fault)
		if err := s.store.CloseDeal(ctx, d.ID); err != nil {
			return unfit, err
		}
	}
	if len(unfit) == 0 {
		return nil, together
	}
	return unfit, nil
}

// open makes the record of a closed plan, as whoever finds it first makes it: all that goes
// into it is in the plan and its deals.
func (s *Scheduler) open(ctx context.Context, id jobs.SectorID, plan *jobs.Plan) error {
	r := &jobs.Record{ID: id, Version: 1, Created: plan.At, Proof: plan.Proof, Stages: map[jobs.Stage]jobs.StageRecord{}}
	for _, name := range plan.Deals {
		d, err := s.store.Deal(ctx, name)
		if err != nil {
			return err
		}
		r.Pieces, r.KeepUnsealed, r.Home = append(r.Pieces, d.Piece), d.KeepUnsealed, d.Home
	}
	var err error
	if r.CommD, err = jobs.CommD(r.Proof, r.Pieces); err != nil {
		return fmt.Errorf("sector %s: %w", id, err)
	}
	if _, err = s.store.Load(ctx, id); errors.Is(err, sectors.ErrNotFound) {
		err = s.create(ctx, r, s.by)
	}
	if err != nil && !errors.Is(err, sectors.ErrExists) {
		return fmt.Errorf("sector %s of %d deals: %w", id, len(plan.Deals), err)
	}
	for _, name := range plan.Deals {
		if err := s.store.CloseDeal(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
