package chain

import (
	"context"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/lpseal/lpseal/chain/lotus"
)

// memos holds answers as of tipsets: a tipset never changes, so they need no expiry, only bounds.
type memos struct {
	mu     sync.Mutex
	byKey  map[lotus.TipSetKey]map[string]any
	recent []lotus.TipSetKey // oldest first
	flight singleflight.Group
}

// memoTipSets is how many tipsets are remembered: head and settled tipset, and those of the readers that are an epoch behind.
const memoTipSets = 8

// memo gives the answer to a question (a method and its arguments, as subject) as of a tipset, and asks the node once, however many callers ask at
// the same time.
func memo[T any](ctx context.Context, c *Client, at lotus.TipSetKey, method, subject string, ask func(context.Context, *api) (T, error)) (T, error) {
	what := method + " " + subject
	if v, ok := c.memos.get(at, what); ok {
		return v.(T), nil
	}
	// The first caller asks for all: its own cancellation must not fail the others.
	answers := c.memos.flight.DoChan(at.String()+what, func() (any, error) {
		v, err := read(context.WithoutCancel(ctx), c.node, method, ask)
		if err == nil {
			c.memos.put(at, what, v)
		}
		return v, err
	})
	var none T
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case a := <-answers:
		if a.Err != nil {
			return none, a.Err
		}
		return a.Val.(T), nil
	}
}

func (m *memos) get(at lotus.TipSetKey, what string) (any, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.byKey[at][what]
	return v, ok
}

func (m *memos) put(at lotus.TipSetKey, what string, v any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byKey == nil {
		m.byKey = map[lotus.TipSetKey]map[string]any{}
	}
	if m.byKey[at] == nil {
		m.byKey[at] = map[string]any{}
		m.recent = append(m.recent, at)
		if len(m.recent) > memoTipSets {
			delete(m.byKey, m.recent[0])
			m.recent = m.recent[1:]
		}
	}
	m.byKey[at][what] = v
}
