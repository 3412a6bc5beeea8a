package jobs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

// watched notes the seeds that it is challenged with, and fails where it is told to.
type watched struct {
	jobstest.Prover
	seeds  [][]byte
	failAt int // C1 of this number, counted from 1
	verify error
	seals  []jobs.Seal // verified
}

func (w *watched) C1(ctx context.Context, s jobs.Seal, f jobs.Folders) ([]byte, error) {
	w.seeds = append(w.seeds, s.Seed)
	if len(w.seeds) == w.failAt {
		return nil, jobs.Failf(jobs.Input, "an opening does not fit")
	}
	return w.Prover.C1(ctx, s, f)
}

func (w *watched) Verify(_ context.Context, s jobs.Seal, _, _ []byte) error {
	w.seals = append(w.seals, s)
	return w.verify
}

// scene is a sector whose layers and data tree are made, and a chain.
func scene(t *testing.T) (*jobs.Env, *jobs.Record, *watched, *jobstest.Chain) {
	t.Helper()
	chain, prover := jobstest.NewChain(), &watched{}
	env := &jobs.Env{
		Prover: prover, Chain: chain, Files: &jobstest.Files{Dir: t.TempDir()}, Rand: rand.Reader,
		Clock: jobstest.NewClock(), Progress: func(jobs.Progress) {},
	}
	r := &jobs.Record{ID: jobs.SectorID{Miner: 1000, Number: 1}, Proof: abi.RegisteredSealProof_StackedDrg2KiBV1_1, Home: "p", Stages: map[jobs.Stage]jobs.StageRecord{}}
	var err error
	r.CommD, err = jobs.CommD(r.Proof, nil)
	require.NoError(t, err)
	head, err := chain.Head(t.Context())
	require.NoError(t, err)
	r.Ticket.Epoch = head.Epoch - 900
	r.Ticket.Value, err = chain.Ticket(t.Context(), r.ID.Miner, r.Ticket.Epoch)
	require.NoError(t, err)
	for _, s := range []jobs.Stage{jobs.TreeD, jobs.SDR} {
		_, err := perform(t, s, env, r)
		require.NoError(t, err)
	}
	return env, r, prover, chain
}

func requireFault(t *testing.T, err error, class jobs.FaultClass, text string) *jobs.Fault {
	t.Helper()
	f, ok := jobs.Classify(t.Context(), err)
	require.True(t, ok, err)
	require.Equal(t, class, f.Class, f.Text)
	require.Contains(t, f.Text, text)
	return f
}

// TestTreesAreChallenged: three vanilla proofs with seeds of their own before any
// money is put on a replica.
func TestTreesAreChallenged(t *testing.T) {
	t.Parallel()
	env, r, prover, _ := scene(t)
	do := jobs.RowOf(jobs.TreeRC).Do
	res, err := do(t.Context(), env, r)
	require.NoError(t, err)
	require.True(t, res.CommR.Defined())
	require.Len(t, prover.seeds, 3)
	for i, seed := range prover.seeds {
		require.Len(t, seed, 32)
		require.NotEqual(t, make([]byte, 32), seed)
		require.NotEqual(t, seed, prover.seeds[(i+1)%3])
	}
}

// TestAFailedSelfCheckMakesNoReplica, whichever of the three it is.
func TestAFailedSelfCheckMakesNoReplica(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 3; at++ {
		env, r, prover, _ := scene(t)
		prover.failAt = at
		res, err := jobs.RowOf(jobs.TreeRC).Do(t.Context(), env, r)
		require.Nil(t, res)
		requireFault(t, err, jobs.Input, fmt.Sprintf("self-check %d of 3: an opening does not fit", at))
		require.Equal(t, jobs.SDR, jobs.RowOf(jobs.TreeRC).InputFrom, "what is made again")
	}
	env, r, prover, _ := scene(t)
	env.Rand = io.LimitReader(rand.Reader, 40)
	_, err := jobs.RowOf(jobs.TreeRC).Do(t.Context(), env, r)
	require.ErrorContains(t, err, "random seed", "half a seed challenges nothing")
	require.Len(t, prover.seeds, 1)
}

// TestC2IsVerified against the values that the pre-commit froze, and refused if it does
// not hold.
func TestC2IsVerified(t *testing.T) {
	t.Parallel()
	env, r, prover, _ := scene(t)
	landed(t, env, r)
	res, err := jobs.RowOf(jobs.C2).Do(t.Context(), env, r)
	require.NoError(t, err)
	require.NotEmpty(t, res.PoRep)
	require.Equal(t, []jobs.Seal{r.Seal()}, prover.seals)

	prover.verify = jobs.Failf(jobs.Input, "the proof does not hold")
	res, err = jobs.RowOf(jobs.C2).Do(t.Context(), env, r)
	require.Nil(t, res)
	require.Equal(t, jobs.C1, requireFault(t, err, jobs.Input, "does not hold").From)
}

// perform does a stage for a sector, in a batch of one where the stage has batches.
func perform(t *testing.T, s jobs.Stage, env *jobs.Env, r *jobs.Record) (*jobs.Result, error) {
	t.Helper()
	row := jobs.RowOf(s)
	if !row.Batched() {
		return row.Do(t.Context(), env, r)
	}
	sent, err := row.DoBatch(t.Context(), env, "b-of-one", []*jobs.Record{r})
	if err != nil {
		return nil, err
	}
	if sent[0].Fault != nil {
		return nil, sent[0].Fault
	}
	return &jobs.Result{Message: sent[0].Message}, nil
}

// landed takes the record as far as a vanilla proof, its pre-commit on chain.
func landed(t *testing.T, env *jobs.Env, r *jobs.Record) jobs.OnChainPreCommit {
	t.Helper()
	chain := env.Chain.(*jobstest.Chain)
	for _, s := range []jobs.Stage{jobs.TreeRC, jobs.PreCommit} {
		res, err := perform(t, s, env, r)
		require.NoError(t, err)
		if s == jobs.TreeRC {
			r.CommR = res.CommR
		}
	}
	chain.Advance(50)
	on, err := chain.OnChain(t.Context(), r.ID)
	require.NoError(t, err)
	require.NotNil(t, on.PreCommit)
	network, err := chain.Network(t.Context())
	require.NoError(t, err)
	r.PreCommitEpoch, r.CommitDeadline = on.PreCommit.Epoch, on.PreCommit.Expires
	r.Seed.Epoch = r.PreCommitEpoch + network.ChallengeDelay
	r.Seed.Value, err = chain.Seed(t.Context(), r.ID.Miner, r.Seed.Epoch)
	require.NoError(t, err)
	res, err := jobs.RowOf(jobs.C1).Do(t.Context(), env, r)
	require.NoError(t, err)
	r.C1Digest = res.C1Digest
	return *on.PreCommit
}

// TestNothingIsOfferedThatTheChainWouldRefuse: the proof was made of the record's
// values; each is compared with the chain's just before it is sent.
func TestNothingIsOfferedThatTheChainWouldRefuse(t *testing.T) {
	t.Parallel()
	other := func(c cid.Cid) cid.Cid { // of the same kind
		b := bytes.Clone(c.Bytes())
		b[len(b)-1] ^= 1
		return cid.MustParse(b)
	}
	for name, c := range map[string]struct {
		change func(*jobs.Record, *jobs.OnChainPreCommit)
		class  jobs.FaultClass
		text   string
		from   jobs.Stage
	}{
		"CommR":            {func(_ *jobs.Record, p *jobs.OnChainPreCommit) { p.CommR = other(p.CommR) }, jobs.Rejected, "the proof is of CommR", ""},
		"CommD":            {func(r *jobs.Record, p *jobs.OnChainPreCommit) { p.CommD = other(r.CommD) }, jobs.Rejected, "the proof is of CommD", ""},
		"ticket's epoch":   {func(_ *jobs.Record, p *jobs.OnChainPreCommit) { p.TicketEpoch-- }, jobs.Rejected, "the ticket of epoch", ""},
		"ticket":           {func(r *jobs.Record, _ *jobs.OnChainPreCommit) { r.Ticket.Value = make([]byte, 32) }, jobs.Rejected, "the proof is of ticket 00", ""},
		"seed":             {func(r *jobs.Record, _ *jobs.OnChainPreCommit) { r.Seed.Value = make([]byte, 32) }, jobs.Input, "a reorganisation changed it", jobs.C1},
		"pre-commit moved": {func(_ *jobs.Record, p *jobs.OnChainPreCommit) { p.Epoch++ }, jobs.Input, "a reorganisation changed it", jobs.C1},
		"nothing":          {func(*jobs.Record, *jobs.OnChainPreCommit) {}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env, r, _, chain := scene(t)
			pre := landed(t, env, r)
			r.PoRep = []byte("a SNARK")
			c.change(r, &pre)
			chain.SetPreCommit(r.ID, &pre)
			res, err := perform(t, jobs.Commit, env, r)
			if c.class == "" {
				require.NoError(t, err)
				require.NotEmpty(t, res.Message)
				return
			}
			require.Equal(t, c.from, requireFault(t, err, c.class, c.text).From)
			require.Zero(t, chain.Calls()["SendCommits"])
		})
	}
}

// TestANodeThatIsAwayIsNotTheProofsFault: what cannot be compared is not sent.
func TestANodeThatIsAwayIsNotTheProofsFault(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"OnChain", "Network", "Ticket", "Seed"} {
		env, r, _, chain := scene(t)
		landed(t, env, r)
		chain.Fail(method, errors.New("connection refused"))
		_, err := perform(t, jobs.Commit, env, r)
		require.ErrorContains(t, err, "connection refused", method)
		require.Zero(t, chain.Calls()["SendCommits"], method)
	}
}
