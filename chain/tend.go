package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/big"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// Run follows the chain's head until ctx ends: it subscribes, subscribes again with back-off when the subscription is lost, and tends the messages of a
// client with a journal at every head. Where nothing can be subscribed to it asks for the head instead, once for each try.
func (c *Client) Run(ctx context.Context) error {
	wait := c.cfg.Backoff
	for {
		begun := time.Now()
		e, moved := c.node.reading()
		err := c.follow(ctx, e, moved)
		c.setFollowed(false)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errMoved) {
			continue
		}
		if len(c.node.endpoints) > 1 {
			c.lookAtNodes(ctx) // another may be there to listen to
		}
		if time.Since(begun) > maxResubscribe {
			wait = c.cfg.Backoff
		}
		c.cfg.Log.Warn("head notifications ended; asking for the head until they are back", "again_in", wait, "err", err)
		// A node, or a gateway before it, may never notify: messages are tended all the same.
		if head, err := c.freshHead(ctx); err == nil {
			c.reach(ctx, head)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			wait = min(2*wait, maxResubscribe)
		}
	}
}

const maxResubscribe = 30 * time.Second

func (c *Client) setFollowed(followed bool) {
	c.mu.Lock()
	changed := c.followed != followed
	c.followed = followed
	c.mu.Unlock()
	if changed && followed {
		e, _ := c.node.reading()
		c.cfg.Log.Info("the head is followed by notifications", "node", e.URL)
	}
}

// errMoved ends a subscription at a node that is no longer read from: its heads would name tipsets that the other need not have.
var errMoved = errors.New("the chain is read from another node")

// follow reads notifications of one subscription until it ends.
func (c *Client) follow(ctx context.Context, e Endpoint, moved <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.node.count("ChainNotify")
	changes, err := subscribe(ctx, e, c.cfg.Timeout)
	if err != nil {
		return fmt.Errorf("node %s: ChainNotify: %s", e, lotus.Cause(e.notifyURL(), err))
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
			return errMoved
		case <-time.After(c.longQuiet()):
			return fmt.Errorf("node %s told of no head for %s", e, c.longQuiet())
		case step, ok := <-changes:
			if !ok {
				return errors.New("the node closed the subscription")
			}
			c.advance(ctx, step)
		}
	}
}

// subscribe connects and asks for notifications; the connection ends with ctx. go-jsonrpc heeds no deadline in either, so both are awaited aside.
func subscribe(ctx context.Context, e Endpoint, timeout time.Duration) (<-chan []*lotus.HeadChange, error) {
	type answer struct {
		changes <-chan []*lotus.HeadChange
		err     error
	}
	answers := make(chan answer, 1)
	go func() {
		var node struct { // its only method that needs a WebSocket
			ChainNotify func(context.Context) (<-chan []*lotus.HeadChange, error)
		}
		closer, err := jsonrpc.NewMergeClient(ctx, e.notifyURL(), lotus.Namespace, []any{&node}, e.Header(),
			jsonrpc.WithErrors(lotus.Errors()), jsonrpc.WithNoReconnect())
		if err != nil {
			answers <- answer{nil, err}
			return
		}
		context.AfterFunc(ctx, closer)
		changes, err := node.ChainNotify(ctx)
		answers <- answer{changes, err}
	}()
	select {
	case a := <-answers:
		return a.changes, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(timeout):
		return nil, fmt.Errorf("no answer within %s", timeout)
	}
}

// longQuiet is after how long without a notification a subscription is taken for lost.
func (c *Client) longQuiet() time.Duration { return max(c.cfg.Timeout, silence*c.network.BlockDelay) }

// advance takes one notification: reverts, then applies.
func (c *Client) advance(ctx context.Context, step []*lotus.HeadChange) {
	var (
		head     *lotus.TipSet
		reverted bool
	)
	for _, change := range step {
		if change == nil {
			continue
		}
		if change.Type == lotus.HeadRevert {
			reverted = true
			continue
		}
		head = change.Val
	}
	if head == nil {
		return // reverts alone: the applies follow, and until then the old head's state is as good as any
	}
	c.setFollowed(true)
	c.reach(ctx, c.setHead(head, reverted))
}

// reach does what there is to do at a head.
func (c *Client) reach(ctx context.Context, head *lotus.TipSet) {
	if c.cfg.OnHead != nil {
		c.cfg.OnHead(jobs.Head{Epoch: head.Height, Key: head.Key().String()})
	}
	if err := c.Tend(ctx); err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("messages could not be tended", "epoch", head.Height, "err", err)
	}
}

// Tend looks after messages that are on their way: settles those that landed, pushes lost ones again with the same bytes, raises the fee of the one that
// holds up its sender, and fills a nonce that was reserved and never used. Run calls it at every head; it is safe in several processes.
func (c *Client) Tend(ctx context.Context) error {
	if c.cfg.Journal == nil {
		return nil
	}
	ts, err := c.settledTipSet(ctx)
	if err != nil {
		return err
	}
	if err := c.settleMessages(ctx, ts); err != nil {
		return err
	}
	head, err := c.headTipSet(ctx)
	if err != nil {
		return err
	}
	senders, err := c.senders(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for from, s := range senders {
		if len(s.Reserved) == 0 {
			continue
		}
		next, err := c.nonceAt(ctx, from, head)
		if err != nil {
			return err
		}
		errs = append(errs, c.noticeGaps(ctx, head, from, s, next), c.tendSender(ctx, head, from, s, next))
	}
	return errors.Join(errs...)
}

// tendSender looks after the messages of a sender that have not landed. Their entries are read at once, and the mempool is asked of at most once about all
// that have nothing new.
func (c *Client) tendSender(ctx context.Context, head *lotus.TipSet, from address.Address, s *sender, next uint64) error {
	nonces := s.waiting(next)
	keys := make([]string, len(nonces))
	for i, nonce := range nonces {
		keys[i] = s.Reserved[nonce].Meaning
	}
	values, err := c.log().get(ctx, keys...)
	if err != nil {
		return err
	}
	pool := sync.OnceValues(func() (uint64, error) { return c.nextInPool(ctx, from) })
	var errs []error
	for i, nonce := range nonces {
		t := tended{from: from, nonce: nonce, reservation: s.Reserved[nonce], raw: values[i], first: nonce == next, pool: pool}
		errs = append(errs, c.tendNonce(ctx, head, t))
	}
	return errors.Join(errs...)
}

// tended is a reserved nonce that has not landed.
type tended struct {
	from  address.Address
	nonce uint64
	reservation
	raw   []byte                 // the entry
	first bool                   // it holds up the others
	pool  func() (uint64, error) // the sender's next nonce in the mempool
}

// noticeGaps reserves, for filling, unused nonces below a reserved one: a reorganisation deeper than the confidence took back a message that was settled.
func (c *Client) noticeGaps(ctx context.Context, head *lotus.TipSet, from address.Address, s *sender, next uint64) error {
	waiting := s.waiting(next)
	if c.cfg.Shared || len(waiting) == 0 {
		return nil
	}
	last := waiting[len(waiting)-1]
	if gap := last - next; uint64(len(waiting)) > gap || gap > maxPending { // above, the node is behind
		return nil
	}
	return c.log().update(ctx, from, func(s *sender) (changed bool) {
		for nonce := next; nonce < last; nonce++ {
			if _, ok := s.Reserved[nonce]; !ok {
				s.Reserved[nonce], changed = reservation{Meaning: fillKey(from, nonce), At: head.Height}, true
			}
		}
		return changed
	})
}

// tendNonce looks after one message that has not landed. The first of a sender holds up the others, so only its fee is worth raising.
func (c *Client) tendNonce(ctx context.Context, head *lotus.TipSet, t tended) error {
	var e *entry
	if t.raw != nil {
		var err error
		if e, err = decodeEntry(t.Meaning, t.raw); err != nil {
			c.alarm(t.Meaning, err)
			return nil
		}
	}
	switch {
	case !e.uses(t.from, t.nonce):
		if c.cfg.Shared || head.Height-t.At < c.cfg.ReplaceAfter {
			return nil // the node pushed it when it assigned the nonce; or its sender is about to sign
		}
		return c.fill(ctx, head, t.from, t.nonce, t.reservation)
	case e.State.Terminal() || head.Height-max(e.PushedAt, e.SignedAt) < c.cfg.ReplaceAfter:
		return nil
	case !t.first && e.State == jobs.MessagePushed:
		if next, err := t.pool(); err != nil || t.nonce < next {
			return err // it waits in the mempool behind the others
		}
	case t.first && !c.cfg.Shared:
		if replaced, err := c.replace(ctx, head, t.Meaning, t.raw, e); replaced || err != nil {
			return err
		}
	}
	_, err := c.pushFound(ctx, t.Meaning)
	return err
}

// transferGas is enough for a transfer of nothing to oneself, which uses 0.73 million.
const transferGas = 2_000_000

// fill uses a reserved nonce that nobody signed for, with a transfer of nothing to the sender itself. First the reservation changes hands, then the
// old meaning's entry is touched: a signer that was only slow fails to write it and takes another nonce.
func (c *Client) fill(ctx context.Context, head *lotus.TipSet, from address.Address, nonce uint64, r reservation) error {
	key := fillKey(from, nonce)
	owner := r.Instead
	if r.Meaning != key {
		owner = r.Meaning
		if err := c.reassign(ctx, from, nonce, r.Meaning, reservation{Meaning: key, At: r.At, Instead: owner}); err != nil {
			return err
		}
	}
	if kept, err := c.void(ctx, from, nonce, owner); err != nil {
		return err
	} else if kept {
		return c.reassign(ctx, from, nonce, key, reservation{Meaning: owner, At: r.At})
	}
	_, raw, err := c.log().load(ctx, key) // of an earlier filler that was reorganised away
	if err != nil {
		return err
	}
	msg := &lotus.Message{From: from, To: from, Nonce: nonce, Value: big.Zero(), GasLimit: transferGas, GasFeeCap: big.Zero(), GasPremium: big.Zero()}
	if there, err := c.taken(ctx, from, nonce); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	} else if there != nil { // it uses the nonce, and is left alone
		c.warnForeign(key, there)
		return nil
	}
	if err := c.bid(ctx, head, msg, big.Zero(), c.cfg.MaxFeePreCommit); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	msg.GasPremium = big.Min(msg.GasPremium, msg.GasFeeCap) // no mempool takes another, however often it is pushed
	signed, err := c.signature(ctx, msg)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	filler := &entry{Signed: signed, State: jobs.MessageJournaled, SignedAt: head.Height}
	if _, ok, err := c.log().save(ctx, key, raw, filler); !ok || err != nil {
		return err
	}
	c.cfg.Log.Warn("a reserved nonce was never used and is filled", "meaning", owner, "sender", from, "nonce", nonce)
	_, err = c.push(ctx, key)
	return err
}

// void makes a late signer's write of the entry fail. It answers kept when the owner had signed for the nonce after all.
func (c *Client) void(ctx context.Context, from address.Address, nonce uint64, owner string) (kept bool, err error) {
	for owner != "" {
		e, raw, err := c.log().load(ctx, owner)
		switch {
		case err != nil || e == nil || e.State.Terminal():
			return false, err
		case e.uses(from, nonce):
			return true, nil
		}
		e.Void++
		if _, ok, err := c.log().save(ctx, owner, raw, e); ok || err != nil {
			return false, err
		}
	}
	return false, nil
}

// reassign gives a nonce to another meaning if it still has the one named.
func (c *Client) reassign(ctx context.Context, from address.Address, nonce uint64, meaning string, next reservation) error {
	return c.log().update(ctx, from, func(s *sender) bool {
		if s.Reserved[nonce].Meaning != meaning {
			return false
		}
		s.Reserved[nonce] = next
		return true
	})
}
