package scheduler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// node is what the Filecoin node says of itself.
type node struct {
	head    jobs.Head
	network jobs.Network
}

// world is what a poll knows beyond the sectors. It is read once and then follows
// what the poll itself does, so that a thousand sectors of one poll do not all
// choose the path that was the emptiest at its start.
type world struct {
	node
	now    time.Time
	owners map[string]bool      // live worker processes, as claims name them
	unread *sectors.UnreadError // live workers whose heartbeat says nothing more
	// batches are the open ones, as a poll tended them before its sectors; empty outside a
	// poll. nil stands for one that cannot be read.
	batches map[string]*jobs.Batch

	// Facts hand these out, so they are replaced and never changed.
	mu      sync.Mutex
	workers []jobs.Worker
	load    map[string]int
	groups  map[jobs.Group]bool // whose candidates have changed, or are due
}

func (s *Scheduler) survey(ctx context.Context) (*world, error) {
	n, err := s.askNode(ctx)
	if err != nil {
		return nil, err
	}
	w := &world{node: *n, now: s.clock.Now(), owners: map[string]bool{}, batches: map[string]*jobs.Batch{}, groups: map[jobs.Group]bool{}}
	w.workers, err = s.store.Workers(ctx)
	if w.unread, err = sectors.Unread(err); err != nil {
		return nil, fmt.Errorf("read the live workers: %w", err)
	}
	s.alarm(w.unread)
	for _, worker := range w.workers {
		w.owners[worker.Owner()] = true
	}
	if w.load, err = s.queues.Load(ctx); err != nil {
		return nil, fmt.Errorf("read the queues' load: %w", err)
	}
	return w, nil
}

// lives says that a worker process, as claims name it, may be at work.
func (w *world) lives(owner string) bool {
	name, _, _ := strings.Cut(owner, "@")
	return w.owners[owner] || w.unread.Has(name)
}

// askNode reads network and head. While the node is away, what it said last stands
// in: stages that need no chain go on, and every rule about epochs waits with the
// old head.
func (s *Scheduler) askNode(ctx context.Context) (*node, error) {
	var n node
	var err error
	if n.network, err = s.chain.Network(ctx); err == nil {
		n.head, err = s.chain.Head(ctx)
	}
	last := s.node.Load()
	switch {
	case err == nil:
		s.node.Store(&n)
		s.metrics.head.Set(float64(n.head.Epoch))
		return &n, nil
	case last == nil || ctx.Err() != nil:
		return nil, fmt.Errorf("ask the Filecoin node for its network and head: %w", err)
	}
	s.log.Warn("the Filecoin node does not answer; going on with its last head", "epoch", last.head.Epoch, "err", err)
	return last, nil
}

// see fills in what the world knows now.
func (w *world) see(f *jobs.Facts) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f.Now, f.Head, f.Network, f.Workers, f.Load = w.now, w.head, w.network, w.workers, w.load
}

// touch notes a group whose batches are to be decided on.
func (w *world) touch(g jobs.Group) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.groups[g] = true
}

func (w *world) touched() []jobs.Group {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.groups))
}

func (w *world) enqueued(q jobs.Queue) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.load = maps.Clone(w.load)
	w.load[q.String()]++
}

// path finds a path; its Capacity is what a reservation is measured against.
func (w *world) path(id string) jobs.Path {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, worker := range w.workers {
		for _, p := range worker.Paths {
			if p.ID == id {
				return p
			}
		}
	}
	return jobs.Path{ID: id}
}

// reserved counts bytes that were promised of a path since the survey.
func (w *world) reserved(id string, bytes uint64) {
	w.changePath(id, func(p *jobs.Path) { p.Reserved += bytes })
}

// full takes a path out for the rest of the poll.
func (w *world) full(id string) {
	w.changePath(id, func(p *jobs.Path) { p.Reserved = p.Capacity })
}

func (w *world) changePath(id string, change func(*jobs.Path)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.workers = slices.Clone(w.workers)
	for i := range w.workers {
		worker := &w.workers[i]
		for j := range worker.Paths {
			if worker.Paths[j].ID == id {
				worker.Paths = slices.Clone(worker.Paths)
				change(&worker.Paths[j])
			}
		}
	}
}
