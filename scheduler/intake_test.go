package scheduler_test

import (
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"testing"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/scheduler"
)

// piece is one of 512 padded bytes that is full.
func piece(t *testing.T, name string) jobs.Piece {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	sum[31] &= 0x3f
	c, err := commcid.PieceCommitmentV1ToCID(sum[:])
	require.NoError(t, err)
	return jobs.Piece{CID: c, Size: 512, RawSize: 508, Source: "/data/" + name}
}

func TestAddWritesARecordWithItsCommD(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	req := scheduler.Request{Miner: miner, Pieces: []jobs.Piece{piece(t, "a"), piece(t, "b")}, KeepUnsealed: true, Expiration: 10_000 + 300*2880}
	req.Pieces[1].Source = "https://example.com/b.car"
	made, err := p.Add(p.ctx, req, "ann")
	require.NoError(t, err)
	require.Len(t, made, 1)
	r := p.record(made[0].ID)
	require.Equal(t, abi.RegisteredSealProof_StackedDrg2KiBV1_1, r.Proof)
	require.Equal(t, req.Pieces, r.Pieces)
	require.True(t, r.KeepUnsealed)
	require.Equal(t, req.Expiration, r.Expiration)
	want, err := jobs.CommD(r.Proof, req.Pieces)
	require.NoError(t, err)
	require.Equal(t, want, r.CommD)
	due, err := p.store.Due(p.ctx, p.clock.Now(), 0)
	require.NoError(t, err)
	require.Equal(t, []jobs.SectorID{r.ID}, due)
	require.Equal(t, jobs.Committed, p.driveHome(r.ID).Outcome)
}

func TestPledgeGivesEachSectorANumberThatNobodyUsed(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	for _, n := range []abi.SectorNumber{0, 2, 3} {
		p.chain.TakeNumber(jobs.SectorID{Miner: miner, Number: n})
	}
	var mu sync.Mutex
	got := map[abi.SectorNumber]bool{}
	var adding sync.WaitGroup
	for range 4 {
		adding.Go(func() {
			made, err := p.Add(p.ctx, scheduler.Request{Miner: miner, Count: 5}, "ann")
			assert.NoError(t, err)
			assert.Len(t, made, 5)
			mu.Lock()
			defer mu.Unlock()
			for _, r := range made {
				assert.False(t, got[r.ID.Number], "%s twice", r.ID)
				got[r.ID.Number] = true
			}
		})
	}
	adding.Wait()
	require.Len(t, got, 20)
	for _, used := range []abi.SectorNumber{0, 2, 3} {
		require.False(t, got[used], "number %d is used on chain", used)
	}
	require.True(t, got[1] && got[22], "the lowest free ones: %v", got)

	elsewhere, err := p.Add(p.ctx, scheduler.Request{Miner: 2000}, "ann")
	require.NoError(t, err)
	require.Zero(t, elsewhere[0].ID.Number, "each miner has numbers of its own")
}

// A miner that other software seals for, too: numbers come from lpseal's ranges, without
// those that the chain has seen used, and from nowhere else.
func TestNumbersStayInTheMinersRanges(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	for _, n := range []abi.SectorNumber{0, 1000, 1002} {
		p.chain.TakeNumber(jobs.SectorID{Miner: miner, Number: n})
	}
	s, err := scheduler.New(scheduler.Options{
		Store: p.store, Queues: p.queues, Chain: p.chain, Policy: p.policy, Clock: p.clock, Name: "ranges", Log: quiet,
		Ranges: map[abi.ActorID][]sectors.Range{miner: {{From: 1000, To: 1003}, {From: 2000, To: 2000}}},
	})
	require.NoError(t, err)
	made, err := s.Add(p.ctx, scheduler.Request{Miner: miner, Count: 2}, "ann")
	require.NoError(t, err)
	require.Equal(t, []abi.SectorNumber{1001, 1003}, []abi.SectorNumber{made[0].ID.Number, made[1].ID.Number})

	_, err = s.Add(p.ctx, scheduler.Request{Miner: miner, Count: 2}, "ann")
	require.ErrorIs(t, err, sectors.ErrNumbers)
	require.ErrorContains(t, err, "1 left in the configured ranges [1000-1003 2000-2000]; add a range")
	made, err = s.Add(p.ctx, scheduler.Request{Miner: miner}, "ann")
	require.NoError(t, err)
	require.Equal(t, abi.SectorNumber(2000), made[0].ID.Number, "what was refused took no number")
	_, err = s.Add(p.ctx, scheduler.Request{Miner: miner}, "ann")
	require.ErrorIs(t, err, sectors.ErrNumbers)
}

func TestAddRefusesWhatCannotBeSealed(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	a := piece(t, "a")
	with := func(change func(*jobs.Piece)) []jobs.Piece {
		c := a
		change(&c)
		return []jobs.Piece{c}
	}
	sealed, err := commcid.ReplicaCommitmentV1ToCID(make([]byte, 32))
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		req  scheduler.Request
		says []string
	}{
		"the same piece twice": {scheduler.Request{Pieces: []jobs.Piece{a, piece(t, "b"), a}}, []string{"piece 2 (" + a.CID.String() + ")", "same as piece 0"}},
		"pieces too large": {
			scheduler.Request{Pieces: append(with(func(c *jobs.Piece) { c.Size, c.RawSize = 2048, 2032 }), piece(t, "b"))},
			[]string{"need 2560 bytes", "have 2048"},
		},
		"alignment overflows": {
			scheduler.Request{Pieces: append([]jobs.Piece{piece(t, "b"), piece(t, "c")}, with(func(c *jobs.Piece) { c.Size, c.RawSize = 2048, 100 })...)},
			[]string{"need 4096 bytes"},
		},
		"not a power of two":   {scheduler.Request{Pieces: with(func(c *jobs.Piece) { c.Size = 300 })}, []string{"padded size 300"}},
		"more bytes than size": {scheduler.Request{Pieces: with(func(c *jobs.Piece) { c.RawSize = 509 })}, []string{"has 509 bytes", "holds 1 to 508"}},
		"no bytes":             {scheduler.Request{Pieces: with(func(c *jobs.Piece) { c.RawSize = 0 })}, []string{"has 0 bytes"}},
		"no CID":               {scheduler.Request{Pieces: with(func(c *jobs.Piece) { c.CID = cid.Undef })}, []string{"has no piece CID"}},
		"a CommR as CID":       {scheduler.Request{Pieces: with(func(c *jobs.Piece) { c.CID = sealed })}, []string{"is no piece CID"}},
		"a relative path":      {scheduler.Request{Pieces: with(func(c *jobs.Piece) { c.Source = "data/a" })}, []string{`"data/a"`, "neither an absolute path"}},
		"another scheme":       {scheduler.Request{Pieces: with(func(c *jobs.Piece) { c.Source = "file:///etc/passwd" })}, []string{"http(s)"}},
		"two at once": {
			scheduler.Request{Pieces: with(func(c *jobs.Piece) { c.RawSize, c.Source = 0, "a" })},
			[]string{"has 0 bytes", "neither an absolute path"},
		},
		"many of one": {scheduler.Request{Count: 2, Pieces: []jobs.Piece{a}}, []string{"2 sectors of the same pieces"}},
		"too short a life": {
			scheduler.Request{Expiration: 10_000 + 180*2880},
			[]string{"not between", "from head 10000"},
		},
		"duration and expiration": {scheduler.Request{Duration: 300 * 2880, Expiration: 10_000 + 300*2880}, []string{"not both"}},
		"too short a duration":    {scheduler.Request{Duration: 180 * 2880}, []string{"not between"}},
		"start passed": {
			scheduler.Request{Pieces: with(func(c *jobs.Piece) { c.Terms.Start = 10_005 })},
			[]string{"piece 0 (" + a.CID.String() + ")", "must be committed by epoch 10005"},
		},
		"too long a life": {scheduler.Request{Expiration: 10_000 + 1279*2880}, []string{"not between"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.req.Miner = miner
			made, err := p.Add(p.ctx, tc.req, "ann")
			require.Error(t, err)
			require.Empty(t, made)
			for _, part := range tc.says {
				require.ErrorContains(t, err, part)
			}
		})
	}
}

func TestAddAsksTheChainWhatDealsDemand(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	a, b := piece(t, "a"), piece(t, "b")
	a.Allocation = &jobs.Allocation{Client: 1001, ID: 7}
	b.Terms.Start = 11_000
	p.chain.SetTerms(a, jobs.Terms{Start: 12_000, LifeMin: 200 * 2880, LifeMax: 400 * 2880}, nil)
	made, err := p.Add(p.ctx, scheduler.Request{Miner: miner, Pieces: []jobs.Piece{a, b}, Duration: 300 * 2880}, "ann")
	require.NoError(t, err)
	r := p.record(made[0].ID)
	require.Equal(t, abi.ChainEpoch(11_000), jobs.CommitDeadline(r))
	require.Equal(t, jobs.Terms{Start: 12_000, LifeMin: 200 * 2880, LifeMax: 400 * 2880}, r.Pieces[0].Terms)
	require.Equal(t, a.Allocation, r.Pieces[0].Allocation)
	require.Equal(t, abi.ChainEpoch(10_000+300*2880), r.Expiration)
	require.Zero(t, b.Terms.LifeMin, "the request's own pieces are not written to")

	_, err = p.Add(p.ctx, scheduler.Request{Miner: miner, Pieces: []jobs.Piece{a}, Duration: 500 * 2880}, "ann")
	require.ErrorContains(t, err, "and the pieces' deals allow")
	p.chain.SetTerms(b, jobs.Terms{LifeMin: 500 * 2880}, nil)
	_, err = p.Add(p.ctx, scheduler.Request{Miner: miner, Pieces: []jobs.Piece{a, b}}, "ann")
	require.ErrorContains(t, err, "the pieces do not go together in one sector")
	p.chain.SetTerms(a, jobs.Terms{}, jobs.Failf(jobs.Rejected, "allocation f01001/7: it is for provider f02000"))
	_, err = p.Add(p.ctx, scheduler.Request{Miner: miner, Pieces: []jobs.Piece{a}}, "ann")
	require.ErrorContains(t, err, "it is for provider f02000")
}

// An allocation that is gone when the sector is sealed holds it before its deposit is paid.
func TestAnAllocationClaimedMeanwhileHoldsTheSectorBeforeTheDeposit(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	a := piece(t, "a")
	a.Allocation = &jobs.Allocation{Client: 1001, ID: 7}
	made, err := p.Add(p.ctx, scheduler.Request{Miner: miner, Pieces: []jobs.Piece{a}}, "ann")
	require.NoError(t, err)
	id := made[0].ID
	p.driveTo(id, jobs.PreCommit)
	p.chain.SetTerms(a, jobs.Terms{}, jobs.Failf(jobs.Rejected, "the chain has none: it was claimed already"))
	env := &jobs.Env{Chain: p.chain}
	sent, err := jobs.RowOf(jobs.PreCommit).DoBatch(p.ctx, env, "b", []*jobs.Record{p.record(id)})
	require.NoError(t, err)
	require.NotNil(t, sent[0].Fault)
	p.fail(id, jobs.PreCommit, sent[0].Fault)
	r := p.look(id)
	require.NotNil(t, r.Hold)
	require.Contains(t, r.Hold.Reason, "claimed already")
	require.Contains(t, r.Hold.Reason, a.CID.String())
	require.Zero(t, p.chain.Sent(jobs.PreCommit))
}

func TestAddNamesAMinerThatTheChainDoesNotKnow(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	p.chain.Fail("Miner", jobs.Failf(jobs.Rejected, "actor not found"))
	_, err := p.Add(p.ctx, scheduler.Request{Miner: miner}, "ann")
	require.ErrorContains(t, err, "miner f01000: rejected: actor not found")
}

func TestANumberTakenOnChainMeanwhileHoldsTheSector(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	p.driveTo(id, jobs.PreCommit)
	other := jobs.OnChainPreCommit{Epoch: 9_000, CommR: p.record(id).CommD, Expires: 1 << 30}
	p.chain.SetPreCommit(id, &other)
	p.fail(id, jobs.PreCommit, jobs.Failf(jobs.Rejected, "exit 16: sector number is in use"))
	r := p.look(id)
	require.NotNil(t, r.Hold)
	require.Contains(t, r.Hold.Reason, "somebody else used the number")
	require.Zero(t, p.chain.Sent(jobs.PreCommit))
}

// TestAddWithSyntheticProofs: by the order or by the miner's configuration, on a network
// that takes them.
func TestAddWithSyntheticProofs(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	made, err := p.Add(p.ctx, scheduler.Request{Miner: miner, Synthetic: true}, "ann")
	require.NoError(t, err)
	r := p.driveHome(made[0].ID)
	require.Equal(t, abi.RegisteredSealProof_StackedDrg2KiBV1_1_Feat_SyntheticPoRep, r.Proof)
	for synthetic, want := range map[bool]abi.RegisteredSealProof{true: r.Proof, false: abi.RegisteredSealProof_StackedDrg2KiBV1_1} {
		proof, err := p.SealProof(p.ctx, scheduler.Request{Miner: miner, Synthetic: synthetic})
		require.NoError(t, err)
		require.Equal(t, want, proof)
	}
	require.Equal(t, jobs.Committed, r.Outcome)
	log, err := p.store.Log(p.ctx, r.ID, 0)
	require.NoError(t, err)
	at := func(text string) int {
		return slices.IndexFunc(log, func(l sectors.LogLine) bool { return strings.HasPrefix(l.Text, text) })
	}
	require.NotEqual(t, -1, at("drop_layers queued"))
	require.Less(t, at("drop_layers queued"), at("precommit queued"))

	s, err := scheduler.New(scheduler.Options{
		Store: p.store, Queues: p.queues, Chain: p.chain, Policy: p.policy, Clock: p.clock, Log: quiet, Name: "other",
		Synthetic: map[abi.ActorID]bool{miner: true},
	})
	require.NoError(t, err)
	made, err = s.Add(p.ctx, scheduler.Request{Miner: miner}, "ann")
	require.NoError(t, err)
	require.True(t, made[0].Proof.IsSynthetic())
}
