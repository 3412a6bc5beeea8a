package devnet

import (
	"errors"
	"fmt"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
)

// tipset is a tipset with what its state was: before its messages, which is what a query at the tipset sees, and after them.
type tipset struct {
	*lotus.TipSet
	key     lotus.TipSetKey
	pre     state
	post    state
	root    cid.Cid // of post
	landed  []*landing
	baseFee abi.TokenAmount
	entropy entropy
}

// entropy is what randomness is drawn from at one height: the digests of ticket and beacon entry.
type entropy struct{ ticket, beacon [32]byte }

// anchor is what is kept of every height of the current chain for ever: a proof may need a ticket that is months old.
type anchor struct {
	key     lotus.TipSetKey
	entropy entropy
}

// chain is the tree of recent tipsets and the line to the current head.
type chain struct {
	history abi.ChainEpoch // tipsets older than this below the head are forgotten

	mu       sync.RWMutex
	head     *tipset
	byKey    map[lotus.TipSetKey]*tipset
	byHeight map[abi.ChainEpoch][]lotus.TipSetKey
	line     []anchor // by height
	watchers map[chan []*lotus.HeadChange]struct{}
}

func newChain(genesis *tipset, history abi.ChainEpoch) *chain {
	c := &chain{
		history: history, byKey: map[lotus.TipSetKey]*tipset{}, byHeight: map[abi.ChainEpoch][]lotus.TipSetKey{},
		watchers: map[chan []*lotus.HeadChange]struct{}{},
	}
	c.extend(genesis)
	return c
}

// at gives the tipset of a key; the empty key is the head.
func (c *chain) at(key lotus.TipSetKey) (*tipset, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if key.IsEmpty() {
		return c.head, nil
	}
	if ts, ok := c.byKey[key]; ok {
		return ts, nil
	}
	missing := key.Cids()[0]
	return nil, fmt.Errorf("loading tipset %s: get block %s: ipld: could not find %s", key, missing, missing)
}

// below gives the ancestor of ts at a height.
func (c *chain) below(ts *tipset, height abi.ChainEpoch) (*tipset, error) {
	switch {
	case height < 0:
		return nil, fmt.Errorf("height %d is negative", height)
	case height > ts.Height:
		return nil, fmt.Errorf("looking for tipset with height greater than start point, req: %d, head: %d", height, ts.Height)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for ok := true; ok && ts.Height > height; {
		key := ts.Parents()
		if c.onLine(ts) {
			key = c.line[height].key
		}
		ts, ok = c.byKey[key]
	}
	if ts == nil {
		return nil, fmt.Errorf("tipset at height %d is older than the %d epochs that this node keeps", height, c.history)
	}
	return ts, nil
}

// keyBelow gives the key of the ancestor of ts at a height, even one that is forgotten.
func (c *chain) keyBelow(ts *tipset, height abi.ChainEpoch) (lotus.TipSetKey, error) {
	c.mu.RLock()
	line := c.onLine(ts) && height >= 0 && height <= ts.Height
	var key lotus.TipSetKey
	if line {
		key = c.line[height].key
	}
	c.mu.RUnlock()
	if line {
		return key, nil
	}
	found, err := c.below(ts, height)
	if err != nil {
		return lotus.EmptyTSK, err
	}
	return found.key, nil
}

// onLine says whether ts is an ancestor of the head, or the head. The caller holds mu.
func (c *chain) onLine(ts *tipset) bool {
	return int(ts.Height) < len(c.line) && c.line[ts.Height].key == ts.key
}

var errFuture = errors.New("cannot draw randomness from the future")

// entropyAt is what randomness is drawn from at a height as seen from ts. As in Lotus, what is before genesis is drawn from it.
func (c *chain) entropyAt(ts *tipset, height abi.ChainEpoch) (entropy, error) {
	if height > ts.Height {
		return entropy{}, errFuture
	}
	height = max(height, 0)
	c.mu.RLock()
	defer c.mu.RUnlock()
	for !c.onLine(ts) && ts.Height > height {
		parent, ok := c.byKey[ts.Parents()]
		if !ok {
			return entropy{}, fmt.Errorf("the fork of %s is older than the %d epochs that this node keeps", ts.key, c.history)
		}
		ts = parent
	}
	if ts.Height == height {
		return ts.entropy, nil
	}
	return c.line[height].entropy, nil
}

// extend makes ts, a child of the head, the new head.
func (c *chain) extend(ts *tipset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.push(ts)
	c.notify([]*lotus.HeadChange{{Type: lotus.HeadApply, Val: ts.TipSet}})
}

// replace makes fork, whose first is a child of an ancestor of the head, the new line. It returns what was reverted, newest first.
func (c *chain) replace(fork []*tipset) []*tipset {
	c.mu.Lock()
	defer c.mu.Unlock()
	var reverted []*tipset
	var changes []*lotus.HeadChange
	for ts := c.head; ts.Height >= fork[0].Height; ts = c.byKey[ts.Parents()] {
		reverted = append(reverted, ts)
		changes = append(changes, &lotus.HeadChange{Type: lotus.HeadRevert, Val: ts.TipSet})
	}
	c.line = c.line[:fork[0].Height]
	for _, ts := range fork {
		c.push(ts)
		changes = append(changes, &lotus.HeadChange{Type: lotus.HeadApply, Val: ts.TipSet})
	}
	c.notify(changes)
	return reverted
}

func (c *chain) push(ts *tipset) {
	c.head = ts
	c.byKey[ts.key] = ts
	c.byHeight[ts.Height] = append(c.byHeight[ts.Height], ts.key)
	c.line = append(c.line, anchor{ts.key, ts.entropy})
	if old := ts.Height - c.history; old > 0 { // the genesis stays
		for _, key := range c.byHeight[old] {
			delete(c.byKey, key)
		}
		delete(c.byHeight, old)
	}
}

// watchBuffer is how many notifications a watcher may lag behind before it is cut off, as a node cuts off a slow subscriber.
const watchBuffer = 256

// watch subscribes to head changes; the first is the current head. The channel is closed by stop, or when its reader falls behind.
func (c *chain) watch() (changes <-chan []*lotus.HeadChange, stop func()) {
	ch := make(chan []*lotus.HeadChange, watchBuffer)
	c.mu.Lock()
	defer c.mu.Unlock()
	ch <- []*lotus.HeadChange{{Type: lotus.HeadCurrent, Val: c.head.TipSet}}
	c.watchers[ch] = struct{}{}
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cut(ch)
	}
}

func (c *chain) notify(changes []*lotus.HeadChange) {
	for ch := range c.watchers {
		select {
		case ch <- changes:
		default:
			c.cut(ch)
		}
	}
}

func (c *chain) cut(ch chan []*lotus.HeadChange) {
	if _, ok := c.watchers[ch]; ok {
		delete(c.watchers, ch)
		close(ch)
	}
}
