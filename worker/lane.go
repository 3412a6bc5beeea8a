package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// faultsTolerated is how many faults running that speak against the machine a lane
// survives before it takes itself out (design rule 10).
const faultsTolerated = 2

// lane serves the queues of one class, width deliveries at a time.
type lane struct {
	w    *Worker
	decl jobs.Lane
	slot string // path of its slot locks, without the number
	busy atomic.Int64

	hiring    sync.Mutex // one work is given to a child at a time, which may take a minute
	staff     sync.Mutex
	processes []*process // children that may take more works

	mu      sync.Mutex
	pulling *puller   // nil while the lane takes nothing
	retired []*puller // stopped, with deliveries in hand
	faults  int       // running, against the machine
	accuser string    // processes that the last one was about, if they died of it
	unfit   string
	// unproven: no proof of its c2 would count.
	unproven string
	until    time.Time // when an unfit lane tries again
}

// puller is one queue server and the deliveries it has in hand.
type puller struct {
	server *queue.Server
	hand   atomic.Int64
}

func newLane(w *Worker, n int, decl jobs.Lane) *lane {
	// A GPU is locked by its name, whoever serves it; cores are locked per lane.
	slot := fmt.Sprintf("%s-%d-%s", w.Instance, n, decl.Class)
	if decl.Device != "" && decl.Device != jobs.NoGPU {
		slot = "gpu-" + strings.ReplaceAll(decl.Device, string(filepath.Separator), "_")
	}
	return &lane{w: w, decl: decl, slot: filepath.Join(w.StateDir, "locks", slot)}
}

// describe is the lane as the heartbeat tells of it. inHand counts works by process group.
func (l *lane) describe(inHand map[int]int) jobs.Lane {
	group, loaded := l.sharing(inHand)
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.decl
	d.Group, d.Loaded = group, loaded
	d.Busy, d.Unfit, d.Unproven = int(l.busy.Load()), l.unfit, l.unproven
	return d
}

func (l *lane) queues() []string {
	var names []string
	for _, q := range l.decl.Queues(l.w.Host) {
		names = append(names, q.String())
	}
	return names
}

// tend starts or stops pulling, as the lane's fitness and orders to drain want.
func (l *lane) tend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.examine()
	wanted := !l.w.draining() && l.unfit == "" && l.w.life.Err() == nil
	switch {
	case wanted && l.pulling == nil:
		p, err := l.pull()
		if err != nil {
			l.w.Log.Error("lane cannot serve; tried again at the next beat", "queues", l.queues(), "err", err)
			return
		}
		l.pulling = p
	case !wanted && l.pulling != nil:
		l.pulling.server.Stop()
		l.retired = append(l.retired, l.pulling)
		l.pulling = nil
	}
	if !wanted {
		l.dismiss()
	}
	l.bury()
}

// examine looks at what the lane needs. It takes itself out and back in.
func (l *lane) examine() {
	now := l.w.Clock.Now()
	why := gpuMissing(l.decl, l.w.GPUs)
	l.unproven = l.w.Unproven(l.decl)
	if why == "" {
		why = l.unproven
	}
	if why == "" && now.Before(l.until) {
		why = l.unfit
	}
	switch {
	case why != "" && l.unfit == "":
		l.w.Log.Error("ALARM: lane takes itself out", "queues", l.queues(), "reason", why)
	case why == "" && l.unfit != "":
		l.w.Log.Info("lane serves again", "queues", l.queues())
	}
	l.unfit = why
}

// judge counts faults that speak against the machine. A lane that came back on
// trial goes out again at the first one.
func (l *lane) judge(o outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case o.result != nil:
		l.faults = 0
	case o.accuses():
		if o.process != "" && o.process == l.accuser {
			return
		}
		l.accuser = o.process
		if l.faults++; l.faults < faultsTolerated || l.unfit != "" {
			return
		}
		l.unfit = fmt.Sprintf("%d faults running, the last: %s", l.faults, firstLine(o.fault.Error()))
		l.until = l.w.Clock.Now().Add(l.w.UnfitFor)
		l.faults = faultsTolerated - 1
		l.w.Log.Error("ALARM: lane takes itself out", "queues", l.queues(), "reason", l.unfit, "until", l.until)
		l.w.wake()
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// pull starts a server on the lane's queues, those of this host first.
func (l *lane) pull() (*puller, error) {
	p := &puller{}
	server, err := l.w.Queues.Serve(queue.Options{
		Queues:  l.queues(),
		Width:   l.decl.Width,
		Log:     l.w.Log,
		Handler: inHand(p, l.handle),
		Batches: inHand(p, l.handleBatch),
	})
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		return nil, err
	}
	p.server = server
	return p, nil
}

// inHand counts what a handler has in hand.
func inHand[Ref any](p *puller, handle func(context.Context, Ref) error) func(context.Context, Ref) error {
	return func(ctx context.Context, task Ref) error {
		p.hand.Add(1)
		defer p.hand.Add(-1)
		return handle(ctx, task)
	}
}

// bury shuts down stopped servers with nothing in hand. Not earlier: asynq's
// shutdown gives tasks in hand to somebody else after a while.
func (l *lane) bury() {
	kept := l.retired[:0]
	for _, p := range l.retired {
		if p.hand.Load() > 0 {
			kept = append(kept, p)
			continue
		}
		l.w.background.Go(p.server.Shutdown)
	}
	l.retired = kept
}

// shutdown ends all servers; the worker's life has ended, so deliveries leave.
func (l *lane) shutdown() {
	l.dismiss()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pulling != nil {
		l.retired = append(l.retired, l.pulling)
		l.pulling = nil
	}
	for _, p := range l.retired {
		l.w.background.Go(p.server.Shutdown)
	}
	l.retired = nil
}

// handle is the queue's handler: one delivery. nil tells the queue that the record
// has answered; an error, that infrastructure failed and the task must come again.
func (l *lane) handle(ctx context.Context, task jobs.TaskRef) error {
	d := l.delivery(task)
	return l.work(ctx, task, d.log, d.deliver)
}

func (l *lane) delivery(task jobs.TaskRef) *delivery {
	return &delivery{w: l.w, lane: l, task: task, row: jobs.RowOf(task.Stage), log: l.w.Log.With("sector", task.ID.String(), "stage", string(task.Stage), "task", task.String())}
}

// handleBatch is handle for a batch.
func (l *lane) handleBatch(ctx context.Context, task jobs.BatchRef) error {
	d := &batch{w: l.w, lane: l, task: task, row: jobs.RowOf(task.Stage), log: l.w.Log.With("stage", string(task.Stage), "batch", task.Batch, "task", task.String())}
	return l.work(ctx, task, d.log, d.deliver)
}

func (l *lane) work(ctx context.Context, task fmt.Stringer, log *slog.Logger, deliver func(context.Context) error) error {
	l.busy.Add(1)
	defer l.busy.Add(-1)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(l.w.life, func() { end(errStopping) })()

	err := deliver(ctx)
	switch {
	case err == nil:
		return nil
	case answered(err):
		log.Info("not wanted", "why", err)
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	return fmt.Errorf("%s: %w", task, err)
}

// slotPath is where a slot's lock lies.
func (l *lane) slotPath(i int) string { return fmt.Sprintf("%s.%d", l.slot, i) }

// vacant says that nobody holds one of the lane's slots.
func (l *lane) vacant() bool {
	for i := range l.decl.Width {
		f, err := filelock.Try(l.slotPath(i), filelock.Shared)
		if err == nil {
			filelock.Release(f)
		}
		if !errors.Is(err, filelock.ErrHeld) {
			return true
		}
	}
	return false
}

// take waits for one of the lane's slots, and says so at every look. Slots are held by
// the processes that do the work, not by deliveries: asynq hands out the place of a lost
// lease at once, while the child is still on the GPU.
func (l *lane) take(ctx context.Context, every time.Duration, waiting func()) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(l.slot), 0o755); err != nil {
		return nil, fmt.Errorf("slot locks: %w", err)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		for i := range l.decl.Width {
			f, err := filelock.Try(l.slotPath(i), filelock.Exclusive)
			if !errors.Is(err, filelock.ErrHeld) {
				return f, err
			}
		}
		waiting()
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}
