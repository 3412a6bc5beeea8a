package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// gatherFor is how long a group waits for one more sector: half a nanosecond for
// each byte of a sector, 17 s at 32 GiB. SDR takes hundreds of times as long, so that
// the wait is lost in it where nobody comes.
var gatherFor = func(p abi.RegisteredSealProof) time.Duration {
	size, _ := p.SectorSize() // no size: the prover will say so
	return time.Duration(size / 2)
}

// meeting brings together the works of one child that come to their layers, so that a
// lockstep prover makes them in one go. Each work runs its own stage and sees a plain
// [jobs.Prover] whose SDR takes part.
type meeting struct {
	closing func() // the first group begins: nobody can join it any more

	mu      sync.Mutex
	waiting []*attendee
	timer   *time.Timer
}

// attendee is a sector on its way into a group.
type attendee struct {
	jobs.SDRJob
	prover jobs.Prover
	width  int // most sectors of a group that this prover is for
	begin  func()
	ended  chan struct{} // closed when the prover has let go of the sector
	err    error         // when ended
	once   sync.Once
}

// joining wraps a prover so that its SDR joins a group of at most width. begin is
// called when the group begins. A prover without lockstep begins at once.
func (m *meeting) joining(p jobs.Prover, width int, begin func()) jobs.Prover {
	return joined{p, func(a *attendee) error {
		a.prover, a.begin, a.width = p, begin, 1
		if l, ok := p.(jobs.Lockstep); ok {
			a.width = min(width, l.Width())
		}
		return m.attend(a)
	}}
}

type joined struct {
	jobs.Prover
	attend func(*attendee) error
}

// SDR implements [jobs.Prover].
func (j joined) SDR(ctx context.Context, s jobs.Seal, cache string, report func(jobs.Progress)) error {
	a := &attendee{SDRJob: jobs.SDRJob{Ctx: ctx, Seal: s, Cache: cache, Report: report}, ended: make(chan struct{})}
	a.Done = a.end
	return j.attend(a)
}

// attend waits for the group, and until the layers are made. One whose context ends
// before leaves the others alone.
func (m *meeting) attend(a *attendee) error {
	m.mu.Lock()
	m.waiting = append(m.waiting, a)
	full := len(m.waiting) >= a.width
	if m.timer != nil {
		m.timer.Stop()
	}
	if !full {
		m.timer = time.AfterFunc(gatherFor(a.Seal.Proof), m.start)
	}
	m.mu.Unlock()
	if full {
		m.start()
	}
	select {
	case <-a.ended:
		return a.err
	case <-a.Ctx.Done():
	}
	m.mu.Lock()
	before := len(m.waiting)
	m.waiting = slices.DeleteFunc(m.waiting, func(o *attendee) bool { return o == a })
	left := len(m.waiting) < before
	m.mu.Unlock()
	if left {
		return a.Ctx.Err()
	}
	<-a.ended
	return a.err
}

// end says how it went; the first word counts.
func (a *attendee) end(err error) {
	a.once.Do(func() {
		a.err = err
		close(a.ended)
	})
}

// start begins a group of those that wait. Memory was counted for each of them before
// it was given to this child.
func (m *meeting) start() {
	m.mu.Lock()
	var group []*attendee
	if len(m.waiting) > 0 {
		n := min(len(m.waiting), max(1, m.waiting[0].width))
		group, m.waiting = slices.Clone(m.waiting[:n]), m.waiting[n:]
	}
	m.mu.Unlock()
	if group != nil {
		m.closing()
		go makeLayers(group)
	}
}

// makeLayers runs a group to its end. Each sector leaves when its own layers are made.
func makeLayers(group []*attendee) {
	defer func() {
		if p := recover(); p != nil {
			fault := panicked(p)
			for _, a := range group {
				a.end(fault)
			}
		}
	}()
	sectors := make([]jobs.SDRJob, len(group))
	for i, a := range group {
		a.begin()
		sectors[i] = a.SDRJob
	}
	a := group[0]
	if len(group) == 1 {
		a.end(a.prover.SDR(a.Ctx, a.Seal, a.Cache, a.Report))
		return
	}
	// The first one's context may end: that is not the group's end.
	errs := a.prover.(jobs.Lockstep).SDRTogether(context.WithoutCancel(a.Ctx), sectors)
	for i, a := range group {
		a.end(errs[i])
	}
}
