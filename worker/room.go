package worker

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/internal/memory"
	"github.com/lpseal/lpseal/jobs"
)

// HostCapacity is what this host has: memory within its control group, and the
// processors that this process may use. A GPU's memory is its own, see [GPU].
func HostCapacity() jobs.Capacity {
	return jobs.Capacity{Memory: memory.Total(), Cores: runtime.GOMAXPROCS(0)}
}

// holding is what a running stage may take, and of which GPU.
type holding struct {
	jobs.Need
	device string
}

// holdings are those of the work that lives on this host, whichever of its workers
// started it. They follow from locks and requests on disk, so a crash forgets none.
func (w *Worker) holdings(except string) (out []holding) {
	all, _ := folders(w.StateDir) // the sweep reports a folder that cannot be read
	for _, f := range all {
		if f.path == except || !f.live() {
			continue
		}
		var q Request
		if ok, err := f.read(requestFile, &q); !ok || err != nil {
			continue // it waits for its slot
		}
		r, err := q.Record()
		if err != nil {
			continue // of another version
		}
		out = append(out, holding{q.Lane.NeedOf(q.Task.Stage, r.Proof, w.Capacity.Cores), q.Lane.Device})
	}
	return out
}

func total(all []holding) (n jobs.Need) {
	for _, h := range all {
		n = n.Add(h.Need)
	}
	return n
}

// noRoomError says that a stage does not fit beside what runs, or at all.
type noRoomError struct {
	fault *jobs.Fault
	// forNow: it would fit alone. The lane is not to blame.
	forNow bool
}

func (e noRoomError) Error() string { return e.fault.Error() }

// admit writes the request, which is what makes the work hold its need, if the host
// has room for it. The lock keeps two of this host's workers from giving the same
// room away; the folder's own lock is held by the caller.
func (l *lane) admit(ctx context.Context, f folder, q *Request) error {
	w := l.w
	lock, err := filelock.Wait(ctx, filepath.Join(w.StateDir, "locks", "room"), filelock.Exclusive)
	if err != nil {
		return err
	}
	defer filelock.Release(lock)
	r, err := q.Record()
	if err != nil {
		return err
	}
	need := q.Lane.NeedOf(q.Task.Stage, r.Proof, w.Capacity.Cores)
	has := w.Capacity
	if has.VRAM = 0; need.VRAM > 0 {
		has.VRAM = w.vram(q.Lane.Device)
	}
	available, known := w.Available()
	if !known {
		available = need.Memory // no reason to wait
	}
	if err := room(q, need, has, w.holdings(f.path), available+l.loaded(q.Task.Stage)); err != nil {
		return err
	}
	return f.write(requestFile, q)
}

// loaded is the memory of the lane's children that stayed for a stage with what they
// have loaded: part of what its next work needs, and there already.
func (l *lane) loaded(s jobs.Stage) (bytes uint64) {
	if _, stays := l.decl.Shares(jobs.RowOf(s)); !stays {
		return 0
	}
	for _, p := range l.serving() {
		if p.stage == s {
			bytes += residentMemory(p.pid)
		}
	}
	return bytes
}

// room says whether a need fits a host beside what is held there. available is how
// much memory the system could give now, for others than lpseal take some.
func room(q *Request, need jobs.Need, has jobs.Capacity, all []holding, available uint64) error {
	if missing := has.Short(need, jobs.Need{}); missing != "" {
		return noRoomError{fault: jobs.Failf(jobs.Busy, "%s can never run on %s: it lacks %s; give it to a larger host", q.Task.Stage, q.Host, missing)}
	}
	held := total(all)
	held.VRAM = 0
	for _, h := range all {
		if h.device == q.Lane.Device {
			held.VRAM += h.VRAM
		}
	}
	missing := has.Short(need, held)
	if missing == "" && need.Memory > available {
		missing = fmt.Sprintf("%s of memory: it needs %s, and the system could give %s, for other programs have the rest",
			jobs.Bytes(need.Memory-available), jobs.Bytes(need.Memory), jobs.Bytes(available))
	}
	if missing == "" {
		return nil
	}
	return noRoomError{jobs.Failf(jobs.Busy, "%s waits for room on %s: it lacks %s", q.Task.Stage, q.Host, missing), true}
}

// vram is the memory of a lane's GPU, of the smallest one if it has several; 0 while
// it is not known.
func (w *Worker) vram(device string) (least uint64) {
	gpus, err := w.GPUs()
	if err != nil {
		return 0 // the lane is unfit by then
	}
	for _, g := range gpus {
		if (device == "" || g.named(device)) && (least == 0 || g.Memory < least) {
			least = g.Memory
		}
	}
	return least
}
