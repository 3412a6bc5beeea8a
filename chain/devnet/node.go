package devnet

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// Node is a running embedded network. Its methods may be called from any goroutine.
type Node struct {
	cfg    Config
	log    *slog.Logger
	chain  *chain
	pool   *pool
	wallet map[address.Address]*lotus.Key
	proofs *proofs
	source source
	chaos  *chaos
	api    *api
	server *server

	producing sync.Mutex // one maker of tipsets at a time; guards what follows
	pending   []func(*state) error
	forks     uint64

	cancel context.CancelFunc
	ticker sync.WaitGroup
}

// Start makes the genesis, serves the API and, with an EpochDuration, starts the epochs. It stops when ctx ends or at Close.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.fill(); err != nil {
		return nil, fmt.Errorf("embedded node: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &Node{
		cfg: cfg, log: cfg.Logger, proofs: newProofs(cfg.Verifier), source: source{cfg.Secret},
		wallet: map[address.Address]*lotus.Key{}, chaos: newChaos(), cancel: cancel,
	}
	for _, a := range cfg.Accounts {
		n.wallet[a.Key.Address()] = a.Key
	}
	n.chain = newChain(n.genesis(), cfg.History)
	n.pool = newPool()
	n.api = &api{n}
	var err error
	if n.server, err = serve(ctx, n); err != nil {
		cancel()
		return nil, fmt.Errorf("embedded node: %w", err)
	}
	if cfg.EpochDuration > 0 {
		n.ticker.Go(func() { n.tick(ctx) })
	}
	return n, nil
}

// Close stops the epochs and the server and waits for both.
func (n *Node) Close() error {
	n.cancel()
	n.ticker.Wait()
	if err := n.server.close(); err != nil {
		return fmt.Errorf("embedded node: %w", err)
	}
	return nil
}

// APIInfo is what FULLNODE_API_INFO holds for this node: TOKEN:/ip4/127.0.0.1/tcp/PORT/http, without "TOKEN:" when there is none.
func (n *Node) APIInfo() string { return n.server.apiInfo(n.cfg.Token) }

// URL is where JSON-RPC is served over HTTP and WebSocket, such as http://127.0.0.1:1234/rpc/v1.
func (n *Node) URL() string { return "http://" + n.server.addr.String() + "/rpc/v1" }

// Head is the current head.
func (n *Node) Head() *lotus.TipSet {
	ts, _ := n.chain.at(lotus.EmptyTSK) // the empty key is always there
	return ts.TipSet
}

func (n *Node) tick(ctx context.Context) {
	t := time.NewTicker(n.cfg.EpochDuration)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := n.Advance(ctx, 1); err != nil && ctx.Err() == nil {
				n.log.Error("embedded node: no new epoch", "error", err)
			}
		}
	}
}

// Advance makes epochs now. The messages of the pool land in the first of them; their results are state, and their receipts found,
// from the second one on.
func (n *Node) Advance(ctx context.Context, epochs int) error {
	n.producing.Lock()
	defer n.producing.Unlock()
	for range epochs {
		parent, _ := n.chain.at(lotus.EmptyTSK)
		ts, err := n.produce(ctx, parent, n.pool.choose(&parent.post, n.baseFeeOn(parent)))
		if err != nil {
			return fmt.Errorf("epoch %d: %w", parent.Height+1, err)
		}
		n.chain.extend(ts)
		n.pool.remove(ts.landed)
	}
	return nil
}

// AdvanceTo makes epochs until the head is at a height.
func (n *Node) AdvanceTo(ctx context.Context, height abi.ChainEpoch) error {
	return n.Advance(ctx, max(0, int(height-n.Head().Height)))
}

// Reorg reverts as many tipsets and makes a longer fork of empty ones, so that whatever landed in them never happened. Its messages
// return to the pool and land again later, unless dropped: then they are lost, as messages with too low a fee may be.
func (n *Node) Reorg(ctx context.Context, depth int, dropMessages bool) error {
	n.producing.Lock()
	defer n.producing.Unlock()
	head, _ := n.chain.at(lotus.EmptyTSK)
	if depth < 1 || abi.ChainEpoch(depth) > min(head.Height, n.cfg.History-1) {
		return fmt.Errorf("reorg of %d epochs: the chain has %d above genesis and keeps %d", depth, head.Height, n.cfg.History)
	}
	parent, err := n.chain.below(head, head.Height-abi.ChainEpoch(depth))
	if err != nil {
		return fmt.Errorf("reorg: %w", err)
	}
	n.forks++
	fork := make([]*tipset, 0, depth+1)
	for range depth + 1 {
		if parent, err = n.produce(ctx, parent, nil); err != nil {
			return fmt.Errorf("reorg: epoch %d: %w", head.Height, err)
		}
		fork = append(fork, parent)
	}
	for _, ts := range n.chain.replace(fork) {
		if !dropMessages {
			n.pool.restore(ts.landed)
		}
	}
	return nil
}

// SetSector says what WindowPoSts would have made of a committed sector. It is state from the next epoch's tipset on.
func (n *Node) SetSector(id jobs.SectorID, status SectorStatus) error {
	n.producing.Lock()
	defer n.producing.Unlock()
	head, _ := n.chain.at(lotus.EmptyTSK)
	m, ok := head.post.miners.get(id.Miner)
	if !ok || !m.placements.has(id.Number) {
		return fmt.Errorf("set sector %s %s: it is not committed", id, status)
	}
	n.pending = append(n.pending, func(s *state) error {
		m, _ := s.miners.get(id.Miner)
		p, ok := m.placements.get(id.Number)
		if !ok {
			return fmt.Errorf("set sector %s %s: it is not committed on this fork", id, status)
		}
		p.status = status
		c := m.copy()
		c.placements = c.placements.set(id.Number, p)
		s.miners = s.miners.set(c.id, c)
		return nil
	})
	return nil
}

// Fund adds to an actor's balance from nowhere; a negative amount takes away. It is state from the next epoch's tipset on.
func (n *Node) Fund(addr address.Address, amount abi.TokenAmount) error {
	n.producing.Lock()
	defer n.producing.Unlock()
	head, _ := n.chain.at(lotus.EmptyTSK)
	a, ok := head.post.resolve(addr)
	if !ok {
		return fmt.Errorf("fund %s: actor not found", addr)
	}
	n.pending = append(n.pending, func(s *state) error {
		s.credit(a.id, amount)
		return nil
	})
	return nil
}
