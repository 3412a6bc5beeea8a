//go:build filcrypto

package filcrypto_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	ffi "github.com/filecoin-project/filecoin-ffi"

	"github.com/lpseal/lpseal/ffi/filcrypto"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
	"github.com/lpseal/lpseal/jobs/queue"
	"github.com/lpseal/lpseal/worker"
)

// howEnv says how a child of these tests shall end; folderEnv is where it works.
const (
	howEnv    = "FILCRYPTO_TEST_HOW"
	folderEnv = "FILCRYPTO_TEST_FOLDER"
)

// childMain is a heavy stage's processes, played by the test binary.
func childMain(folder string) int {
	return worker.ChildMain(context.Background(), folder, func(context.Context, *worker.Request) (*jobs.Env, error) {
		real, err := filcrypto.New(filcrypto.Options{})
		if err != nil {
			return nil, err
		}
		dir := os.Getenv(folderEnv)
		return &jobs.Env{Prover: mortal{real, os.Getenv(howEnv), dir}, Files: oneFolder{dir: dir}, Progress: func(jobs.Progress) {}}, nil
	})
}

// oneFolder is a sector's cache, and what c1 left.
type oneFolder struct {
	jobs.Files
	dir string
}

func (f oneFolder) Home(context.Context, *jobs.Record) (jobs.Folders, error) {
	return jobs.Folders{Cache: f.dir, Sealed: filepath.Join(f.dir, "sealed")}, nil
}

func (oneFolder) Bind(_ context.Context, _ *jobs.Record, m jobs.Manifest) (jobs.Manifest, error) {
	return m, nil
}

func (oneFolder) Seal(context.Context, *jobs.Record, ...string) (map[string]string, error) {
	return nil, nil
}

func (f oneFolder) LoadC1(context.Context, *jobs.Record) ([]byte, error) {
	return os.ReadFile(filepath.Join(f.dir, jobs.C1File))
}

// mortal is the real prover, which a test leads into the ways that the library dies of.
// None is played: it is the library itself that crashes, aborts or hangs.
type mortal struct {
	jobs.Prover
	how, dir string
}

func (m mortal) SDR(ctx context.Context, s jobs.Seal, cache string, report func(jobs.Progress)) error {
	if err := m.die(s); err != nil {
		return err
	}
	return m.Prover.SDR(ctx, s, cache, report)
}

func (m mortal) C2(ctx context.Context, s jobs.Seal, c1 []byte) ([]byte, error) {
	if err := m.die(s); err != nil {
		return nil, err
	}
	return m.Prover.C2(ctx, s, c1)
}

func (m mortal) die(s jobs.Seal) error {
	switch m.how {
	case "crash": // its input lies where nobody may read
		page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return err
		}
		_, err = ffi.SealCommitPhase2(page, s.ID.Number, s.ID.Miner)
		return err
	case "hang": // it opens a pipe that nobody writes to
		if err := unix.Mkfifo(filepath.Join(m.dir, jobs.PAuxFile), 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(m.dir, "sealed"), make([]byte, 2048), 0o600); err != nil {
			return err
		}
		_, err := ffi.SealCommitPhase1(s.Proof, s.CommR, s.CommD, m.dir, filepath.Join(m.dir, "sealed"), s.ID.Number, s.ID.Miner, s.Ticket, s.Seed,
			[]abi.PieceInfo{{Size: 2048, PieceCID: s.CommD}})
		return err
	case "full disk": // no file grows beyond a megabyte
		return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20})
	case "no memory": // no more than it has already
		var pages uint64
		b, err := os.ReadFile("/proc/self/statm")
		if err == nil {
			_, err = fmt.Sscan(string(b), &pages)
		}
		if err != nil {
			return err
		}
		most := pages * uint64(os.Getpagesize())
		return unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: most, Max: most})
	case "abort": // as C's and Rust's abort do
		return unix.Kill(os.Getpid(), unix.SIGABRT)
	case "killed":
		return unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	return nil
}

// host is a worker with real children, and the means to give it tasks.
type host struct {
	t      *testing.T
	dir    string
	home   string // id of the sealing path
	store  *sectors.Store
	queues *queue.Queues
	chain  *jobstest.Chain
	number abi.SectorNumber
}

// newHost starts a worker whose children end in a way of die, none for "". change may
// change its options.
func newHost(t *testing.T, how string, change func(*worker.Options)) *host {
	t.Helper()
	redis := redistest.StartMini(t)
	h := &host{t: t, dir: t.TempDir(), store: sectors.New(redis.Client), queues: queue.New(redis.Client), chain: jobstest.NewChain()}
	h.chain.Fail("Seed", errors.New("the vectors' seeds are of no chain")) // then c2 is made without comparing
	path := filepath.Join(h.dir, "path")
	home, err := files.Init(path, files.PathOptions{CanSeal: true})
	require.NoError(t, err)
	h.home = home.ID
	local, err := files.Open(files.Options{Host: "h1", Paths: []string{path}})
	require.NoError(t, err)
	work := filepath.Join(h.dir, "work")
	require.NoError(t, os.Mkdir(work, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(work, jobs.C1File), []byte("{}"), 0o644))
	o := worker.Options{
		Host: "h1", Instance: "main", Run: rand.Text(), StateDir: filepath.Join(h.dir, "state"),
		Lanes: []jobs.Lane{
			{Class: jobs.ClassSDR, Width: 1, Prover: filcrypto.Name},
			{Class: jobs.ClassGPU, GPU: "a", Device: jobs.NoGPU, Width: 1, Prover: filcrypto.Name},
		},
		Store: h.store, Queues: h.queues, Files: local,
		Env:          func(jobs.Lane) *jobs.Env { return &jobs.Env{Chain: h.chain} },
		Child:        worker.ChildConfig{Env: []string{howEnv + "=" + how, folderEnv + "=" + work}, Poll: 20 * time.Millisecond, Grace: 100 * time.Millisecond},
		Policy:       jobs.DefaultPolicy(),
		Log:          slog.New(slog.DiscardHandler),
		HeartbeatTTL: 300 * time.Millisecond,
		UnfitFor:     time.Hour,
	}
	if change != nil {
		change(&o)
	}
	w, err := worker.New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, worker.EndAll(o.StateDir, time.Second))
	})
	return h
}

// run has the worker do a stage of a sector with this seal, and gives how it ended.
func (h *host) run(stage jobs.Stage, s jobs.Seal) jobs.StageRecord {
	h.t.Helper()
	h.number++
	s.ID.Number = h.number
	r := &jobs.Record{
		ID: s.ID, Version: 1, Created: time.Now(), Proof: s.Proof, Home: h.home, CommD: s.CommD, CommR: s.CommR, Stages: map[jobs.Stage]jobs.StageRecord{},
		Ticket: jobs.Randomness{Epoch: 9_100, Value: s.Ticket, At: 10_000}, Seed: jobs.Randomness{Epoch: 9_990, Value: s.Seed, At: 10_000},
	}
	require.NoError(h.t, h.store.Create(h.t.Context(), r, "test"))
	q := jobs.Lane{Class: jobs.RowOf(stage).Classes[0], GPU: "a"}.Queues("h1")[0]
	r, err := h.store.Apply(h.t.Context(), r.ID, jobs.Scheduled{Stage: stage, Queue: q}, "test", time.Now())
	require.NoError(h.t, err)
	require.NoError(h.t, h.queues.Enqueue(h.t.Context(), q, r.Task(stage)))
	var sr jobs.StageRecord
	h.await(fmt.Sprintf("%s of %s ends", stage, r.ID), func() bool {
		r, err := h.store.Load(h.t.Context(), r.ID)
		require.NoError(h.t, err)
		sr = r.Stage(stage)
		return sr.State == jobs.Done || sr.State == jobs.Faulted
	})
	return sr
}

func (h *host) await(what string, done func() bool) {
	h.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		require.True(h.t, time.Now().Before(end), "waited a minute in vain: %s", what)
	}
}

// TestDeathsOfTheLibrary has it crash, abort, hang and meet limits in a real child.
// Each becomes its class on the sector, with its last words; the worker lives, and so
// does its lane after one of them.
func TestDeathsOfTheLibrary(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		how   string
		class jobs.FaultClass
		text  []string
	}{
		{"crash", jobs.Transient, []string{"the proof process crashed (SIGSEGV)", "last output:", "during cgo execution"}},
		{"abort", jobs.Transient, []string{"the proof process crashed (SIGABRT)", "last output:"}},
		{"no memory", jobs.Busy, []string{"memory"}},
		{"full disk", jobs.Busy, []string{"failed to write layer data", "File too large", "raise ulimit -f"}},
		{"killed", jobs.Transient, []string{"stopped from outside (SIGKILL)"}},
		{"hang", jobs.Transient, []string{"sdr did not end within 2s and was stopped"}},
	} {
		t.Run(c.how, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, c.how, func(o *worker.Options) {
				if c.how == "hang" {
					o.Child.Deadline = func(*jobs.Row) time.Duration { return 2 * time.Second }
				}
			})
			sr := h.run(jobs.SDR, provertest.Named(t, "8m-cc").Seal(t))
			require.Equal(t, jobs.Faulted, sr.State)
			require.Equal(t, c.class, sr.Fault.Class, sr.Fault.Text)
			for _, text := range c.text {
				require.Contains(t, sr.Fault.Text, text)
			}
			workers, err := h.store.Workers(t.Context())
			require.NoError(t, err)
			require.Len(t, workers, 1, "the worker lives")
			require.Empty(t, workers[0].Lanes[0].Unfit)
		})
	}
}

// TestTwoCrashesTakeTheGPUOut, with an alarm that names the last one. The worker's
// other lanes go on.
func TestTwoCrashesTakeTheGPUOut(t *testing.T) {
	t.Parallel()
	h := newHost(t, "crash", nil)
	s := provertest.Named(t, "2k-data").Seal(t)
	for range 2 {
		require.Contains(t, h.run(jobs.C2, s).Fault.Text, "crashed (SIGSEGV)")
	}
	h.await("the lane to go out", func() bool {
		workers, err := h.store.Workers(t.Context())
		require.NoError(t, err)
		return strings.HasPrefix(workers[0].Lanes[1].Unfit, "2 faults running, the last: transient: the proof process crashed (SIGSEGV)")
	})
	require.Equal(t, jobs.Faulted, h.run(jobs.SDR, s).State, "it was taken by the other lane")
}

// TestLibraryWithoutParameters, by its own words: the machine waits for them, and the
// sector is not to blame.
func TestLibraryWithoutParameters(t *testing.T) {
	t.Parallel()
	p, v := newProver(t), provertest.Named(t, "2k-data")
	s, f := provertest.Sealed(t, p, p, v)
	c1, err := p.C1(t.Context(), s, f)
	require.NoError(t, err)
	h := newHost(t, "", func(o *worker.Options) {
		o.Child.Env = append(o.Child.Env, "FIL_PROOFS_PARAMETER_CACHE="+filepath.Join(o.StateDir, "none"))
	})
	require.NoError(t, os.WriteFile(filepath.Join(h.dir, "work", jobs.C1File), c1, 0o644))
	sr := h.run(jobs.C2, s)
	require.Equal(t, jobs.Busy, sr.Fault.Class, sr.Fault.Text)
	require.Contains(t, sr.Fault.Text, "fetch them: lpseal params fetch")
}

// TestAChildSeals: the ways above are what ends the others.
func TestAChildSeals(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", nil)
	sr := h.run(jobs.SDR, provertest.Named(t, "2k-cc").Seal(t))
	require.Equal(t, jobs.Done, sr.State, "%v", sr.Fault)
}
