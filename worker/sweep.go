package worker

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/jobs"
)

// kill ends a work. One that shares its processes is told to end, and the others are
// left alone if it does within the grace; else the processes must die for it, and
// the others begin anew. All processes get SIGTERM, and SIGKILL after the grace. It
// returns when none has the work, or when the kernel will not let go of one (a
// process in a driver's call dies when the call returns, and holds its locks until
// then).
func (f folder) kill(grace time.Duration) {
	mates := f.mates()
	if len(mates) > 0 {
		_ = f.replace(calledOffFile, nil, false) // without it, it must die
		if f.gone(grace, func() {}) {
			return
		}
		for _, m := range mates {
			_ = m.replace(againFile, nil, true) // without it, it is a fault: tried again
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		sent := false
		f.gone(grace, func() { sent = sent || f.signal(sig) })
	}
}

// gone waits until nobody has the work any more, or the patience is over. Meanwhile
// it tries something.
func (f folder) gone(patience time.Duration, try func()) bool {
	for end := time.Now().Add(patience); f.live(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
		try()
	}
	return true
}

// mates are the other works that the same processes have in hand.
func (f folder) mates() (mates []folder) {
	mine, _ := f.status()
	all, _ := foldersIn(filepath.Dir(f.path)) // one that cannot be read has nothing to lose
	for _, o := range all {
		if o.path == f.path || mine == nil || !o.live() {
			continue
		}
		if st, _ := o.status(); st != nil && st.process() == mine.process() {
			mates = append(mates, o)
		}
	}
	return mates
}

// signal signals the process group, whose number is known once the shim has told
// it. The lock proves that somebody of the group lives, so the number cannot have
// gone to others; the leader's start time is compared all the same, for it costs
// nothing.
func (f folder) signal(sig syscall.Signal) bool {
	st, err := f.status()
	if err != nil || st == nil {
		return false
	}
	if start, err := startTime(st.Group); err == nil && start != st.Start {
		return false
	}
	return syscall.Kill(-st.Group, sig) == nil
}

// children lists the work ids in the hands of processes on this host, and counts
// them by process group.
func (w *Worker) children() (works []string, inHand map[int]int) {
	inHand = map[int]int{}
	all, _ := folders(w.StateDir) // the sweep reports a folder that cannot be read
	for _, f := range all {
		if !f.live() {
			continue
		}
		works = append(works, f.task.WorkID())
		if st, err := f.status(); err == nil && st != nil {
			inHand[st.Group]++
		}
	}
	return works, inHand
}

// sweeping sweeps until ctx ends. It is apart from the heartbeat, which must not
// wait for a process that is slow to die.
func (w *Worker) sweeping(ctx context.Context) {
	tick := time.NewTicker(w.HeartbeatTTL / 3)
	defer tick.Stop()
	for {
		if err := w.sweep(ctx); err != nil {
			w.Log.Warn("work folders cannot be swept", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweep ends work that was called off while nobody watched, and removes the folders
// of work that is over, and of sectors that are.
func (w *Worker) sweep(ctx context.Context) error {
	all, err := folders(w.StateDir)
	if err != nil {
		return err
	}
	for _, f := range all {
		r, err := w.Store.Load(ctx, f.task.ID)
		if err != nil {
			continue // a record that cannot be read calls nothing off
		}
		sr := r.Stage(f.task.Stage)
		wanted := r.Outcome == jobs.Open && sr.Fence == f.task.Fence && sr.Attempt == f.task.Attempt
		if wanted && sr.State != jobs.Done {
			continue
		}
		if !wanted && f.live() {
			w.Log.Info("killing work that was called off", "work", f.task.WorkID())
			f.kill(w.Child.Grace)
		}
		f.remove()
	}
	processes, err := childFolders(w.StateDir)
	for _, p := range processes {
		p.remove() // what they printed is linked to by the folders of their works
	}
	return err
}

// remove removes a folder in which nothing lives.
func (f folder) remove() {
	if lock, err := f.lock(); err == nil && lock != nil {
		_ = os.RemoveAll(f.path) // what stays is swept next time
		filelock.Release(lock)
	}
}

// endOlder kills the processes of older fences and attempts of the same stage: they
// hold the sector's locks.
func (w *Worker) endOlder(f folder) {
	all, _ := folders(w.StateDir) // the sweep reports a folder that cannot be read
	for _, o := range all {
		if older(o.task, f.task) && o.live() {
			w.Log.Info("killing older work", "work", o.task.WorkID(), "for", f.task.WorkID())
			o.kill(w.Child.Grace)
		}
	}
}

// older says that a is an earlier fence or attempt of b's stage.
func older(a, b jobs.TaskRef) bool {
	if a.ID != b.ID || a.Stage != b.Stage {
		return false
	}
	return a.Fence < b.Fence || a.Fence == b.Fence && a.Attempt < b.Attempt
}
