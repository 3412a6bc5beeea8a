package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

const (
	// pollLimit bounds the sectors of one poll; the rest are due at the next one.
	pollLimit = 10_000
	// width is how many sectors are written at a time.
	width = 32
)

// Report is what one poll did.
type Report struct {
	Due       int // sectors that were due
	Looked    int // sectors decided on
	Acted     int // steps performed
	Held      int // sectors looked at that are held
	Conflicts int // compare-and-sets that another writer won
	Errors    int // sectors that could not be looked at to the end; they stay due
	// RPC is the number of calls to the Filecoin node that this process made
	// meanwhile; 0 if its client does not count.
	RPC uint64
	// Took is the whole poll; Survey its part that reads, before the first sector
	// is decided on.
	Took, Survey time.Duration
}

// pollJob is the periodic job. Every scheduler has it; the one that takes the
// bucket of time does it (design rule 11). A bucket is half a period, so that two
// polls of one scheduler never fall into the same one, however late a task starts.
func (s *Scheduler) pollJob(ctx context.Context) error {
	mine, err := s.takeTurn(ctx, "poll", s.period/2)
	if err != nil || !mine {
		return err
	}
	_, err = s.Poll(ctx)
	return err
}

// takeTurn lets one of many schedulers do something once in a bucket of time.
func (s *Scheduler) takeTurn(ctx context.Context, what string, length time.Duration) (bool, error) {
	bucket := what + ":" + strconv.FormatInt(s.clock.Now().UnixNano()/int64(length), 10)
	return s.store.TakePoll(ctx, bucket, 2*length)
}

// Poll looks at every sector that is due. A sector that cannot be looked at is
// counted, logged, and tried again; it does not stop the others.
func (s *Scheduler) Poll(ctx context.Context) (Report, error) {
	start, calls := time.Now(), s.calls()
	p := poll{Scheduler: s}
	err := p.run(ctx)
	p.report.RPC = s.calls() - calls
	p.report.Took = time.Since(start)
	s.metrics.polled(p.report, err)
	if p.firstErr != nil {
		s.log.Warn("sectors could not be looked at; they are tried again", "count", p.report.Errors, "first", p.firstErr)
	}
	return p.report, err
}

// Advance looks at one sector now: what the poll would do at its next turn.
func (s *Scheduler) Advance(ctx context.Context, id jobs.SectorID) error {
	l, w, err := s.lookAt(ctx, id)
	if err != nil {
		return fmt.Errorf("advance %s: %w", id, err)
	}
	if _, err := s.settle(ctx, w, l); err != nil {
		return fmt.Errorf("advance %s: %w", id, err)
	}
	if err := s.batchUp(ctx, w); err != nil {
		return fmt.Errorf("advance %s: %w", id, err)
	}
	return nil
}

// Explain says what the next poll would do for the sector and why, without doing
// it.
func (s *Scheduler) Explain(ctx context.Context, id jobs.SectorID) (jobs.Action, jobs.Reason, *jobs.Record, error) {
	l, w, err := s.lookAt(ctx, id)
	if err != nil {
		return jobs.Action{}, jobs.Reason{}, nil, fmt.Errorf("explain %s: %w", id, err)
	}
	a, why, err := s.decide(ctx, w, l)
	if err == nil && a.Batched {
		why, err = s.explainBatch(ctx, l, a, why)
	}
	if err != nil {
		return a, why, l.record, fmt.Errorf("explain %s: %w", id, err)
	}
	return a, why, l.record, nil
}

func (s *Scheduler) lookAt(ctx context.Context, id jobs.SectorID) (*look, *world, error) {
	r, err := s.store.Load(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	w, err := s.survey(ctx)
	if err != nil {
		return nil, nil, err
	}
	looks, err := s.gather(ctx, w, []*jobs.Record{r})
	if err != nil {
		return nil, nil, err
	}
	return looks[0], w, nil
}

// poll is one run over what is due.
type poll struct {
	*Scheduler

	mu       sync.Mutex
	report   Report
	firstErr error
}

func (p *poll) run(ctx context.Context) error {
	start := time.Now()
	w, err := p.survey(ctx)
	if err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	// Before the sectors: a batch that is given up sets its members free.
	if err := p.tendBatches(ctx, w); err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	due, err := p.store.Due(ctx, p.clock.Now(), pollLimit)
	if err != nil {
		return fmt.Errorf("poll: read what is due: %w", err)
	}
	looks, err := p.load(ctx, w, due)
	if err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	p.report.Due, p.report.Survey = len(due), time.Since(start)
	var group errgroup.Group
	group.SetLimit(width)
	for _, l := range looks {
		group.Go(func() error { return p.one(ctx, w, l) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := p.touchDue(ctx, w); err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	return p.batchUp(ctx, w)
}

// load reads the sectors and the facts about them, all in bulk.
func (p *poll) load(ctx context.Context, w *world, ids []jobs.SectorID) ([]*look, error) {
	records, err := p.store.LoadMany(ctx, ids)
	var unreadable *sectors.UnreadableError
	if errors.As(err, &unreadable) {
		for i, id := range unreadable.IDs {
			p.count(settled{}, p.later(ctx, w, id, unreadable.Errs[i]))
		}
	} else if err != nil {
		return nil, fmt.Errorf("read %d sectors: %w", len(ids), err)
	}
	// An index entry without a record is a creation cut off, or about to be written;
	// the sweep takes it out.
	records = slices.DeleteFunc(records, func(r *jobs.Record) bool { return r == nil })
	return p.gather(ctx, w, records)
}

// one settles a sector and counts how it went. Only the end of ctx ends the poll.
func (p *poll) one(ctx context.Context, w *world, l *look) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done, err := p.settle(ctx, w, l)
	if err != nil {
		err = p.later(ctx, w, l.record.ID, err)
	}
	p.count(done, err)
	return ctx.Err()
}

// later puts a sector that failed behind the others: it must not stay at the head
// of the index for ever.
func (p *poll) later(ctx context.Context, w *world, id jobs.SectorID, err error) error {
	return errors.Join(err, p.store.SetDue(ctx, id, w.now.Add(p.policy.Look)))
}

func (p *poll) count(done settled, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Looked++
	p.report.Acted += done.acted
	p.report.Conflicts += done.conflicts
	if done.held {
		p.report.Held++
	}
	if err != nil {
		p.report.Errors++
		if p.firstErr == nil {
			p.firstErr = err
		}
	}
}

// calls is the chain client's count of RPC calls, if it has one.
func (s *Scheduler) calls() (sum uint64) {
	counter, ok := s.chain.(interface{ Calls() map[string]uint64 })
	if !ok {
		return 0
	}
	for _, n := range counter.Calls() {
		sum += n
	}
	return sum
}
