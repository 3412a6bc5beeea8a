package e2e

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
	"github.com/lpseal/lpseal/scheduler"
	"github.com/lpseal/lpseal/worker"
)

const (
	stormMiner   = abi.ActorID(1000)
	stormSectors = 500
)

// storm is a pipeline in this process: redis-server, an embedded node that misbehaves,
// two schedulers with their lanes for queue chain, and a machine that seals by saying
// so. What is tried is the way of 500 sectors over the chain, not their bytes.
type storm struct {
	*testing.T
	redis  *redistest.Redis
	store  *sectors.Store
	queues *queue.Queues
	node   *devnet.Node
	api    *lotus.FullNode
	policy jobs.Policy
}

// believing takes any proof: nothing here was sealed.
type believing struct{}

func (believing) VerifyVanilla(context.Context, devnet.SealInfo, []byte) error { return nil }
func (believing) VerifySNARK(context.Context, devnet.SealInfo, []byte) error   { return nil }

func newStorm(t *testing.T) *storm {
	t.Helper()
	s := &storm{T: t, redis: redistest.StartServer(t), policy: jobs.DefaultPolicy()}
	s.store, s.queues = sectors.New(s.redis.Client), queue.New(s.redis.Client)
	s.policy.Look, s.policy.BusyWait, s.policy.BackoffBase, s.policy.BackoffMax = 500*time.Millisecond, time.Second, 500*time.Millisecond, 3*time.Second
	for _, b := range []*jobs.BatchPolicy{&s.policy.PreCommits, &s.policy.Commits} {
		b.Max, b.Wait, b.Slack = 24, time.Second, 0
	}
	var err error
	s.node, err = devnet.Start(t.Context(), devnet.Config{EpochDuration: 100 * time.Millisecond, Verifier: believing{}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.node.Close()) })
	require.NoError(t, s.node.Advance(t.Context(), 10))
	s.api = dial(t, s.node.APIInfo())
	return s
}

// run starts something that ends when it is stopped, with the test at the latest.
func (s *storm) run(what string, f func(context.Context) error) (stop func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
			assert.NoError(s, err, what)
		}
	})
	stop = func() { cancel(); running.Wait() }
	s.Cleanup(stop)
	return stop
}

// scheduler starts one scheduler process, as `lpseal scheduler` is made of.
func (s *storm) scheduler(name string) {
	s.Helper()
	quiet := slog.New(slog.DiscardHandler)
	dir := s.TempDir()
	disk, err := chain.OpenFileJournal(filepath.Join(dir, "messages.jsonl"))
	require.NoError(s, err)
	s.Cleanup(disk.Close)
	client, err := chain.Dial(s.Context(), chain.Config{
		API: s.node.APIInfo(), Miners: []abi.ActorID{stormMiner}, Log: quiet, Timeout: 5 * time.Second, Backoff: 20 * time.Millisecond,
		Journal: chain.Mirror(s.store.Journal(), disk), ReplaceAfter: 5,
	})
	require.NoError(s, err)
	s.Cleanup(client.Close)
	sched, err := scheduler.New(scheduler.Options{Store: s.store, Queues: s.queues, Chain: client, Policy: s.policy, Log: quiet, Name: name, Period: time.Second})
	require.NoError(s, err)
	host, err := files.Open(files.Options{Host: name, Log: quiet})
	require.NoError(s, err)
	env := &jobs.Env{Chain: client, Files: host, Clock: wallClock{}, Rand: rand.Reader, Progress: func(jobs.Progress) {}}
	lane, err := worker.New(worker.Options{
		Host: name, Instance: "scheduler", Run: rand.Text(), StateDir: dir, Lanes: []jobs.Lane{{Class: jobs.ClassChain, Width: 4}},
		Store: s.store, Queues: s.queues, Files: host, Env: func(jobs.Lane) *jobs.Env { return env }, Policy: s.policy, Log: quiet,
	})
	require.NoError(s, err)
	s.run(name, sched.Run)
	s.run(name+"'s lane", lane.Run)
	s.run(name+"'s client", client.Run)
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

// machine serves every stage at home by saying that it is done.
func (s *storm) machine() {
	s.Helper()
	w := jobs.Worker{Host: "h1", Instance: "main", Run: "r", Paths: []jobs.Path{{ID: "p1", CanSeal: true, CanStore: true, Capacity: 1 << 40, Free: 1 << 40}}}
	for _, class := range []jobs.Class{jobs.ClassSDR, jobs.ClassCPU, jobs.ClassIO, jobs.ClassGPU} {
		lane := jobs.Lane{Class: class, Width: 8, Prover: jobs.NativeProver}
		if class == jobs.ClassGPU {
			lane.GPU = "a"
		}
		w.Lanes = append(w.Lanes, lane)
	}
	require.NoError(s, s.store.Join(s.Context(), w, time.Hour))
	for _, lane := range w.Lanes {
		var names []string
		for _, q := range lane.Queues(w.Host) {
			names = append(names, q.String())
		}
		server, err := s.queues.Serve(queue.Options{Queues: names, Width: lane.Width, Handler: func(ctx context.Context, task jobs.TaskRef) error { return s.say(ctx, w.Owner(), task) }})
		require.NoError(s, err)
		require.NoError(s, server.Start())
		s.Cleanup(server.Shutdown)
	}
}

func (s *storm) say(ctx context.Context, owner string, task jobs.TaskRef) error {
	r, err := s.store.Apply(ctx, task.ID, jobs.Claimed{Task: task, Worker: owner}, owner, time.Now())
	if err == nil {
		r, err = s.store.Apply(ctx, task.ID, jobs.Completed{Task: task, Claim: r.Stage(task.Stage).Claim, Result: said(r, task.Stage)}, owner, time.Now())
	}
	if errors.Is(err, jobs.ErrStale) {
		return nil
	} else if err != nil {
		return err
	}
	return s.queues.Advance(ctx, task.ID, r.Version)
}

// said is what a stage would have found out: bound to ticket and seed as the real
// thing is.
func said(r *jobs.Record, s jobs.Stage) (out jobs.Result) {
	switch s {
	case jobs.TreeRC:
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %x", r.ID, r.Ticket.Value))
		sum[31] &= 0x3f
		out.CommR, _ = commcid.ReplicaCommitmentV1ToCID(sum[:])
	case jobs.C1:
		out.C1Digest = fmt.Sprintf("%x", sha256.Sum256(r.Seed.Value))
	case jobs.C2:
		out.PoRep = make([]byte, 192)
		copy(out.PoRep, r.C1Digest)
	case jobs.Store:
		out.Stored = &jobs.Stored{Path: "p1"}
	}
	return out
}

// weather makes the node misbehave in turns, with a fifth of all calls failing
// throughout, until the order comes to behave.
func (s *storm) weather(ctx context.Context) error {
	for turn := 0; ; turn++ {
		m := []devnet.Misbehaviour{
			{Reorg: 3, DropReverted: true}, {DropMessages: 2}, {LoseReceipts: 2}, {BaseFee: 3_000_000_000, BaseFeeEpochs: 8},
			{Reorg: 4}, {DropPending: true}, {Disconnect: true}, {},
		}[turn%8]
		m.FailRatio = 0.2
		if err := s.node.Misbehave(ctx, m); err != nil {
			return err
		}
		for until := s.node.Head().Height + 15; s.node.Head().Height < until; {
			select {
			case <-ctx.Done():
				return s.node.Misbehave(context.WithoutCancel(ctx), devnet.Misbehaviour{})
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// operator takes back a message that waits to land, one every few epochs.
func (s *storm) operator(ctx context.Context, client *chain.Client) error {
	for ctx.Err() == nil {
		waiting, err := chain.Ledger{Shared: s.store.Journal()}.Waiting(ctx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(waiting, func(m chain.Tracked) bool { return m.State == jobs.MessagePushed && m.Canceled == "" })
		if at >= 0 {
			_, _ = client.Cancel(ctx, waiting[at].Key, big.Zero()) // it may be too late, or the node fails the call
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

// takenBack counts the messages that an operator took back in time.
func (s *storm) takenBack() (n int) {
	s.Helper()
	all, err := chain.Ledger{Shared: s.store.Journal()}.All(s.Context())
	require.NoError(s, err)
	for _, m := range all {
		if m.State == jobs.MessageDropped && m.Canceled != "" {
			n++
		}
	}
	return n
}

// TestStorm is the chain's whole promise at once: with reorganisations, lost receipts,
// dropped messages, spikes of the base fee, a fifth of all calls failing, two
// schedulers and an operator who takes messages back, every one of 500 sectors becomes
// committed, no two messages of one meaning land, no deposit is lost, and the ledger of
// funds adds up.
func TestStorm(t *testing.T) {
	t.Parallel()
	s := newStorm(t)
	before := s.balances()
	s.machine()
	s.scheduler("s1")
	s.scheduler("s2")
	client, err := chain.Dial(t.Context(), chain.Config{API: s.node.APIInfo(), Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer client.Close()
	adder, err := scheduler.New(scheduler.Options{Store: s.store, Queues: s.queues, Chain: client, Policy: s.policy, Log: slog.New(slog.DiscardHandler), Name: "adder"})
	require.NoError(t, err)
	person, err := chain.Dial(t.Context(), chain.Config{API: s.node.APIInfo(), Log: slog.New(slog.DiscardHandler), Timeout: 5 * time.Second, Journal: s.store.Journal()})
	require.NoError(t, err)
	defer person.Close()
	calm := s.run("weather", s.weather)
	rest := s.run("operator", func(ctx context.Context) error { return s.operator(ctx, person) })
	for left := stormSectors; left > 0; left -= 50 {
		for tries := 0; ; tries++ { // the node fails calls
			if _, err = adder.Add(t.Context(), scheduler.Request{Miner: stormMiner, Count: 50}, "test"); err == nil || tries == 20 {
				break
			}
		}
		require.NoError(t, err)
	}
	s.awaitCommitted()
	rest()
	calm()
	s.settleLedger(before)
	require.Positive(t, s.takenBack(), "what was taken back was sent anew")
}

func (s *storm) awaitCommitted() {
	s.Helper()
	var open, held int
	for end := time.Now().Add(8 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		ids, err := s.store.All(s.Context(), nil)
		require.NoError(s, err)
		records, err := s.store.LoadMany(s.Context(), ids)
		require.NoError(s, err)
		open, held = 0, 0
		var last *jobs.Record
		for _, r := range records {
			if r.Outcome == jobs.Open {
				open, last = open+1, r
			}
			if r.Hold != nil {
				held++
				require.Fail(s, "held", "%s: %s", r.ID, r.Hold.Reason)
			}
		}
		if open == 0 && len(records) == stormSectors {
			return
		}
		if time.Now().After(end) {
			require.Fail(s, "sectors are left over", "%d of %d; one of them: %+v", open, len(records), last.Stages)
		}
	}
}
