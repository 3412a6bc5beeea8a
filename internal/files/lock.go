package files

import (
	"errors"
	"os"
	"slices"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/jobs"
)

// Lock is held for a stage of a sector. The lock belongs to the open files, not to
// the process: a child that inherits them ([Lock.Files] in exec.Cmd.ExtraFiles)
// holds it too, and the kernel lets go when the last holder is gone, however it
// ended.
type Lock struct{ files []*os.File }

// Lock takes the locks of design rule 8 on the sector's home path without waiting:
// the sector's, shared or exclusive, and the stage's, always exclusive. Wipes (every
// recovery stage, and finalize) need exclusive. Held by another is class Busy.
//
// A stage that may run anywhere is locked on the first path, whose disk is there, of a host
// that does not serve home: that keeps two deliveries on one host apart, and the record's
// claim keeps hosts apart. A host without paths has nothing to protect and gives an
// empty lock.
func (h *Host) Lock(r *jobs.Record, stage jobs.Stage, exclusive bool) (_ *Lock, err error) {
	defer blame(&err, "lock "+string(stage), r.ID)
	p := h.root(r.Home)
	switch row := jobs.RowOf(stage); {
	case p != nil:
	case row != nil && row.Place == jobs.AtHome && r.Home != "":
		return nil, h.notHere(r.Home)
	case len(h.roots) == 0:
		return &Lock{}, nil
	default:
		p = h.roots[max(0, slices.IndexFunc(h.roots, func(p *root) bool { return p.there() == nil }))]
	}
	if err := p.there(); err != nil {
		return nil, err
	}
	mode := filelock.Shared
	if exclusive {
		mode = filelock.Exclusive
	}
	l := &Lock{}
	if err := l.take(p.lock(r.ID, ""), mode); err != nil {
		return nil, err
	}
	if err := l.take(p.lock(r.ID, "."+string(stage)), filelock.Exclusive); err != nil {
		l.Unlock()
		return nil, err
	}
	return l, nil
}

func (l *Lock) take(path string, mode filelock.Mode) error {
	f, err := filelock.Try(path, mode)
	if errors.Is(err, filelock.ErrHeld) {
		return jobs.Failf(jobs.Busy, "%s is held by another process of the sector; it is tried again when that one ends (to see it: fuser -v %s)", path, path)
	}
	if err == nil {
		l.files = append(l.files, f)
	}
	return err
}

// Files are the lock's open files, for a child to inherit.
func (l *Lock) Files() []*os.File { return l.files }

// Unlock closes this process's files. A child that inherited them keeps the lock:
// that is why it does not ask the kernel to unlock.
func (l *Lock) Unlock() {
	for _, f := range l.files {
		_ = f.Close() // opened to be locked, nothing was written
	}
	l.files = nil
}
