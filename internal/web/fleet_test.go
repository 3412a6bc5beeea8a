package web_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"
	"time"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/internal/web"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
	"github.com/lpseal/lpseal/jobs/queue"
)

const (
	miner = abi.ActorID(1000)
	head  = abi.ChainEpoch(4_123_456)
)

// fleet is a Redis with sectors in it, which came there by the domain's own events.
type fleet struct {
	t      testing.TB
	ctx    context.Context
	redis  *redistest.Redis
	store  *sectors.Store
	queues *queue.Queues
	clock  *jobstest.Clock
	now    time.Time
	tasks  []task // that were made, in order
}

// task is a delivery and the queue it belongs on.
type task struct {
	on    jobs.Queue
	ref   jobs.TaskRef
	batch *jobs.Batch // that the stage goes in
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	return newFleetOn(t, redistest.StartMini(t))
}

func newFleetOn(t testing.TB, r *redistest.Redis) *fleet {
	t.Helper()
	clock := jobstest.NewClock()
	return &fleet{
		t: t, ctx: t.Context(), redis: r, store: sectors.New(r.Client), queues: queue.New(r.Client), clock: clock, now: clock.Now(),
	}
}

// handler makes the pages.
func (f *fleet) handler(change func(*web.Options)) http.Handler {
	f.t.Helper()
	o := web.Options{
		Store: f.store, Queues: f.queues, Redis: f.redis.Client, Scheduler: &poller{f}, Node: calm{}, Miners: []abi.ActorID{miner},
		Version: "test", Clock: f.clock, Log: slog.New(slog.DiscardHandler), Patience: time.Minute, // the node is in this process
	}
	if change != nil {
		change(&o)
	}
	h, err := web.New(o)
	require.NoError(f.t, err)
	return h
}

// serve starts the pages and gives a client that keeps cookies and follows nothing.
func (f *fleet) serve(change func(*web.Options)) *visitor {
	f.t.Helper()
	server := httptest.NewServer(f.handler(change))
	f.t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(f.t, err)
	client := server.Client()
	client.Jar = jar
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &visitor{t: f.t, url: server.URL, client: client, header: http.Header{"Accept": {"text/html"}}}
}

// poller stands in for the scheduler: it decides by the record and the workers alone.
type poller struct{ *fleet }

func (p *poller) Explain(ctx context.Context, id jobs.SectorID) (jobs.Action, jobs.Reason, *jobs.Record, error) {
	r, err := p.store.Load(ctx, id)
	if err != nil {
		return jobs.Action{}, jobs.Reason{}, nil, err
	}
	workers, err := p.store.Workers(ctx)
	if err != nil {
		return jobs.Action{}, jobs.Reason{}, nil, err
	}
	policy := jobs.DefaultPolicy()
	a, why := jobs.Decide(r, &jobs.Facts{
		Now: p.clock.Now(), Head: jobs.Head{Epoch: head}, Workers: workers,
		Network: jobs.Network{Name: "test", BlockDelay: 30 * time.Second, ChallengeDelay: 150, Embedded: true},
	}, &policy)
	return a, why, r, nil
}

func (p *poller) Order(ctx context.Context, id jobs.SectorID, order jobs.Event, by string) error {
	_, err := p.store.Apply(ctx, id, order, by, p.clock.Now())
	return err
}

func (p *poller) TakeDeal(ctx context.Context, d jobs.Deal, digest string) (jobs.DealStatus, error) {
	switch d.Piece.Terms.Start {
	case 1:
		return jobs.DealStatus{}, jobs.Failf(jobs.Deadline, "deal start passed")
	case 2:
		return jobs.DealStatus{}, jobs.Failf(jobs.Transient, "node away")
	}
	d.Received = p.clock.Now()
	there, err := p.store.AddDeal(ctx, d, digest)
	if err != nil {
		return jobs.DealStatus{}, err
	}
	if there.Digest != digest {
		return jobs.DealStatus{}, sectors.ErrExists
	}
	return p.store.StatusOf(ctx, there)
}

func (p *poller) Forming(ctx context.Context) ([]jobs.Forming, error) {
	open, err := p.store.OpenDeals(ctx)
	if err != nil {
		return nil, err
	}
	var deals []jobs.Deal
	for _, d := range open {
		if d.Sector == nil && d.Refused == "" {
			deals = append(deals, d.Deal)
		}
	}
	policy := jobs.DefaultPolicy()
	var out []jobs.Forming
	for _, b := range jobs.Pack(deals, 32<<30, &jobs.Facts{Now: p.clock.Now(), Head: jobs.Head{Epoch: head}, Network: jobs.Network{BlockDelay: 30 * time.Second, ChallengeDelay: 150}}, &policy) {
		out = append(out, jobs.Forming{Packing: b, Miner: miner, Size: 32 << 30})
	}
	return out, nil
}

func sector(n int) jobs.SectorID { return jobs.SectorID{Miner: miner, Number: abi.SectorNumber(n)} }

// add makes a sector, age ago; with data if it has a piece.
func (f *fleet) add(id jobs.SectorID, age time.Duration, data bool) {
	f.t.Helper()
	r := &jobs.Record{ID: id, Version: 1, Created: f.now.Add(-age), Proof: abi.RegisteredSealProof_StackedDrg32GiBV1_1, Stages: map[jobs.Stage]jobs.StageRecord{}}
	if data {
		r.Pieces = []jobs.Piece{{CID: commitment("piece", id), Size: 32 << 30, RawSize: 33_000_000_000, Source: "/data/in/" + id.String() + ".car"}}
	}
	r.CommD = commitment("CommD", id)
	require.NoError(f.t, f.store.Create(f.ctx, r, "cli"))
}

func commitment(what string, id jobs.SectorID) cid.Cid {
	sum := sha256.Sum256([]byte(what + id.String()))
	sum[31] &= 0x3f
	make := commcid.DataCommitmentV1ToCID
	if what == "CommR" {
		make = commcid.ReplicaCommitmentV1ToCID
	}
	c, err := make(sum[:])
	if err != nil {
		panic(err)
	}
	return c
}

// write applies an event as of some time ago.
func (f *fleet) write(id jobs.SectorID, ago time.Duration, by string, e jobs.Event) *jobs.Record {
	f.t.Helper()
	r, err := f.store.Apply(f.ctx, id, e, by, f.now.Add(-ago))
	require.NoError(f.t, err)
	return r
}

// homeOf spreads sectors over two hosts.
func homeOf(id jobs.SectorID) string { return fmt.Sprintf("h%d", 1+id.Number%2) }

func queueOf(id jobs.SectorID, s jobs.Stage) jobs.Queue {
	class := jobs.RowOf(s).Classes[0]
	switch {
	case class == jobs.ClassChain:
		return jobs.Queue{Class: class}
	case s == jobs.C2:
		return jobs.Queue{Class: class, Host: jobs.AnyHost, GPU: "rtx4090"}
	case class == jobs.ClassGPU:
		return jobs.Queue{Class: class, Host: homeOf(id), GPU: "rtx4090"}
	}
	return jobs.Queue{Class: class, Host: homeOf(id)}
}

// queue writes the intent to run a stage.
func (f *fleet) queue(id jobs.SectorID, s jobs.Stage, ago time.Duration) *jobs.Record {
	f.t.Helper()
	var drawn *jobs.Randomness
	if d := jobs.RowOf(s).Draw; d != jobs.DrawNothing {
		value := sha256.Sum256([]byte(string(d) + id.String()))
		drawn = &jobs.Randomness{Epoch: head - 3000, Value: value[:], At: head - 2100}
	}
	queued := jobs.Scheduled{Stage: s, Queue: queueOf(id, s), Drawn: drawn}
	var batch *jobs.Batch
	if jobs.RowOf(s).Batched() {
		batch = f.batch(id, s, ago)
		queued.Batch = batch.ID
	}
	r := f.write(id, ago, "scheduler/s1", queued)
	if batch != nil {
		var err error
		batch, err = f.store.ApplyBatch(f.ctx, batch, jobs.MembersAccepted{Members: []jobs.TaskRef{r.Task(s)}}, "scheduler/s1", f.now.Add(-ago))
		require.NoError(f.t, err)
	}
	f.tasks = append(f.tasks, task{queueOf(id, s), r.Task(s), batch})
	return r
}

// batch plans a batch of one.
func (f *fleet) batch(id jobs.SectorID, s jobs.Stage, ago time.Duration) *jobs.Batch {
	f.t.Helper()
	r, err := f.store.Load(f.ctx, id)
	require.NoError(f.t, err)
	at := f.now.Add(-ago)
	b := &jobs.Batch{
		ID:      jobs.NewBatchID(at, fmt.Sprintf("%s%04d", s, id.Number)),
		Version: 1, Created: at, Since: at, Group: r.GroupOf(s), Cause: jobs.BatchTimeout, State: jobs.BatchPlanned,
	}
	require.NoError(f.t, f.store.CreateBatch(f.ctx, b, "scheduler/s1"))
	return b
}

// run has a worker claim a stage.
func (f *fleet) run(id jobs.SectorID, s jobs.Stage, ago time.Duration) *jobs.Record {
	f.t.Helper()
	r := f.queue(id, s, ago+time.Second)
	owner := homeOf(id) + "/main@run1"
	if jobs.RowOf(s).Place == jobs.AtChain {
		owner = "h0/scheduler@run1"
	}
	return f.write(id, ago, owner, jobs.Claimed{Task: r.Task(s), Worker: owner})
}

// do brings a stage to its end.
func (f *fleet) do(id jobs.SectorID, s jobs.Stage, ago time.Duration) {
	f.t.Helper()
	r := f.run(id, s, ago+time.Minute)
	result := jobs.Result{}
	switch s {
	case jobs.TreeRC:
		result.CommR = commitment("CommR", id)
	case jobs.PreCommit, jobs.Commit:
		result.Message = "bafy2bzacedmessage" + string(s) + fmt.Sprint(id.Number)
	}
	f.write(id, ago, r.Stage(s).Worker, jobs.Completed{Task: r.Task(s), Claim: r.Stage(s).Claim, Result: result})
	if name := r.Stage(s).Batch; name != "" {
		f.endBatch(name, ago, "1 of 1 sectors sent in "+result.Message)
	}
}

func (f *fleet) endBatch(name string, ago time.Duration, note string) {
	f.t.Helper()
	b, err := f.store.Batch(f.ctx, name)
	require.NoError(f.t, err)
	for _, e := range []func() jobs.BatchEvent{
		func() jobs.BatchEvent { return jobs.BatchClaimed{Task: b.Task(), Worker: "h0/scheduler@run1"} },
		func() jobs.BatchEvent { return jobs.BatchEnded{Claim: b.Claim, Note: note} },
	} {
		b, err = f.store.ApplyBatch(f.ctx, b, e(), "h0/scheduler@run1", f.now.Add(-ago))
		require.NoError(f.t, err)
	}
}

// fail ends a stage in a fault.
func (f *fleet) fail(id jobs.SectorID, s jobs.Stage, ago time.Duration, fault *jobs.Fault) {
	f.t.Helper()
	r := f.run(id, s, ago+time.Minute)
	f.write(id, ago, r.Stage(s).Worker, jobs.Failed{Task: r.Task(s), Claim: r.Stage(s).Claim, Fault: *fault})
	if name := r.Stage(s).Batch; name != "" {
		f.endBatch(name, ago, "0 of 1 sectors sent")
	}
}

// until does every stage before s, the chain's part too. It ends a little more than
// ago ago.
func (f *fleet) until(id jobs.SectorID, s jobs.Stage, ago time.Duration) {
	f.t.Helper()
	f.write(id, ago+6*time.Hour, "scheduler/s1", jobs.Placed{Path: "nvme-" + homeOf(id)})
	for i, row := range jobs.Stages {
		at := ago + time.Duration(len(jobs.Stages)-i)*20*time.Minute
		switch row.Stage {
		case jobs.C1:
			f.landPreCommit(id)
		case jobs.DropLayers:
			f.write(id, at, "scheduler/s1", jobs.CommitLanded{Sector: jobs.OnChainSector{CommR: commitment("CommR", id), Activation: head - 20}})
		}
		if row.Stage == s {
			return
		}
		f.do(id, row.Stage, at)
	}
}

func (f *fleet) landPreCommit(id jobs.SectorID) {
	f.t.Helper()
	f.write(id, time.Hour, "scheduler/s1", jobs.PreCommitLanded{PreCommit: jobs.OnChainPreCommit{
		Epoch: head - 300, CommR: commitment("CommR", id), Expires: head + 86_000, TicketEpoch: head - 3000,
	}})
}

// finish brings a sector to its end.
func (f *fleet) finish(id jobs.SectorID) {
	f.t.Helper()
	f.until(id, jobs.RecoverWipe, time.Hour)
	f.write(id, time.Hour, "scheduler/s1", jobs.Finished{Outcome: jobs.Committed})
}

func (f *fleet) progress(id jobs.SectorID, s jobs.Stage, step string, done, total uint64) {
	f.t.Helper()
	require.NoError(f.t, f.store.SetProgress(f.ctx, id, s, jobs.Progress{Step: step, Done: done, Total: total}))
}

// workers makes the machines live: two hosts that seal, one more GPU, and a scheduler.
func (f *fleet) workers() {
	f.t.Helper()
	const tib = 1 << 40
	for _, host := range []string{"h1", "h2"} {
		w := jobs.Worker{
			Host: host, Instance: "main", Run: "run1", PID: 4711, Version: "v1.0.0", FileURL: "http://" + host + ":8646",
			Capacity: jobs.Capacity{Memory: 512 << 30, Cores: 64}, Held: jobs.Need{Memory: 192 << 30},
			Lanes: []jobs.Lane{
				{Class: jobs.ClassSDR, Width: 4, Busy: 3, Group: 2, Prover: "filcrypto"},
				{Class: jobs.ClassCPU, Width: 2, Busy: 1, Prover: "native", Env: []string{"FIL_PROOFS_USE_MULTICORE_SDR=1"}, Stages: []jobs.LaneStage{
					{Stage: jobs.TreeD, Prover: "native", Why: "filcrypto makes no data tree by itself", Need: jobs.Need{Memory: 1 << 30}},
					{Stage: jobs.C1, Prover: "filcrypto", Why: "faster: 1s against 2s of native"},
				}},
				{Class: jobs.ClassIO, Width: 4, Busy: 1, Prover: "filcrypto"},
				{Class: jobs.ClassGPU, GPU: "rtx4090", Device: "0", Width: 1, Busy: 1, Loaded: 1, Prover: "filcrypto"},
			},
			Paths: []jobs.Path{
				{ID: "nvme-" + host, Dir: "/mnt/nvme0/seal", CanSeal: true, Capacity: 14 * tib, Free: 6 * tib},
				{ID: "hdd-" + host, CanStore: true, Capacity: 180 * tib, Free: 97 * tib},
			},
		}
		for n := 1; n <= 28; n++ {
			if id := sector(n); homeOf(id) == host && n > 4 {
				require.NoError(f.t, f.store.Reserve(f.ctx, "nvme-"+host, id, jobs.SealingSpace(abi.RegisteredSealProof_StackedDrg32GiBV1_1), 14*tib))
			}
		}
		for n := 18; n <= 23; n++ {
			if id := sector(n); homeOf(id) == host {
				w.Children = append(w.Children, id.String()+".sdr.f1.a1")
			}
		}
		require.NoError(f.t, f.store.Join(f.ctx, w, time.Hour))
	}
	require.NoError(f.t, f.store.Join(f.ctx, jobs.Worker{
		Host: "h3", Instance: "gpu0", Run: "run1", Version: "v1.0.0",
		Lanes: []jobs.Lane{{Class: jobs.ClassGPU, GPU: "rtx3090", Device: "0", Width: 1, Prover: "filcrypto", Unfit: "no GPU is seen by the prover: look at nvidia-smi"}},
	}, time.Hour))
	require.NoError(f.t, f.store.Join(f.ctx, jobs.Worker{
		Host: "h0", Instance: "scheduler", Run: "run1", Version: "v1.0.0", Lanes: []jobs.Lane{{Class: jobs.ClassChain, Width: 8, Busy: 1, Prover: "native"}},
	}, time.Hour))
}

// work puts the tasks on real queues and serves them until the end of the test: those of
// stages that are done complete, those of running ones stay active, and those of queued
// ones wait, for the servers take no more.
func (f *fleet) work() {
	f.t.Helper()
	states, queues := map[jobs.TaskRef]jobs.StageState{}, map[string]bool{}
	for _, t := range f.tasks {
		r, err := f.store.Load(f.ctx, t.ref.ID)
		require.NoError(f.t, err)
		states[t.ref] = r.Stage(t.ref.Stage).State
		queues[t.on.String()] = true
	}
	of := map[string]jobs.TaskRef{} // a batch's member
	for _, t := range f.tasks {
		if t.batch != nil {
			of[t.batch.ID] = t.ref
		}
	}
	begun, end := make(chan jobs.TaskRef, len(f.tasks)), make(chan struct{})
	work := func(ref jobs.TaskRef) error {
		begun <- ref
		if states[ref] == jobs.Running {
			<-end
		}
		return nil
	}
	var servers []*queue.Server
	for name := range queues {
		server, err := f.queues.Serve(queue.Options{
			Queues: []string{name}, Width: 8, Log: slog.New(slog.DiscardHandler),
			Handler: func(_ context.Context, ref jobs.TaskRef) error { return work(ref) },
			Batches: func(_ context.Context, ref jobs.BatchRef) error { return work(of[ref.Batch]) },
		})
		require.NoError(f.t, err)
		require.NoError(f.t, server.Start())
		f.t.Cleanup(server.Shutdown)
		servers = append(servers, server)
	}
	f.t.Cleanup(func() { close(end) }) // runs before the shutdowns, which wait for handlers
	put := func(wanted bool) (n int) {
		for _, t := range f.tasks {
			if (states[t.ref] != jobs.Queued) == wanted {
				if t.batch != nil {
					require.NoError(f.t, f.queues.EnqueueBatch(f.ctx, t.batch.Task()))
				} else {
					require.NoError(f.t, f.queues.Enqueue(f.ctx, t.on, t.ref))
				}
				n++
			}
		}
		return n
	}
	for range put(true) {
		<-begun
	}
	for _, server := range servers {
		server.Stop()
	}
	put(false)
}

// calm is a node that has nothing to tell.
type calm struct{}

func (calm) Observe(context.Context, []chain.Tracked) (abi.ChainEpoch, error) { return head, nil }

func (calm) Treasury(context.Context, []abi.ActorID) (*jobs.Treasury, []*chain.Funds, error) {
	return &jobs.Treasury{}, nil, nil
}

// nobody is a scheduler whose node is away.
type nobody struct{}

var errAway = errors.New("the node does not answer")

func (nobody) Explain(context.Context, jobs.SectorID) (jobs.Action, jobs.Reason, *jobs.Record, error) {
	return jobs.Action{}, jobs.Reason{}, nil, errAway
}

func (nobody) Observe(context.Context, []chain.Tracked) (abi.ChainEpoch, error) { return 0, errAway }

func (nobody) Treasury(context.Context, []abi.ActorID) (*jobs.Treasury, []*chain.Funds, error) {
	return nil, nil, errAway
}

func (nobody) TakeDeal(context.Context, jobs.Deal, string) (jobs.DealStatus, error) {
	return jobs.DealStatus{}, nil
}

func (nobody) Forming(context.Context) ([]jobs.Forming, error) { return nil, errAway }

func (nobody) Order(context.Context, jobs.SectorID, jobs.Event, string) error { return errAway }
