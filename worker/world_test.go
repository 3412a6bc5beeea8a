package worker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
	"github.com/lpseal/lpseal/jobs/queue"
)

// The test binary plays two other programs: a heavy stage's child, and a worker
// that can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case "child":
			gatherFor = func(abi.RegisteredSealProof) time.Duration { return placeOfChild().Gather }
			os.Exit(ChildMain(context.Background(), os.Args[2], buildTestChild))
		case "worker":
			os.Exit(workerProcess(os.Args[2]))
		case "aggregate":
			os.Exit(AggregateMain(context.Background(), os.Stdin, os.Stdout, joinerOf(os.Args[2])))
		}
	}
	os.Exit(m.Run())
}

const proof = abi.RegisteredSealProof_StackedDrg2KiBV1_1

// place is what a test shares with the processes it starts.
type place struct {
	Redis string // address
	Dir   string // holds state/, path/, files/ and the scene
	Home  string // id of the sealing path

	// What the lanes' children share: see [jobs.Lane].
	Lockstep int
	Warm     time.Duration
	Gather   time.Duration // how long a group waits for one more
}

func (p place) state() string { return filepath.Join(p.Dir, "state") }
func (p place) log() string   { return filepath.Join(p.Dir, "starts") }

// scene is what a fake does when a stage comes to Method ("" is the first one). It
// lies in a file, so that children act it as well.
type scene struct {
	Method string      `json:"method,omitempty"`
	Fault  *jobs.Fault `json:"fault,omitempty"`
	Act    string      `json:"act,omitempty"`
}

func (p place) set(t *testing.T, s scene) {
	b, err := json.Marshal(s)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(p.Dir, "scene"), b, 0o644))
}

func (p place) hook(ctx context.Context, method string) error {
	var s scene
	b, err := os.ReadFile(filepath.Join(p.Dir, "scene"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &s); err != nil || s.Method != "" && s.Method != method {
		return err
	}
	if s.Fault != nil {
		return s.Fault
	}
	switch s.Act {
	case "gate": // says that it is here, and waits to be let through
		if err := appendLine(p.log(), strconv.Itoa(os.Getpid())); err != nil {
			return err
		}
		return p.untilOpen(ctx)
	case "stubborn": // as a library's call that cannot be stopped
		_ = appendLine(p.log(), strconv.Itoa(os.Getpid()))
		return p.untilOpen(context.WithoutCancel(ctx))
	case "panic":
		panic("a stage's own panic")
	case "stray panic":
		go func() { panic("a panic of another goroutine") }()
		select {}
	case "enospc":
		return &os.PathError{Op: "write", Path: "layer", Err: syscall.ENOSPC}
	case "unclassified":
		return fmt.Errorf("nobody knows this")
	case "end the group":
		_ = syscall.Kill(0, syscall.SIGTERM)
		<-ctx.Done()
		return ctx.Err()
	case "exit":
		fmt.Fprintln(os.Stderr, "leaving early")
		os.Exit(3)
	case "":
	default: // a signal's number
		n, err := strconv.Atoi(s.Act)
		if err != nil {
			return err
		}
		_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (p place) untilOpen(ctx context.Context) error {
	for {
		if _, err := os.Stat(filepath.Join(p.Dir, "open")); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (p place) open(t *testing.T) {
	require.NoError(t, os.WriteFile(filepath.Join(p.Dir, "open"), nil, 0o644))
}

// starts lists the processes that came to a gate.
func (p place) starts(t *testing.T) (pids []int) {
	b, err := os.ReadFile(p.log())
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		require.NoError(t, err)
		if !slices.Contains(pids, pid) { // each of its methods comes to the gate
			pids = append(pids, pid)
		}
	}
	return pids
}

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	_ = f.Close()
	return err
}

// together is a prover whose lockstep is to run side by side. It writes down the widths
// of its groups.
type together struct {
	jobstest.Prover
	place
}

func (p *together) Width() int { return p.Lockstep }

func (p *together) SDRTogether(_ context.Context, group []jobs.SDRJob) []error {
	errs := make([]error, len(group))
	if err := appendLine(p.groupLog(), strconv.Itoa(len(group))); err != nil {
		errs[0] = err
	}
	var wg sync.WaitGroup
	for i, j := range group {
		wg.Go(func() {
			errs[i] = errors.Join(errs[i], p.SDR(j.Ctx, j.Seal, j.Cache, j.Report))
			j.Done(errs[i])
		})
	}
	wg.Wait()
	return errs
}

func (p place) groupLog() string { return filepath.Join(p.Dir, "groups") }

// groups gives the widths of the groups so far.
func (p place) groups() string {
	b, _ := os.ReadFile(p.groupLog()) // none yet
	return strings.Join(strings.Fields(string(b)), " ")
}

func (p place) env(chain jobs.Chain) *jobs.Env {
	return &jobs.Env{
		Prover:   &together{jobstest.Prover{Hook: p.hook}, p},
		Chain:    chain,
		Files:    &jobstest.Files{Dir: filepath.Join(p.Dir, "files"), Hook: p.hook},
		Clock:    wallClock{},
		Rand:     rand.Reader,
		Progress: func(jobs.Progress) {},
	}
}

const placeEnv = "LPSEAL_TEST_PLACE"

// noWorldEnv says why a child's world cannot be made.
const noWorldEnv = "LPSEAL_TEST_NO_WORLD"

func buildTestChild(context.Context, *Request) (*jobs.Env, error) {
	if why := os.Getenv(noWorldEnv); why != "" {
		return nil, errors.New(why)
	}
	return placeOfChild().env(nil), nil
}

func placeOfChild() (p place) {
	if err := json.Unmarshal([]byte(os.Getenv(placeEnv)), &p); err != nil {
		panic(err)
	}
	return p
}

// hostFiles locks with the real locks, and looks for layers among the fake files.
type hostFiles struct {
	*files.Host
	fake *jobstest.Files
}

func (f hostFiles) Started(ctx context.Context, r *jobs.Record) (bool, error) {
	return f.fake.Started(ctx, r)
}

// options make a worker h1/INSTANCE with a lane of each class.
func (p place) options(instance string, rdb redis.UniversalClient, chain jobs.Chain) (Options, error) {
	host, err := files.Open(files.Options{Host: "h1", Paths: []string{filepath.Join(p.Dir, "path")}})
	if err != nil {
		return Options{}, err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return Options{}, err
	}
	env := p.env(chain)
	o := Options{
		Host: "h1", Instance: instance, Run: rand.Text(), StateDir: p.state(),
		Store: sectors.New(rdb), Queues: queue.New(rdb),
		Files: hostFiles{host, env.Files.(*jobstest.Files)},
		Env:   func(jobs.Lane) *jobs.Env { return env },
		Child: ChildConfig{Env: []string{
			placeEnv + "=" + string(text),
			// The race detector sleeps a second before every exit, in every child twice.
			"GORACE=" + os.Getenv("GORACE") + " atexit_sleep_ms=0",
		}, Poll: 20 * time.Millisecond, Grace: 300 * time.Millisecond},
		Policy:       jobs.DefaultPolicy(),
		Log:          slog.New(slog.DiscardHandler),
		HeartbeatTTL: 300 * time.Millisecond,
		UnfitFor:     time.Millisecond,
	}
	for _, c := range jobs.Classes {
		l := jobs.Lane{Class: c, Width: 2, Prover: jobs.NativeProver, Lockstep: p.Lockstep, Warm: p.Warm}
		if c == jobs.ClassGPU {
			l.GPU = "a"
		}
		o.Lanes = append(o.Lanes, l)
	}
	return o, nil
}

// workerProcess is a worker in a process of its own, until it is killed.
func workerProcess(text string) int {
	var p place
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		var o Options
		rdb := redis.NewClient(&redis.Options{Addr: p.Redis})
		if o, err = p.options("w0", rdb, jobstest.NewChain()); err == nil {
			var w *Worker
			if w, err = New(o); err == nil {
				err = w.Run(context.Background())
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// world is a Redis, a host's folders and the means to play the scheduler.
type world struct {
	place
	t      *testing.T
	ctx    context.Context
	rdb    redis.UniversalClient
	store  *sectors.Store
	queues *queue.Queues
	chain  *jobstest.Chain
	number abi.SectorNumber
}

func newWorld(t *testing.T) *world {
	t.Helper()
	r := redistest.StartMini(t)
	dir := t.TempDir()
	path, err := files.Init(filepath.Join(dir, "path"), files.PathOptions{CanSeal: true, CanStore: true})
	require.NoError(t, err)
	w := &world{
		place: place{Redis: r.Mini.Addr(), Dir: dir, Home: path.ID},
		t:     t, ctx: t.Context(), rdb: r.Client,
		store: sectors.New(r.Client), queues: queue.New(r.Client), chain: jobstest.NewChain(),
	}
	t.Cleanup(w.killAll)
	return w
}

// killAll leaves no process behind, however the test ended.
func (w *world) killAll() {
	all, _ := folders(w.state())
	for _, f := range all {
		f.kill(time.Second)
	}
}

func (w *world) options(instance string) Options {
	o, err := w.place.options(instance, w.rdb, w.chain)
	require.NoError(w.t, err)
	return o
}

// process starts a worker h1/w0 in a process of its own, which the test may kill.
func (w *world) process(env ...string) *exec.Cmd {
	w.t.Helper()
	self, err := os.Executable()
	require.NoError(w.t, err)
	text, err := json.Marshal(w.place)
	require.NoError(w.t, err)
	cmd := exec.Command(self, "worker", string(text))
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	require.NoError(w.t, cmd.Start())
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // an error if the test has waited for it itself
	})
	return cmd
}

// running is a worker and the way to stop it.
type running struct {
	*Worker
	stop func()
}

// run starts a worker; it stops with the test at the latest.
func (w *world) run(o Options) running {
	w.t.Helper()
	worker, err := New(o)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	stop := func() {
		cancel()
		if err, ok := <-ended; ok {
			require.NoError(w.t, err)
			close(ended)
		}
	}
	w.t.Cleanup(stop)
	return running{worker, stop}
}

// sector makes a record at home that may run any stage.
func (w *world) sector(with ...func(*jobs.Record)) *jobs.Record {
	w.t.Helper()
	w.number++
	commD, err := jobs.CommD(proof, nil)
	require.NoError(w.t, err)
	head, err := w.chain.Head(w.ctx)
	require.NoError(w.t, err)
	seed, err := w.chain.Seed(w.ctx, 1000, head.Epoch)
	require.NoError(w.t, err)
	r := &jobs.Record{
		ID: jobs.SectorID{Miner: 1000, Number: w.number}, Version: 1, Created: time.Now(), Proof: proof,
		Home: w.Home, CommD: commD, Stages: map[jobs.Stage]jobs.StageRecord{},
		Ticket: jobs.Randomness{Epoch: head.Epoch - 900, Value: make([]byte, 32), At: head.Epoch},
		Seed:   jobs.Randomness{Epoch: head.Epoch, Value: seed, At: head.Epoch},
	}
	for _, with := range with {
		with(r)
	}
	require.NoError(w.t, w.store.Create(w.ctx, r, "test"))
	return r
}

// schedule plays the scheduler: intent first, then the task.
func (w *world) schedule(id jobs.SectorID, s jobs.Stage, again bool) jobs.TaskRef {
	w.t.Helper()
	row := jobs.RowOf(s)
	if row.Batched() {
		if name := w.load(id).Stage(s).Batch; again && name != "" {
			w.redeliver(name)
		} else {
			w.batch(s, id)
		}
		return w.load(id).Task(s)
	}
	class := row.Classes[0]
	l := jobs.Lane{Class: class, GPU: "a"}
	q := l.Queues("h1")[0]
	r, err := w.store.Apply(w.ctx, id, jobs.Scheduled{Stage: s, Queue: q, Again: again}, "test", time.Now())
	require.NoError(w.t, err)
	task := r.Task(s)
	require.NoError(w.t, w.queues.Enqueue(w.ctx, q, task))
	return task
}

// batch plays the scheduler for a batch: planned, accepted by every member, closed,
// enqueued.
func (w *world) batch(s jobs.Stage, ids ...jobs.SectorID) *jobs.Batch {
	w.t.Helper()
	now := time.Now()
	b := &jobs.Batch{
		ID: jobs.NewBatchID(now, strings.ToLower(rand.Text()[:8])), Version: 1, Created: now, Since: now,
		Group: w.load(ids[0]).GroupOf(s), Cause: jobs.BatchFull, State: jobs.BatchPlanned,
	}
	require.NoError(w.t, w.store.CreateBatch(w.ctx, b, "test"))
	var members []jobs.TaskRef
	for _, id := range ids {
		r, err := w.store.Apply(w.ctx, id, jobs.Scheduled{Stage: s, Queue: jobs.Queue{Class: jobs.ClassChain}, Batch: b.ID}, "test", now)
		require.NoError(w.t, err)
		members = append(members, r.Task(s))
	}
	b, err := w.store.ApplyBatch(w.ctx, b, jobs.MembersAccepted{Members: members}, "test", now)
	require.NoError(w.t, err)
	require.NoError(w.t, w.queues.EnqueueBatch(w.ctx, b.Task()))
	return b
}

// redeliver enqueues a batch's task anew, as for one that was lost.
func (w *world) redeliver(name string) {
	w.t.Helper()
	b, err := w.store.Batch(w.ctx, name)
	require.NoError(w.t, err)
	b, err = w.store.ApplyBatch(w.ctx, b, jobs.BatchRedelivered{Why: "test"}, "test", time.Now())
	require.NoError(w.t, err)
	require.NoError(w.t, w.queues.EnqueueBatch(w.ctx, b.Task()))
}

func (w *world) load(id jobs.SectorID) *jobs.Record {
	w.t.Helper()
	r, err := w.store.Load(w.ctx, id)
	require.NoError(w.t, err)
	return r
}

func (w *world) taskState(task jobs.TaskRef) jobs.TaskState {
	w.t.Helper()
	sr := w.load(task.ID).Stage(task.Stage)
	ref := queue.Ref{Task: task, Queue: sr.Queue}
	if sr.Batch != "" {
		b, err := w.store.Batch(w.ctx, sr.Batch)
		require.NoError(w.t, err)
		ref.Task = b.Task()
	}
	states, err := w.queues.States(w.ctx, []queue.Ref{ref})
	require.NoError(w.t, err)
	return states[0]
}

const patience = 30 * time.Second

// await waits for a condition that other processes bring about.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
	}
}

// awaitState waits until a stage has come to a state, and the queue's handler has
// returned.
func (w *world) awaitState(task jobs.TaskRef, want jobs.StageState) jobs.StageRecord {
	w.t.Helper()
	await(w.t, fmt.Sprintf("%s becomes %s", task, want), func() bool {
		return w.load(task.ID).Stage(task.Stage).State == want
	})
	return w.load(task.ID).Stage(task.Stage)
}

func (w *world) awaitTask(task jobs.TaskRef, want jobs.TaskState) {
	w.t.Helper()
	await(w.t, fmt.Sprintf("task %s becomes %s", task, want), func() bool { return w.taskState(task) == want })
}

// awaitStart waits until n processes have come to the gate, and gives the last.
func (w *world) awaitStart(n int) int {
	w.t.Helper()
	await(w.t, fmt.Sprintf("%d processes at the gate", n), func() bool { return len(w.starts(w.t)) >= n })
	return w.starts(w.t)[n-1]
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
