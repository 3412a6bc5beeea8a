package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// errNotBegun: the processes that had the work are gone, and it had not come to
// anything, or was theirs to lose: another of their works was called off.
var errNotBegun = errors.New("its child process ended before the work began")

// beginnings is how often a delivery begins such work anew; then the queue is to
// know of it.
const beginnings = 3

// errNoSlot: the lane's slots are held by children that nobody watches.
var errNoSlot = errors.New("children of earlier deliveries have all slots; it lets their tasks by")

// slotPatience is for how many looks a delivery waits for a slot before it lets others by.
const slotPatience = 20

// queueUp waits until the work can begin, or has begun already, before it is claimed. A lane
// has a slot for each delivery unless children run on without one, after a lost lease or a
// killed worker: their own tasks come back behind all that wait in the queue, and what
// waited here for their slots would keep them from being watched, and their results, for as
// long as the whole backlog takes.
func (d *delivery) queueUp(ctx context.Context) error {
	f := folderOf(d.w.StateDir, d.task)
	tick := time.NewTicker(d.w.Child.Poll)
	defer tick.Stop()
	for range slotPatience {
		if d.lane.vacant() || f.live() || f.finished() {
			return nil
		}
		d.progress(ctx, noSlotYet)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return errNoSlot
}

// noSlotYet is the progress of a work that waits for its slot.
var noSlotYet = jobs.Progress{Step: "waiting for a free slot"}

// child is a work id in the hands of running processes, as seen by whoever watches
// it.
type child struct {
	folder
	since time.Time // when the work began
	// exited is closed when the shim that this process started has ended; nil for
	// an adopted work.
	exited chan struct{}
}

// supervise runs a heavy stage in a child, or takes up with the child or the result
// that an earlier delivery left.
func (d *delivery) supervise(ctx context.Context) (outcome, error) {
	f := folderOf(d.w.StateDir, d.task)
	for tries := 1; ; tries++ {
		lock, err := f.lock()
		if err != nil {
			return d.judged(ctx, err)
		}
		if lock == nil {
			d.log.Info("adopted the running child")
			o, err := d.watch(ctx, &child{folder: f, since: time.Now()})
			if errors.Is(err, errNotBegun) && tries < beginnings {
				continue // the next turn starts it
			}
			return o, err
		}
		// A success is used whoever made it; a fault was another run's.
		if rep, err := f.report(); err == nil && rep != nil && rep.Result != nil {
			filelock.Release(lock)
			d.log.Info("took over the finished result")
			return outcome{result: rep.Result}, nil
		}
		c, o, err := d.start(ctx, f, lock)
		if c == nil {
			return o, err
		}
		crash.At(crash.Worker, d.task.Stage, crash.MidWork) // the child works on, and nobody watches
		o, err = d.watch(ctx, c)
		if !errors.Is(err, errNotBegun) || tries == beginnings {
			return o, err
		}
		d.log.Info("begins anew", "why", err)
	}
}

// judged sorts an error of this machine: a fault of the delivery, or the queue's
// affair.
func (d *delivery) judged(ctx context.Context, err error) (outcome, error) {
	var record recordError
	var full noRoomError
	if errors.As(err, &full) {
		return outcome{fault: full.fault, alien: full.forNow}, nil
	}
	unknown := errors.As(err, &record) || errors.Is(err, errNoAnswer)
	if fault, ok := classify(ctx, err); ok && !unknown {
		return failed(fault), nil
	}
	return outcome{}, err
}

// start gives the work to a child. lock is the work folder's; the child's processes
// get it with the lane's slot and the sector's locks, and this process lets go of all.
// No child means that o or err says why.
func (d *delivery) start(ctx context.Context, f folder, lock *os.File) (*child, outcome, error) {
	defer lock.Close()
	fail := func(err error) (*child, outcome, error) {
		o, err := d.judged(ctx, err)
		return nil, o, err
	}
	if err := f.reset(); err != nil {
		return fail(err)
	}
	d.w.endOlder(f)
	if err := d.freshen(ctx); err != nil {
		return fail(err)
	}
	if err := d.compareSeed(ctx); err != nil {
		return fail(err)
	}
	tell := throttle(sectors.ProgressTTL/2, func(p jobs.Progress) { d.progress(ctx, p) })
	slot, err := d.lane.take(ctx, d.w.Child.Poll, func() { tell(noSlotYet) })
	if err != nil {
		return fail(err)
	}
	defer slot.Close()
	held, o, err := d.lock(ctx, time.Now().Add(lockPatience))
	if held == nil {
		return nil, o, err
	}
	defer held.Unlock()
	q := Request{Work: d.task.WorkID(), Task: d.task, Lane: d.lane.decl, Host: d.w.Host, Fields: d.record.Fields()}
	if err := d.lane.admit(ctx, f, &q); err != nil {
		return fail(err)
	}
	p, err := d.lane.engage(f, append([]*os.File{lock, slot}, held.Files()...))
	if err != nil {
		return fail(err)
	}
	d.log.Info("given to a child", "pid", p.pid)
	return &child{folder: f, since: time.Now(), exited: p.exited}, outcome{}, nil
}

// watch waits until the processes end and says how. It leaves them alone when ctx
// ends, and kills them when the work is called off or overdue.
func (d *delivery) watch(ctx context.Context, c *child) (outcome, error) {
	limit := d.w.Child.Deadline(d.row)
	tick := time.NewTicker(d.w.Child.Poll)
	defer tick.Stop()
	exited := c.exited
	var told jobs.Progress
	var toldAt time.Time
	for {
		select {
		case <-ctx.Done():
			return outcome{}, fmt.Errorf("detached: %w", context.Cause(ctx))
		case <-exited:
			exited = nil // a proof process may outlive a killed shim: the lock tells
		case <-tick.C:
			if err := d.look(ctx); errors.Is(err, errCalledOff) {
				d.log.Info("killing the child", "why", err)
				c.kill(d.w.Child.Grace)
				return outcome{}, err
			} else if err != nil {
				return outcome{}, err
			}
			var p jobs.Progress
			now := d.w.Clock.Now()
			if ok, err := c.read(progressFile, &p); ok && err == nil && (p != told || now.Sub(toldAt) >= sectors.ProgressTTL/2) {
				told, toldAt = p, now
				d.progress(ctx, p)
			}
		}
		if !c.live() {
			return d.verdict(c)
		}
		if st, err := c.status(); err == nil && st != nil {
			c.since = st.Since // taken, and later: begun
		}
		if time.Since(c.since) > limit {
			words := c.words()
			c.kill(d.w.Child.Grace)
			if rep, err := c.report(); err == nil && rep != nil {
				return d.verdict(c) // it ended at the last moment
			}
			fault := overdue(d.row.Stage, limit)
			if b, _ := json.Marshal(told); told != (jobs.Progress{}) {
				fault.Text += "; last progress " + string(b)
			}
			fault.Text += lastOutput(words)
			return failed(fault), nil
		}
	}
}

// verdict reads what processes that have ended left behind.
func (d *delivery) verdict(c *child) (outcome, error) {
	rep, err := c.report()
	if err != nil { // a fault of the work, not of the queue
		return failed(jobs.Failf(jobs.Transient, "unreadable result: %w", err)), nil
	}
	if rep != nil && rep.Fault != nil {
		return failed(rep.Fault), nil
	}
	if rep != nil {
		return outcome{result: rep.Result}, nil
	}
	st, err := c.status()
	if err != nil {
		return failed(jobs.Failf(jobs.Transient, "unreadable status: %w", err)), nil
	}
	if st == nil && c.exited == nil || st != nil && !st.Begun || c.has(againFile) {
		return outcome{}, errNotBegun
	}
	return outcome{fault: diagnose(st, c.words(), d.before), process: st.process()}, nil
}
