package web

import (
	"context"
	"sync"
	"time"

	"github.com/lpseal/lpseal/jobs"
)

// paced makes something for everybody who looks, and only while somebody does. What was made
// stands for at least minAge and for restFactor times as long as making it took: however much
// there is to read and however many look, reading takes a small share of the source's time.
type paced[T any] struct {
	clock  jobs.Clock
	minAge time.Duration
	make   func(context.Context) (T, error)

	mu   sync.Mutex
	last *T
	next time.Time
}

const restFactor = 10

// take gives what is fresh enough. Who comes while it is made waits for it.
func (p *paced[T]) take(ctx context.Context) (T, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	start := p.clock.Now()
	if p.last != nil && start.Before(p.next) {
		return *p.last, nil
	}
	made, err := p.make(ctx)
	if err != nil {
		return made, err
	}
	took := p.clock.Now().Sub(start)
	p.last, p.next = &made, start.Add(max(p.minAge, restFactor*took))
	return made, nil
}
