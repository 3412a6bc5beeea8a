package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/internal/memory"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// Options are what a worker is made from.
type Options struct {
	Host     string // host id, a slug
	Instance string // unique on the host, a slug
	Run      string // random for each start of the process, see [jobs.Worker]
	Version  string
	FileURL  string // base URL of this host's file service; may be empty

	// StateDir holds work folders and slot locks. The workers of one host share it,
	// so that each may adopt what another started; hosts never do.
	StateDir string
	Lanes    []jobs.Lane
	Store    Store
	Queues   *queue.Queues
	Files    Files
	// Env is the world of a lane's stages; Progress is filled in per delivery.
	Env    func(jobs.Lane) *jobs.Env
	Child  ChildConfig
	Policy jobs.Policy
	Clock  jobs.Clock
	Log    *slog.Logger

	// HeartbeatTTL is how long the worker counts as live without a beat; it beats
	// three times as often. 0 is 15 s.
	HeartbeatTTL time.Duration
	// UnfitFor is how long a lane that took itself out after two faults stays out
	// before it tries again. 0 is one minute.
	UnfitFor time.Duration
	// GPUs lists the GPUs this host shows. nil asks the operating system.
	GPUs func() ([]GPU, error)
	// Capacity is what heavy stages may take of this host. Zero is all that
	// [HostCapacity] finds.
	Capacity jobs.Capacity
	// Available is how many bytes of memory the system could give now, and whether that
	// is known. nil asks the operating system.
	Available func() (bytes uint64, known bool)
	// Unproven says why no proof that a lane's c2 could make now counts, such as missing
	// proof parameters; empty if one would. It is asked at every heartbeat, so it must
	// answer at once. nil never says anything.
	Unproven func(jobs.Lane) string
}

// ChildConfig says how a heavy stage's processes are started and stopped.
type ChildConfig struct {
	// Path is the executable, empty for this process' own; Args come before the work
	// folder, nil for "child". The program must call [ChildMain].
	Path string
	Args []string
	// Env is added to the worker's environment.
	Env []string
	// Poll is how often a running child, its progress and its record are looked at.
	// 0 is 500 ms.
	Poll time.Duration
	// Grace lies between SIGTERM and SIGKILL when work is called off. 0 is one second.
	Grace time.Duration
	// Deadline bounds one run of a stage. nil is 19/20 of the row's Timeout: the fault
	// must be written before the queue's own deadline takes the task away.
	Deadline func(*jobs.Row) time.Duration
}

// Store is what a worker needs of the sector store.
type Store interface {
	Load(ctx context.Context, id jobs.SectorID) (*jobs.Record, error)
	Apply(ctx context.Context, id jobs.SectorID, e jobs.Event, by string, now time.Time) (*jobs.Record, error)
	// Batch and ApplyBatch are Load and Apply of a batch, as it was read.
	Batch(ctx context.Context, id string) (*jobs.Batch, error)
	ApplyBatch(ctx context.Context, b *jobs.Batch, e jobs.BatchEvent, by string, now time.Time) (*jobs.Batch, error)
	SetProgress(ctx context.Context, id jobs.SectorID, s jobs.Stage, p jobs.Progress) error
	Join(ctx context.Context, w jobs.Worker, ttl time.Duration) error
	Beat(ctx context.Context, w jobs.Worker, ttl time.Duration) error
	Leave(ctx context.Context, w jobs.Worker) error
	// Draining says whether an operator ordered the worker host/instance to drain.
	Draining(ctx context.Context, name string) (bool, error)
}

// Files is what a worker itself needs of the host's sector folders; stages use
// [jobs.Env.Files].
type Files interface {
	Paths() []jobs.Path
	// Lock takes the sector's lock (shared, or exclusive for a wipe) and the stage's,
	// without waiting: class Busy when somebody holds one.
	Lock(r *jobs.Record, s jobs.Stage, exclusive bool) (*files.Lock, error)
	// Started says whether the cache folder holds a finished layer of the record's
	// ticket.
	Started(ctx context.Context, r *jobs.Record) (bool, error)
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

// complete fills in defaults and refuses what cannot work, all errors at once.
func (o *Options) complete() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !jobs.ValidSlug(o.Host) {
		refuse("host id %q: use 1 to 40 of a-z, 0-9 and -", o.Host)
	}
	if !jobs.ValidSlug(o.Instance) {
		refuse("worker instance %q: use 1 to 40 of a-z, 0-9 and -", o.Instance)
	}
	if o.Run == "" {
		refuse("run is empty: it must be random for each start")
	}
	if !filepath.IsAbs(o.StateDir) {
		refuse("state folder %q: give an absolute path", o.StateDir)
	}
	if len(o.Lanes) == 0 {
		refuse("no lanes: name at least one class of stages to serve")
	}
	for i, l := range o.Lanes {
		if l.Width < 1 {
			refuse("lane %d (%s): width %d: give at least 1", i, l.Class, l.Width)
		}
		if l.Class == jobs.ClassGPU && !jobs.ValidSlug(l.GPU) {
			refuse("lane %d (gpu): class label %q: use 1 to 40 of a-z, 0-9 and -", i, l.GPU)
		}
	}
	if o.Store == nil || o.Queues == nil || o.Files == nil || o.Env == nil {
		refuse("store, queues, files and environment must all be given")
	}
	if o.Clock == nil {
		o.Clock = wallClock{}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.HeartbeatTTL == 0 {
		o.HeartbeatTTL = 15 * time.Second
	}
	if o.UnfitFor == 0 {
		o.UnfitFor = time.Minute
	}
	if o.GPUs == nil {
		o.GPUs = hostGPUs
	}
	if o.Capacity == (jobs.Capacity{}) {
		o.Capacity = HostCapacity()
	}
	if o.Available == nil {
		o.Available = memory.Available
	}
	if o.Unproven == nil {
		o.Unproven = func(jobs.Lane) string { return "" }
	}
	if err := o.Child.complete(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *ChildConfig) complete() error {
	if c.Path == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("own executable for child processes: %w", err)
		}
		c.Path = self
	}
	if c.Args == nil {
		c.Args = []string{"child"}
	}
	if c.Poll == 0 {
		c.Poll = 500 * time.Millisecond
	}
	if c.Grace == 0 {
		c.Grace = time.Second
	}
	if c.Deadline == nil {
		c.Deadline = func(row *jobs.Row) time.Duration { return row.Timeout / 20 * 19 }
	}
	return nil
}
