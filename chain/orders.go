package chain

import (
	"context"
	"errors"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// Replace raises the fee of the message under a journal key, by an operator's order: however often it was replaced, and up to maxFee (attoFIL) where that
// is given. The nonce stays, so one of the versions lands. It gives the message as it is then.
func (c *Client) Replace(ctx context.Context, key string, maxFee abi.TokenAmount) (Tracked, error) {
	return c.order(ctx, key, maxFee, func(*entry, *lotus.Message) error { return nil })
}

// Cancel takes the message under a journal key back, by an operator's order: a transfer of nothing to the sender itself outbids it for its nonce, which
// must land (design rule 13). Either may still land. If the transfer does, the message counts as dropped, with a fault that says so, and what it was for is
// sent anew unless the sector is held. A nonce that was reserved and not signed for is filled.
func (c *Client) Cancel(ctx context.Context, key string, maxFee abi.TokenAmount) (Tracked, error) {
	if filler, err := c.fillUnsigned(ctx, key); err != nil || filler != "" {
		return c.trackedAt(ctx, filler, err)
	}
	return c.order(ctx, key, maxFee, func(e *entry, msg *lotus.Message) error {
		if msg.Method == builtin.MethodSend {
			return jobs.Failf(jobs.Rejected, "%s: message %s only uses its nonce; raise its fee with lpseal messages replace", key, e.Signed.Cid())
		}
		e.Canceled = e.Signed.Cid()
		msg.To, msg.Method, msg.Params, msg.Value, msg.GasLimit = msg.From, builtin.MethodSend, nil, big.Zero(), transferGas
		return nil
	})
}

// order outbids a message that waits to land with what change makes of it.
func (c *Client) order(ctx context.Context, key string, maxFee abi.TokenAmount, change func(*entry, *lotus.Message) error) (Tracked, error) {
	for {
		head, e, raw, err := c.waiting(ctx, key)
		if err != nil {
			return Tracked{}, err
		}
		if maxFee.NilOrZero() {
			maxFee = c.feeLimit(e.Method, len(e.Members))
		}
		msg := e.Signed.Message
		if err := change(e, &msg); err != nil {
			return Tracked{}, err
		}
		bid, err := c.outbid(ctx, head, msg, maxFee)
		if err != nil {
			return Tracked{}, err
		}
		if !bid.fits {
			return Tracked{}, jobs.Failf(jobs.Funds, "%s: only %s or more replaces message %s now, and %s is the maximum; allow it with --max-fee",
				key, FIL(bid.least), e.Signed.Cid(), FIL(maxFee))
		}
		if ok, err := c.amend(ctx, head, key, raw, e, &bid.message); ok || err != nil {
			return c.trackedAt(ctx, key, err)
		}
	}
}

// trackedAt gives the message under a key as it is after an order, unless that failed.
func (c *Client) trackedAt(ctx context.Context, key string, failed error) (Tracked, error) {
	if failed != nil {
		return Tracked{}, failed
	}
	e, _, err := c.log().load(ctx, key)
	if err != nil {
		return Tracked{}, err
	}
	return e.tracked(key), nil
}

// waiting loads a message that an order may change: it is ours alone, signed, and its nonce is not used as of the head.
func (c *Client) waiting(ctx context.Context, key string) (*lotus.TipSet, *entry, []byte, error) {
	if c.cfg.Shared {
		return nil, nil, nil, jobs.Failf(jobs.Rejected, "%s: other software signs with the sender's key (`shared: true`), so no nonce is certain to be ours; replace it with that software, or lotus mpool replace", key)
	}
	e, raw, err := c.log().load(ctx, key)
	if err != nil {
		return nil, nil, nil, err
	}
	if !e.pending() {
		return nil, nil, nil, jobs.Failf(jobs.Rejected, "%s: no message of it waits to land", key)
	}
	head, err := c.freshHead(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	msg := &e.Signed.Message
	next, err := c.nonceAt(ctx, msg.From, head)
	if err != nil {
		return nil, nil, nil, err
	}
	if msg.Nonce < next {
		return nil, nil, nil, jobs.Failf(jobs.Rejected, "%s: nonce %d of %s is used on chain, by this message or another: too late; which one is known %d epochs after",
			key, msg.Nonce, msg.From, c.cfg.Confidence)
	}
	there, err := c.inMempool(ctx, msg.From, msg.Nonce)
	if err != nil {
		return nil, nil, nil, err
	}
	if there != nil && !e.version(there.Cid()) {
		return nil, nil, nil, jobs.Failf(jobs.Rejected, "%s: the mempool has message %s with its nonce %d, which is not ours and is left alone: it may be somebody's WindowPoSt",
			key, there.Cid(), msg.Nonce)
	}
	return head, e, raw, nil
}

// fillUnsigned fills the nonce that is reserved for a key under which nothing was signed, and gives the filler's key; empty if there is none.
func (c *Client) fillUnsigned(ctx context.Context, key string) (string, error) {
	e, _, err := c.log().load(ctx, key)
	if err != nil || e.pending() || c.cfg.Shared {
		return "", err
	}
	head, err := c.freshHead(ctx)
	if err != nil {
		return "", err
	}
	senders, err := c.senders(ctx)
	if err != nil {
		return "", err
	}
	for from, s := range senders {
		next, err := c.nonceAt(ctx, from, head)
		if err != nil {
			return "", err
		}
		nonce, ok := s.nonceOf(key, next)
		if !ok {
			continue
		}
		if err := c.fill(ctx, head, from, nonce, s.Reserved[nonce]); err != nil {
			return "", err
		}
		filler := fillKey(from, nonce)
		if e, _, err := c.log().load(ctx, filler); err != nil || e != nil {
			return filler, err
		}
	}
	return "", nil // its sender signed for it just now
}

// tookBack tells whether the transfer of nothing of a canceled message landed, and then ends the entry. Otherwise one of the message's own versions did.
func (c *Client) tookBack(ctx context.Context, ts *lotus.TipSet, e *entry) (bool, error) {
	if !e.Canceled.Defined() {
		return false, nil
	}
	found, err := c.search(ctx, ts, e, e.Signed.Cid())
	switch {
	case errors.Is(err, errReplaced) || errors.Is(err, errNotFound):
		return false, nil
	case err != nil || found == nil:
		return false, err
	}
	e.Bill = c.billed(ctx, e, found)
	e.end(jobs.MessageDropped, e.Canceled, found.Height)
	return true, nil
}
