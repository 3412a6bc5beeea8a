package worker

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/lpseal/lpseal/jobs"
)

// kill ends all processes of the work: SIGTERM, and SIGKILL after the grace. It
// returns when none is left, or when the kernel will not let go of one (a process
// in a driver's call dies when the call returns, and holds its locks until then).
func (f folder) kill(grace time.Duration) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		sent := false
		for end := time.Now().Add(grace); f.live() && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			sent = sent || f.signal(sig)
		}
	}
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

// children lists the work ids whose processes live on this host.
func (w *Worker) children() []string {
	all, _ := folders(w.StateDir) // the sweep reports a folder that cannot be read
	var out []string
	for _, f := range all {
		if f.live() {
			out = append(out, f.task.WorkID())
		}
	}
	return out
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
// of work that is over.
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
		same := sr.Fence == f.task.Fence && sr.Attempt == f.task.Attempt
		if same && sr.State != jobs.Done {
			continue
		}
		if !same && f.live() {
			w.Log.Info("killing work that was called off", "work", f.task.WorkID())
			f.kill(w.Child.Grace)
		}
		f.remove()
	}
	return nil
}

// remove removes a folder in which nothing lives.
func (f folder) remove() {
	if lock, err := f.lock(); err == nil && lock != nil {
		_ = os.RemoveAll(f.path) // what stays is swept next time
		_ = lock.Close()
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
