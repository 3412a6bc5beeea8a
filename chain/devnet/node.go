package devnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// Node is a running embedded network. Its methods may be called from any goroutine.
type Node struct {
	cfg    Config
	log    *slog.Logger
	rules  rules
	chain  *chain
	pool   *pool
	wallet map[address.Address]*lotus.Key
	proofs *proofs
	source source
	chaos  *chaos
	api    *api
	server *server

	producing sync.Mutex // one maker of tipsets at a time; guards what follows
	pending   []order
	forks     uint64
	journal   *journal // nil when the network is in memory only

	cancel context.CancelFunc
	ticker sync.WaitGroup
	close  func() error
}

// Start makes the genesis, serves the API and, with an EpochDuration, starts the epochs. It stops when ctx ends or at Close.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.fill(); err != nil {
		return nil, fmt.Errorf("embedded node: %w", err)
	}
	outer := ctx
	ctx, cancel := context.WithCancel(outer)
	n := &Node{
		cfg: cfg, log: cfg.Logger, rules: cfg.rules(), proofs: newProofs(&cfg), source: source{cfg.Secret},
		wallet: map[address.Address]*lotus.Key{}, chaos: newChaos(), cancel: cancel,
	}
	for _, a := range cfg.Accounts {
		n.wallet[a.Key.Address()] = a.Key
	}
	n.pool = newPool()
	n.api = &api{n}
	if err := n.load(ctx); err != nil {
		cancel()
		return nil, fmt.Errorf("embedded node: %w", err)
	}
	var err error
	if n.server, err = serve(ctx, n); err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("embedded node: %w", err), n.journal.close())
	}
	if cfg.EpochDuration > 0 {
		n.ticker.Go(func() { n.tick(ctx) })
	}
	n.close = sync.OnceValue(n.shutdown)
	context.AfterFunc(outer, func() {
		if err := n.Close(); err != nil {
			n.log.Error("embedded node: close", "error", err)
		}
	})
	return n, nil
}

// load makes the genesis and, where there is a journal, everything that happened since.
func (n *Node) load(ctx context.Context) error {
	j, entries, err := openJournal(&n.cfg)
	if err != nil {
		return err
	}
	n.chain = newChain(n.genesis(), n.cfg.History)
	for i, e := range entries {
		if err := n.replay(ctx, e); err != nil {
			return errors.Join(fmt.Errorf("journal in %s: entry %d: %w; remove the directory to begin anew", n.cfg.Dir, i+2, err), j.close())
		}
	}
	n.journal = j
	n.proofs.journal, n.pool.journal = j, j
	return nil
}

// Close stops the epochs and the server and waits for both.
func (n *Node) Close() error { return n.close() }

func (n *Node) shutdown() error {
	n.cancel()
	n.ticker.Wait()
	if err := errors.Join(n.server.close(), n.journal.close()); err != nil {
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
		p := plan{Fork: n.forks, BaseFee: n.baseFeeOn(parent), Orders: n.pending}
		p.messages = n.pool.choose(&parent.post, p.BaseFee, n.chaos.careless())
		for i := range p.messages {
			if n.chaos.losesReceipt() {
				p.Lost = append(p.Lost, i)
			}
		}
		ts, err := n.produce(ctx, parent, &p)
		if err != nil {
			return fmt.Errorf("epoch %d: %w", parent.Height+1, err)
		}
		if err := n.journal.write(entry{Line: &line{Tipsets: []plan{p}}}); err != nil {
			return fmt.Errorf("epoch %d: %w", parent.Height+1, err)
		}
		n.pending = nil
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
	l := line{Drop: dropMessages}
	var fork []*tipset
	for range depth + 1 {
		p := plan{Fork: n.forks + 1, BaseFee: n.baseFeeOn(parent)}
		if parent, err = n.produce(ctx, parent, &p); err != nil {
			return fmt.Errorf("reorg: epoch %d: %w", p.Height, err)
		}
		l.Tipsets, fork = append(l.Tipsets, p), append(fork, parent)
	}
	if err := n.journal.write(entry{Line: &l}); err != nil {
		return fmt.Errorf("reorg: %w", err)
	}
	n.adopt(fork, &l)
	return nil
}

// adopt makes a fork the current line.
func (n *Node) adopt(fork []*tipset, l *line) {
	n.forks = l.Tipsets[0].Fork
	for _, ts := range n.chain.replace(fork) {
		if !l.Drop {
			n.pool.restore(ts.landed)
		}
	}
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
	n.pending = append(n.pending, order{Sector: &id, Status: status, Amount: big.Zero()})
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
	n.pending = append(n.pending, order{Actor: a.id, Amount: amount})
	return nil
}
