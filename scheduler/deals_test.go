package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
	"github.com/lpseal/lpseal/jobs/queue"
	"github.com/lpseal/lpseal/scheduler"
)

// dealOf is a deal about a piece of 512 bytes, four of which fill a sector.
func dealOf(t *testing.T, id string) jobs.Deal {
	t.Helper()
	p := piece(t, id)
	p.Source = "https://example.com/" + id
	return jobs.Deal{ID: id, Miner: miner, Piece: p}
}

// take gives deals of these names.
func (p *pipeline) give(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		s, err := p.TakeDeal(p.ctx, dealOf(t, id), "digest of "+id)
		require.NoError(t, err)
		require.Equal(t, jobs.DealStatus{ID: id, State: jobs.DealWaiting}, s)
	}
}

func (p *pipeline) deal(t *testing.T, id string) jobs.Deal {
	t.Helper()
	d, err := p.store.Deal(p.ctx, id)
	require.NoError(t, err)
	return d.Deal
}

func (p *pipeline) dealStatus(t *testing.T, id string) jobs.DealStatus {
	t.Helper()
	d, err := p.store.Deal(p.ctx, id)
	require.NoError(t, err)
	s, err := p.store.StatusOf(p.ctx, d)
	require.NoError(t, err)
	return s
}

// eachOnce sees that every deal is in one sector and every sector's pieces are whole deals.
func (p *pipeline) eachOnce(t *testing.T, deals int) {
	t.Helper()
	ids, err := p.store.All(p.ctx, nil)
	require.NoError(t, err)
	seen := map[string]jobs.SectorID{}
	for _, id := range ids {
		r := p.record(id)
		for _, piece := range r.Pieces {
			require.NotContains(t, seen, piece.Source, "in %s, too", id)
			seen[piece.Source] = id
		}
		commD, err := jobs.CommD(r.Proof, r.Pieces)
		require.NoError(t, err)
		require.Equal(t, commD, r.CommD)
	}
	require.Len(t, seen, deals)
	for i := range deals {
		s := p.dealStatus(t, fmt.Sprint("d", i))
		require.Equal(t, jobs.DealSealing, s.State)
		require.Equal(t, seen[fmt.Sprintf("https://example.com/d%d", i)], s.Place.Sector)
	}
	open, err := p.store.OpenDeals(p.ctx)
	require.NoError(t, err)
	require.Empty(t, open)
}

func TestDealsFillSectors(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	p.give(t, "d0", "d1", "d2")
	require.NoError(t, p.PackDeals(p.ctx))
	require.Equal(t, jobs.DealWaiting, p.dealStatus(t, "d0").State, "the sector is not full")
	p.give(t, "d3", "d4")
	require.NoError(t, p.PackDeals(p.ctx))
	require.Equal(t, jobs.DealWaiting, p.dealStatus(t, "d4").State)
	at := p.dealStatus(t, "d1").Place
	require.EqualValues(t, 512, at.Offset)
	forming, err := p.Forming(p.ctx)
	require.NoError(t, err)
	require.Len(t, forming, 1)
	require.Equal(t, []jobs.Deal{p.deal(t, "d4")}, forming[0].Deals)
	require.Equal(t, []any{miner, abi.SectorSize(2048), abi.PaddedPieceSize(512), p.deal(t, "d4").Received.Add(p.policy.PackWait), ""},
		[]any{forming[0].Miner, forming[0].Size, forming[0].Filled(), forming[0].Until, forming[0].Why})
	p.clock.Advance(p.policy.PackWait)
	require.NoError(t, p.PackDeals(p.ctx))
	p.eachOnce(t, 5)
	require.Equal(t, jobs.Committed, p.driveHome(at.Sector).Outcome)
	require.Equal(t, jobs.DealCommitted, p.dealStatus(t, "d1").State)
}

// Deals of a miner that seals with synthetic proofs do so too, whoever makes the record of
// their plan.
func TestDealsWithSyntheticProofs(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	s, err := scheduler.New(scheduler.Options{
		Store: p.store, Queues: p.queues, Chain: p.chain, Policy: p.policy, Clock: p.clock, Log: quiet, Name: "other",
		Synthetic: map[abi.ActorID]bool{miner: true},
	})
	require.NoError(t, err)
	p.give(t, "d0", "d1", "d2", "d3")
	require.NoError(t, s.PackDeals(p.ctx))
	p.eachOnce(t, 4)
	id := p.dealStatus(t, "d0").Place.Sector
	require.True(t, p.record(id).Proof.IsSynthetic())
	plan, err := p.store.Plan(p.ctx, id)
	require.NoError(t, err)
	require.True(t, plan.Proof.IsSynthetic(), "a scheduler without the setting would make the same record")
}

func TestADealIsTakenOnce(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	p.give(t, "d0")
	p.give(t, "d0")
	_, err := p.TakeDeal(p.ctx, dealOf(t, "d0"), "another digest")
	require.ErrorIs(t, err, sectors.ErrExists)

	p.chain.Fail("*", errors.New("the node is away"))
	p.give(t, "d0") // what is known needs no chain
	_, err = p.TakeDeal(p.ctx, dealOf(t, "d1"), "1")
	require.ErrorContains(t, err, "the node is away")
	_, err = p.store.Deal(p.ctx, "d1")
	require.ErrorIs(t, err, sectors.ErrNoDeal, "nothing is answered that is not written")
	p.chain.Fail("*", nil)

	bad := dealOf(t, "d2")
	bad.Piece.Size = 4096
	_, err = p.TakeDeal(p.ctx, bad, "1")
	require.ErrorContains(t, err, "need 4096 bytes")
	a, b := dealOf(t, "a"), dealOf(t, "b")
	a.Piece.Notify, b.Piece.Notify = []jobs.Notification{jobs.NotifyMarket(7)}, []jobs.Notification{jobs.NotifyMarket(7)}
	_, err = p.TakeDeal(p.ctx, a, "1")
	require.NoError(t, err)
	_, err = p.TakeDeal(p.ctx, b, "1")
	require.ErrorContains(t, err, "deal a waits with the same")
}

// A deal that the chain takes no more is refused by name, and the others go without it.
func TestADealThatBecameImpossibleDoesNotBlockTheOthers(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	p.give(t, "d0", "d1", "d2")
	late := dealOf(t, "late")
	late.Piece.Allocation = &jobs.Allocation{Client: 1001, ID: 7}
	_, err := p.TakeDeal(p.ctx, late, "1")
	require.NoError(t, err)
	p.chain.SetTerms(late.Piece, jobs.Terms{}, jobs.Failf(jobs.Rejected, "the chain has none"))
	require.NoError(t, p.PackDeals(p.ctx))
	s := p.dealStatus(t, "late")
	require.Equal(t, jobs.DealRefused, s.State)
	require.Contains(t, s.Why, "the chain has none")
	p.clock.Advance(p.policy.PackWait)
	require.NoError(t, p.PackDeals(p.ctx))
	p.eachOnce(t, 3)
}

// A deal that cannot be judged now, for whatever reason, keeps no other from its sector.
func TestADealThatCannotBeJudgedDoesNotBlockTheOthers(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	odd := dealOf(t, "odd")
	odd.Piece.Allocation = &jobs.Allocation{Client: 1001, ID: 7}
	_, err := p.TakeDeal(p.ctx, odd, "1")
	require.NoError(t, err)
	p.chain.SetTerms(odd.Piece, jobs.Terms{}, jobs.Failf(jobs.Transient, "the node does not say"))
	p.clock.Advance(time.Second)
	p.give(t, "d0", "d1", "d2", "d3")
	require.NoError(t, p.PackDeals(p.ctx))
	require.Equal(t, jobs.DealWaiting, p.dealStatus(t, "odd").State)
	require.Equal(t, jobs.DealSealing, p.dealStatus(t, "d3").State)
	require.Equal(t, p.dealStatus(t, "d0").Place.Sector, p.dealStatus(t, "d3").Place.Sector)

	p.chain.SetTerms(odd.Piece, jobs.Terms{}, nil)
	p.clock.Advance(p.policy.PackWait)
	require.NoError(t, p.PackDeals(p.ctx))
	require.Equal(t, jobs.DealSealing, p.dealStatus(t, "odd").State)
}

// What of deals cannot be read, such as what a newer lpseal wrote, stops nothing else: neither what is given, nor what is packed, nor what goes on from a plan.
func TestDealsThatCannotBeReadDoNotBlockTheOthers(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	p.give(t, "newer")
	text, err := p.rdb.HGet(p.ctx, "lpseal:{d-newer}", "deal").Result()
	require.NoError(t, err)
	require.NoError(t, p.rdb.HSet(p.ctx, "lpseal:{d-newer}", "deal", `{"colour": "red", `+text[1:]).Err())
	p.give(t, "planned")
	id := jobs.SectorID{Miner: miner, Number: 77}
	_, err = p.store.SwapPlan(p.ctx, id, "", jobs.Plan{State: jobs.Planned, Deals: []string{"planned"}, At: p.clock.Now()})
	require.NoError(t, err)
	_, err = p.store.AssignDeal(p.ctx, "planned", id)
	require.NoError(t, err)
	require.NoError(t, p.rdb.HSet(p.ctx, "lpseal:{s-t01000-77}:plan", "plan", `{"state": "planned", "colour": "red"}`).Err())
	p.give(t, "d0", "d1", "d2", "d3")
	p.clock.Advance(p.policy.PackWait)
	require.NoError(t, p.PackDeals(p.ctx))
	require.Equal(t, jobs.DealSealing, p.dealStatus(t, "d3").State)
	d, err := p.store.Deal(p.ctx, "planned")
	require.NoError(t, err)
	require.Equal(t, id, *d.Sector, "it is the sector's as long as nobody knows what became of its plan")
}

// A deal whose start comes near waits for nobody.
func TestADealThatStartsSoonIsSealedAlone(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	d := dealOf(t, "d0")
	d.Piece.Terms.Start = 10_000 + p.policy.PackSlack + 3
	_, err := p.TakeDeal(p.ctx, d, "1")
	require.NoError(t, err)
	require.NoError(t, p.PackDeals(p.ctx))
	require.Equal(t, jobs.DealWaiting, p.dealStatus(t, "d0").State)
	p.chain.Advance(3)
	require.NoError(t, p.PackDeals(p.ctx))
	r := p.record(p.dealStatus(t, "d0").Place.Sector)
	require.Equal(t, 10_000+p.policy.PackSlack+3, jobs.CommitDeadline(r))
}

// cut fails every command from the n-th on, before or after it was carried out.
type cut struct {
	left  atomic.Int64
	after bool
}

var errCut = errors.New("cut off")

func (c *cut) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *cut) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return c.do(func() error { return next(ctx, cmd) })
	}
}

func (c *cut) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return c.do(func() error { return next(ctx, cmds) })
	}
}

func (c *cut) do(next func() error) error {
	switch left := c.left.Add(-1); {
	case left < -1 || left == -1 && !c.after:
		return errCut
	case left == -1:
		return errors.Join(next(), errCut)
	}
	return next()
}

// packCut has a scheduler pack deals that is cut off from Redis at its n-th command, and tells how many it sent.
func (p *pipeline) packCut(t *testing.T, n int64, after bool) (sent int64) {
	t.Helper()
	p.give(t, "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7")
	c := &cut{after: after}
	c.left.Store(n)
	rdb := redis.NewClient(&redis.Options{Addr: p.rdb.(*redis.Client).Options().Addr, MaxRetries: -1})
	rdb.AddHook(c)
	first, err := scheduler.New(scheduler.Options{
		Store: sectors.New(rdb), Queues: queue.New(rdb), Chain: p.chain, Policy: p.policy, Clock: p.clock, Name: "first", Log: quiet,
	})
	require.NoError(t, err)
	_ = first.PackDeals(p.ctx)
	require.NoError(t, rdb.Close())
	return n - c.left.Load()
}

// TestPackingIsCutOffAnywhere: a scheduler that packs is cut off from Redis at every command, and another one ends what it began.
func TestPackingIsCutOffAnywhere(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	commands := p.packCut(t, 1<<30, false)
	p.eachOnce(t, 8)
	require.Greater(t, commands, int64(20))
	for n := range commands {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("command %d, carried out %v", n, after), func(t *testing.T) {
				t.Parallel()
				p := startMini(t)
				require.Greater(t, p.packCut(t, n, after), n, "it was cut off")
				require.NoError(t, p.PackDeals(p.ctx), "what the first planned is still its own")
				p.clock.Advance(2 * time.Minute)
				require.NoError(t, p.PackDeals(p.ctx), "a plan that was not closed is given up")
				require.NoError(t, p.PackDeals(p.ctx), "and its deals are packed anew")
				p.eachOnce(t, 8)
			})
		}
	}
}

// TestManyPackAtATime: each deal is in one sector however many schedulers decide it.
func TestManyPackAtATime(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	var all sync.WaitGroup
	for w := range 4 {
		s := p.scheduler(fmt.Sprint("packer", w))
		all.Go(func() {
			for i := range 6 {
				_, err := s.TakeDeal(p.ctx, dealOf(t, fmt.Sprint("d", 6*w+i)), "1")
				assert.NoError(t, err)
				assert.NoError(t, s.PackDeals(p.ctx))
			}
		})
	}
	all.Wait()
	p.clock.Advance(2 * time.Hour)
	for range 2 {
		require.NoError(t, p.PackDeals(p.ctx))
	}
	p.eachOnce(t, 24)
}

// before runs something before the n-th command, once or before each one from there on.
type before struct {
	left atomic.Int64
	each bool
	run  func()
}

func (b *before) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *before) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		b.step()
		return next(ctx, cmds)
	}
}

func (b *before) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		b.step()
		return next(ctx, cmd)
	}
}

func (b *before) step() {
	if left := b.left.Add(-1); left == 0 || left < 0 && b.each {
		b.run()
	}
}

// interrupted has a scheduler do something while another packs all at once before its n-th command, and tells whether there was an n-th.
func (p *pipeline) interrupted(t *testing.T, n int64, do func(*scheduler.Scheduler)) bool {
	t.Helper()
	hook := &before{run: func() { assert.NoError(t, p.PackDeals(p.ctx)) }}
	hook.left.Store(n)
	do(p.hooked(t, hook))
	return hook.left.Load() <= 0
}

// hooked is one more scheduler, whose commands pass a hook.
func (p *pipeline) hooked(t *testing.T, hook redis.Hook) *scheduler.Scheduler {
	t.Helper()
	rdb := p.another()
	rdb.(*redis.Client).AddHook(hook)
	s, err := scheduler.New(scheduler.Options{
		Store: sectors.New(rdb), Queues: queue.New(rdb), Chain: p.chain, Policy: p.policy, Clock: p.clock, Name: "first", Log: quiet,
	})
	require.NoError(t, err)
	return s
}

// rivals are two deals for one allocation that came at the same moment, so that neither saw the other.
func (p *pipeline) rivals(t *testing.T) jobs.Piece {
	t.Helper()
	a := dealOf(t, "a")
	a.Piece.Allocation = &jobs.Allocation{Client: 1001, ID: 7}
	for i, id := range []string{"a", "b"} {
		d := a
		d.ID, d.Received = id, p.clock.Now().Add(time.Duration(i)*time.Second)
		_, err := p.store.AddDeal(p.ctx, d, id)
		require.NoError(t, err)
	}
	p.clock.Advance(p.policy.PackWait + time.Minute)
	return a.Piece
}

// claimants counts the sectors that are to claim what a piece is for.
func (p *pipeline) claimants(t *testing.T, piece jobs.Piece) (n int) {
	t.Helper()
	records, err := p.store.Holding(p.ctx, piece.CID)
	require.NoError(t, err)
	for _, r := range records {
		if r.Outcome != jobs.Removed {
			n++
		}
	}
	return n
}

// Two schedulers that pack at a time put one of two deals for an allocation into a sector, wherever the first one is when the second comes; the other deal
// is refused.
func TestOneAllocationIsPackedOnce(t *testing.T) {
	t.Parallel()
	for n, more := int64(1), true; more; n++ {
		p := startMini(t)
		piece := p.rivals(t)
		more = p.interrupted(t, n, func(s *scheduler.Scheduler) { require.NoError(t, s.PackDeals(p.ctx)) })
		require.LessOrEqual(t, p.claimants(t, piece), 1, "command %d", n)
		for range 3 {
			p.clock.Advance(2 * time.Minute)
			require.NoError(t, p.PackDeals(p.ctx))
		}
		require.Equal(t, 1, p.claimants(t, piece), "command %d", n)
		states := []jobs.DealState{p.dealStatus(t, "a").State, p.dealStatus(t, "b").State}
		require.ElementsMatch(t, []jobs.DealState{jobs.DealSealing, jobs.DealRefused}, states, "command %d", n)
	}
}

// So it is with an operator who adds a sector for the same while a deal is packed.
func TestOneAllocationIsPackedOrAddedOnce(t *testing.T) {
	t.Parallel()
	for n, more := int64(1), true; more; n++ {
		p := startMini(t)
		piece := p.rivals(t)
		var err error
		more = p.interrupted(t, n, func(s *scheduler.Scheduler) {
			_, err = s.Add(p.ctx, scheduler.Request{Miner: miner, Pieces: []jobs.Piece{piece}}, "ann")
		})
		require.LessOrEqual(t, p.claimants(t, piece), 1, "command %d", n)
		if err != nil {
			require.ErrorContains(t, err, "for the same allocation or deal")
		}
		require.NoError(t, p.PackDeals(p.ctx))
		require.Equal(t, 1, p.claimants(t, piece), "command %d", n)
	}
}

// Of two operators who add a sector for the same one gets it, however far the first is when the second begins: from there they keep step, command by command.
func TestOneAllocationIsAddedOnce(t *testing.T) {
	t.Parallel()
	piece := dealOf(t, "a").Piece
	piece.Allocation = &jobs.Allocation{Client: 1001, ID: 7}
	req := scheduler.Request{Miner: miner, Pieces: []jobs.Piece{piece}}
	for n := int64(1); ; n++ {
		p := startMini(t)
		meet, annEnded, bobEnded := make(chan struct{}), make(chan struct{}), make(chan struct{})
		var ann, bob error
		second := &before{each: true, run: func() {
			select {
			case meet <- struct{}{}:
			case <-annEnded:
			}
		}}
		second.left.Store(1)
		other := p.hooked(t, second)
		begin := sync.OnceFunc(func() {
			go func() {
				defer close(bobEnded)
				_, bob = other.Add(p.ctx, req, "bob")
			}()
		})
		first := &before{each: true, run: func() {
			begin()
			select {
			case <-meet:
			case <-bobEnded:
			}
		}}
		first.left.Store(n)
		_, ann = p.hooked(t, first).Add(p.ctx, req, "ann")
		if close(annEnded); first.left.Load() > 0 {
			require.NoError(t, ann)
			return
		}
		<-bobEnded
		require.NotEqual(t, ann == nil, bob == nil, "command %d: %v, %v", n, ann, bob)
		require.Equal(t, 1, p.claimants(t, piece), "command %d", n)
		_, err := p.Add(p.ctx, req, "cid")
		require.ErrorContains(t, err, "has it already for the same allocation or deal", "nobody keeps the way shut")
	}
}

// A deal whose sector was removed, or that was refused, waits again by order and is packed into another one; not while the removed sector's message may still
// commit it, and not where another one has what it is for.
func TestADealIsTriedAgain(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	d := dealOf(t, "d0")
	d.Piece.Allocation = &jobs.Allocation{Client: 1001, ID: 7}
	_, err := p.TakeDeal(p.ctx, d, "1")
	require.NoError(t, err)
	_, err = p.RetryDeal(p.ctx, "d0")
	require.ErrorIs(t, err, jobs.ErrRefused)
	require.ErrorContains(t, err, "it is waiting")
	_, err = p.RetryDeal(p.ctx, "nobody's")
	require.ErrorIs(t, err, sectors.ErrNoDeal)
	p.clock.Advance(p.policy.PackWait)
	require.NoError(t, p.PackDeals(p.ctx))
	first := p.dealStatus(t, "d0").Place.Sector

	// Its commit message is on its way when it is removed.
	p.drive(first, func(r *jobs.Record) bool { return r.Stage(jobs.Commit).State == jobs.Done })
	p.chain.Doom(p.record(first).Meaning(jobs.Commit), jobstest.Fate{Dropped: true})
	require.NoError(t, p.Order(p.ctx, first, jobs.AbandonOrdered{Why: "test"}, "ann"))
	require.Equal(t, jobs.DealRemoved, p.dealStatus(t, "d0").State)
	_, err = p.RetryDeal(p.ctx, "d0")
	require.ErrorContains(t, err, "may land all the same")
	again := dealOf(t, "d1")
	again.Piece = d.Piece
	_, err = p.TakeDeal(p.ctx, again, "1")
	require.ErrorContains(t, err, first.String()+" has it already")
	p.chain.Advance(10)

	s, err := p.RetryDeal(p.ctx, "d0")
	require.NoError(t, err)
	require.Equal(t, jobs.DealStatus{ID: "d0", State: jobs.DealWaiting}, s)
	require.NoError(t, p.PackDeals(p.ctx))
	second := p.dealStatus(t, "d0").Place.Sector
	require.NotEqual(t, first, second)
	require.Equal(t, jobs.Committed, p.driveHome(second).Outcome)
	require.Equal(t, jobs.DealCommitted, p.dealStatus(t, "d0").State)

	// One that was refused is asked about anew.
	late := dealOf(t, "late")
	late.Piece.Allocation = &jobs.Allocation{Client: 1001, ID: 8}
	_, err = p.TakeDeal(p.ctx, late, "1")
	require.NoError(t, err)
	p.chain.SetTerms(late.Piece, jobs.Terms{}, jobs.Failf(jobs.Rejected, "the chain has none"))
	require.NoError(t, p.PackDeals(p.ctx))
	p.clock.Advance(p.policy.PackWait)
	require.NoError(t, p.PackDeals(p.ctx))
	require.Equal(t, jobs.DealRefused, p.dealStatus(t, "late").State)
	_, err = p.RetryDeal(p.ctx, "late")
	require.ErrorContains(t, err, "the chain has none")
	p.chain.SetTerms(late.Piece, jobs.Terms{}, nil)
	_, err = p.RetryDeal(p.ctx, "late")
	require.NoError(t, err)
	require.NoError(t, p.PackDeals(p.ctx))
	require.Equal(t, jobs.DealSealing, p.dealStatus(t, "late").State)
	refused, all, err := p.store.RefusedDeals(p.ctx, 0, 10)
	require.NoError(t, err)
	require.Empty(t, refused)
	require.Zero(t, all)
}
