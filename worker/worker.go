package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// errStopping ends deliveries of a worker that stops; their children go on.
var errStopping = errors.New("the worker stops; heavy work goes on without it")

// Worker serves its lanes. Make it with [New], then [Worker.Run] it once.
type Worker struct {
	Options
	owner string // host/instance@run
	lanes []*lane
	// life ends when the worker stops: deliveries detach then.
	life       context.Context
	leaving    atomic.Bool // Drain was called
	ordered    atomic.Bool // an operator ordered the worker to drain
	displaced  atomic.Bool // another live process has its name, host id, GPU or path
	metrics    *metrics
	poke       chan struct{}
	background sync.WaitGroup // the sweep, and servers being shut down
}

// New checks the options, all at once.
func New(o Options) (*Worker, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	w := &Worker{Options: o, metrics: newMetrics(o.Host), poke: make(chan struct{}, 1)}
	me := jobs.Worker{Host: o.Host, Instance: o.Instance, Run: o.Run}
	w.owner = me.Owner()
	w.Log = o.Log.With("worker", me.Name())
	for i, l := range o.Lanes {
		w.lanes = append(w.lanes, newLane(w, i, l))
	}
	return w, nil
}

// Run joins the live workers and serves until ctx ends; then it detaches: deliveries
// in hand go back to the queue, children go on and are adopted by the next run. It
// returns an error only if the worker may not join.
func (w *Worker) Run(ctx context.Context) error {
	life, end := context.WithCancelCause(ctx)
	defer end(nil)
	w.life = life
	mine, err := w.join(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil // stopped before it began
	default:
		return fmt.Errorf("worker: %w", err)
	}
	defer filelock.Release(mine)
	w.background.Go(func() { w.sweeping(life) })
	w.serve()
	w.Log.Info("live", "lanes", laneText(w.Lanes), "paths", len(w.Files.Paths()), "state", w.StateDir)
	tick := time.NewTicker(w.HeartbeatTTL / 3)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-w.poke:
			w.beat(ctx)
		case <-tick.C:
			w.beat(ctx)
		}
	}
	end(errStopping)
	for _, l := range w.lanes {
		l.shutdown()
	}
	w.background.Wait()
	// The context has ended; saying good-bye must not.
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := w.Store.Leave(bye, w.self()); err != nil {
		w.Log.Warn("could not leave; the heartbeat will run out", "err", err)
	}
	w.Log.Info("left")
	return nil
}

// laneText writes lanes with their widths, for the log.
func laneText(lanes []jobs.Lane) string {
	out := make([]string, len(lanes))
	for i, l := range lanes {
		out[i] = fmt.Sprintf("%s×%d", strings.TrimSpace(string(l.Class)+" "+l.GPU), l.Width)
	}
	return strings.Join(out, ", ")
}

// Drain stops pulling tasks and waits until those in hand have finished or ctx ends.
// End Run's context afterwards.
func (w *Worker) Drain(ctx context.Context) error {
	w.leaving.Store(true)
	w.wake()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		busy := 0
		for _, l := range w.lanes {
			l.tend()
			busy += int(l.busy.Load())
		}
		if busy == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("drain: %d deliveries still run: %w", busy, ctx.Err())
		case <-tick.C:
		}
	}
}

// wake has the lanes looked at and the heartbeat told now.
func (w *Worker) wake() {
	select {
	case w.poke <- struct{}{}:
	default: // already awake
	}
}

func (w *Worker) draining() bool { return w.leaving.Load() || w.ordered.Load() || w.displaced.Load() }

// serve brings every lane's servers in line with what is wanted of them.
func (w *Worker) serve() {
	for _, l := range w.lanes {
		l.tend()
	}
}

func (w *Worker) beat(ctx context.Context) {
	on, err := w.Store.Draining(ctx, w.Host+"/"+w.Instance)
	if err == nil && w.ordered.Swap(on) != on {
		if on {
			w.Log.Warn("drained by order: no work is taken until lpseal machines resume " + w.Host + "/" + w.Instance)
		} else {
			w.Log.Info("resumed by order")
		}
	}
	w.serve()
	refused := w.Store.Beat(ctx, w.self(), w.HeartbeatTTL)
	w.keepPlace(refused)
	if err = errors.Join(err, refused); err != nil && ctx.Err() == nil {
		w.Log.Warn("heartbeat", "err", err)
	}
}

// keepPlace has the worker take nothing while another process has its place, which it lost
// if it was silent for too long: the schedulers take each of the two for dead in turn.
func (w *Worker) keepPlace(refused error) {
	collides := sectors.Collides(refused)
	if refused != nil && !collides || w.displaced.Swap(collides) == collides {
		return
	}
	if collides {
		w.Log.Error("ALARM: another process has this worker's place: no work is taken until that has gone", "err", refused)
	} else {
		w.Log.Info("has its place again")
	}
	w.serve()
}

// self is what the heartbeat tells.
func (w *Worker) self() jobs.Worker {
	me := jobs.Worker{
		Host: w.Host, Instance: w.Instance, Run: w.Options.Run,
		Paths: w.Files.Paths(), Draining: w.draining(), Stopping: w.leaving.Load(), FileURL: w.FileURL,
		PID: os.Getpid(), Version: w.Version,
	}
	me.Boot, _ = bootID() // join has seen that there is one
	me.Capacity, me.Held = w.Capacity, total(w.holdings(""))
	var inHand map[int]int
	me.Children, inHand = w.children()
	for _, l := range w.lanes {
		me.Lanes = append(me.Lanes, l.describe(inHand))
	}
	return me
}
