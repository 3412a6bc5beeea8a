package chain

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// sign gets a message signed and journals the bytes. With keys of our own the bytes are journaled before anything is pushed; with shared keys the node
// signs and pushes in one call, which the journaled message and its UUID make repeatable. It answers false when another process wrote the entry.
func (c *Client) sign(ctx context.Context, key string, e *entry, raw []byte, msg *lotus.Message, head *lotus.TipSet) (bool, error) {
	if c.cfg.Shared {
		ask := *msg // the node fills in what is zero
		ask.Nonce, ask.GasLimit, ask.GasFeeCap, ask.GasPremium = 0, 0, big.Zero(), big.Zero()
		e.Asked, e.State = &ask, jobs.MessageJournaled
		if _, ok, err := c.log().save(ctx, key, raw, e); !ok || err != nil {
			return false, err
		}
		return true, c.finish(ctx, key)
	}
	pool, err := c.nextInPool(ctx, msg.From)
	if err != nil {
		return false, err
	}
	signing := *msg
	if signing.Nonce, err = c.reserve(ctx, msg.From, key, pool, head); err != nil {
		return false, err
	}
	if err := c.covered(ctx, e, head); err != nil {
		return false, err
	}
	if e.Signed, err = c.signature(ctx, &signing); err != nil {
		return false, fmt.Errorf("%s: %w", key, err)
	}
	e.State, e.SignedAt = jobs.MessageJournaled, head.Height
	_, ok, err := c.log().save(ctx, key, raw, e)
	return ok, err
}

// nextInPool is a sender's next nonce, what is in the mempool counted.
func (c *Client) nextInPool(ctx context.Context, from address.Address) (uint64, error) {
	nonce, err := write(ctx, c.node, "MpoolGetNonce", func(ctx context.Context, api *api) (uint64, error) { return api.MpoolGetNonce(ctx, from) })
	if err != nil {
		return 0, fmt.Errorf("sender %s: %w", from, err)
	}
	return nonce, nil
}

// settleOpen decides about a message that nobody is known to have signed: one that the node was asked for is asked for again, any other ends.
func (c *Client) settleOpen(ctx context.Context, key string, e *entry, head *lotus.TipSet) error {
	if e.Asked != nil {
		return c.finish(ctx, key)
	}
	return c.endOpen(ctx, key, head)
}

// finish has the node sign and push what it was asked for: under the same UUID it answers with the same message, however often. If executing it fails,
// there is no such message, and there will be none.
func (c *Client) finish(ctx context.Context, key string) error {
	e, raw, err := c.log().load(ctx, key)
	if err != nil || !e.open() || e.Asked == nil {
		return err
	}
	head, err := c.headTipSet(ctx)
	if err != nil {
		return err
	}
	spec := &lotus.MessageSendSpec{MaxFee: c.feeLimit(e.Method, len(e.Members)), MsgUuid: e.UUID}
	signed, err := write(ctx, c.node, "MpoolPushMessage", func(ctx context.Context, api *api) (*lotus.SignedMessage, error) {
		return api.MpoolPushMessage(ctx, e.Asked, spec)
	})
	if err != nil {
		if _, executed := execution(err); !executed {
			return fmt.Errorf("%s: %w", key, err)
		}
		e.end(jobs.MessageDropped, cid.Undef, head.Height)
		if _, _, saved := c.log().save(ctx, key, raw, e); saved != nil { // who wrote meanwhile knew more
			return saved
		}
		return jobs.Failf(jobs.Transient, "%s: the node refuses now what it took for good a moment ago; it is looked at anew (%w)", key, err)
	}
	if err := c.adopt(ctx, signed.Message.From, signed.Message.Nonce, key, head.Height); err != nil {
		return err
	}
	e.Signed, e.Asked, e.State, e.SignedAt = signed, nil, jobs.MessageJournaled, e.OpenedAt
	_, _, err = c.log().save(ctx, key, raw, e)
	return err
}

// signatureBytes bounds what signing and gas figures add to a message.
const signatureBytes = 256

// estimate fills in the gas figures. The node executes the message for it, so this is also the real check of the parameters.
func (c *Client) estimate(ctx context.Context, msg *lotus.Message, spec *lotus.MessageSendSpec, head *lotus.TipSet) (*lotus.Message, error) {
	priced, err := write(ctx, c.node, "GasEstimateMessageGas", func(ctx context.Context, api *api) (*lotus.Message, error) {
		return api.GasEstimateMessageGas(ctx, msg, spec, lotus.EmptyTSK)
	})
	if err != nil {
		return nil, err
	}
	out := *msg // only the figures are the node's
	out.GasLimit, out.GasFeeCap, out.GasPremium = priced.GasLimit, priced.GasFeeCap, priced.GasPremium
	if base := head.Blocks[0].ParentBaseFee; out.GasFeeCap.LessThan(base) {
		return nil, jobs.Failf(jobs.Funds, "the base fee is %s and %s of maximum fee pay %s for each unit of gas; wait, or raise the maximum fee",
			FIL(base), FIL(spec.MaxFee), FIL(out.GasFeeCap))
	}
	return &out, nil
}

const (
	// maxPending is how many messages of one sender a node's mempool takes.
	maxPending = 1_000
	// maxInFlight bounds the messages of one sender that have not landed: fees are paid in order.
	maxInFlight = 128
)

// reserve gives the meaning a nonce, the same one however often it is asked: the lowest that neither chain, mempool (pool) nor journal know of.
func (c *Client) reserve(ctx context.Context, from address.Address, key string, pool uint64, head *lotus.TipSet) (uint64, error) {
	used, err := c.nonceAt(ctx, from, head)
	if err != nil {
		return 0, err
	}
	var (
		nonce   uint64
		refusal error
	)
	err = c.log().update(ctx, from, func(s *sender) bool {
		var ok bool
		if nonce, ok = s.nonceOf(key, used); ok {
			return false
		}
		nonce = max(used, pool, s.Next)
		switch {
		case len(s.Reserved) >= maxInFlight:
			refusal = jobs.Failf(jobs.Transient, "sender %s has %d messages that have not landed; they come first", from, maxInFlight)
			return false
		case nonce > used+maxPending: // all below it would have to be filled
			refusal = jobs.Failf(jobs.Transient, "sender %s: its next nonce would be %d, and at the node's head it is %d; waiting for the node to sync", from, nonce, used)
			return false
		}
		s.Next, s.Reserved[nonce] = nonce+1, reservation{Meaning: key, At: head.Height}
		return true
	})
	if err == nil { // a refusal writes nothing, so no second look followed it
		err = refusal
	}
	return nonce, err
}

// adopt records a nonce that the node assigned, so that the message is watched.
func (c *Client) adopt(ctx context.Context, from address.Address, nonce uint64, key string, head abi.ChainEpoch) error {
	return c.log().update(ctx, from, func(s *sender) bool {
		if s.Reserved[nonce].Meaning == key {
			return false
		}
		s.Reserved[nonce], s.Next = reservation{Meaning: key, At: head}, max(s.Next, nonce+1)
		return true
	})
}

// signature has the wallet sign, and checks that it signed what was asked.
func (c *Client) signature(ctx context.Context, msg *lotus.Message) (*lotus.SignedMessage, error) {
	signed, err := write(ctx, c.node, "WalletSignMessage", func(ctx context.Context, api *api) (*lotus.SignedMessage, error) {
		return api.WalletSignMessage(ctx, msg.From, msg)
	})
	switch {
	case errors.Is(err, errNoKey):
		return nil, c.keyless(err)
	case err != nil:
		return nil, err
	}
	if signed.Message.Cid() != msg.Cid() {
		return nil, jobs.Failf(jobs.Bug, "the wallet signed another message than it was given")
	}
	if err := signed.Verify(); err != nil {
		return nil, jobs.Failf(jobs.Bug, "the wallet's signature: %w", err)
	}
	return signed, nil
}

// push gives the journaled bytes of a message to the mempool.
func (c *Client) push(ctx context.Context, key string) (string, error) {
	e, raw, err := c.log().load(ctx, key)
	if err != nil {
		return "", err
	}
	return c.pushLoaded(ctx, key, e, raw)
}

// pushFound pushes a message that was found in the journal. It is written there once more first, for whoever signed it may have been cut off after one
// of two journals: nothing is pushed that is not on this host's disk (design rule 13). Where the mempool has somebody else's message for its nonce, that is left
// alone, for a mempool lets the one that pays more take the other's place.
func (c *Client) pushFound(ctx context.Context, key string) (string, error) {
	e, raw, err := c.log().load(ctx, key)
	if err != nil {
		return "", err
	}
	if e.pending() {
		m := &e.Signed.Message
		if there, err := c.taken(ctx, m.From, m.Nonce); err != nil {
			return "", fmt.Errorf("%s: %w", key, err)
		} else if there != nil && !e.version(there.Cid()) {
			c.warnForeign(key, there)
			return e.name(), nil
		}
	}
	if e.pending() && e.State == jobs.MessageJournaled {
		var ok bool
		if raw, ok, err = c.log().save(ctx, key, raw, e); err != nil {
			return "", err
		} else if !ok { // who wrote meanwhile knew more
			return c.push(ctx, key)
		}
	}
	return c.pushLoaded(ctx, key, e, raw)
}

// pushLoaded pushes an entry as it was loaded. A node that knows the message or a used nonce has it from an earlier push, or from somebody else: which of
// them is told at confidence.
func (c *Client) pushLoaded(ctx context.Context, key string, e *entry, raw []byte) (string, error) {
	if e != nil && e.State.Terminal() {
		return e.name(), nil // it was settled meanwhile, and its bytes are gone
	}
	if e == nil || e.Signed == nil {
		return "", jobs.Failf(jobs.Bug, "message journal: entry %s lost what was written to it; check the journal's storage", key)
	}
	_, err := write(ctx, c.node, "MpoolPush", func(ctx context.Context, api *api) (cid.Cid, error) { return api.MpoolPush(ctx, e.Signed) })
	if err != nil && !errors.Is(err, errInMempool) && !errors.Is(err, errNonceLow) {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	head, err := c.headTipSet(ctx)
	if err != nil {
		return "", err
	}
	if e.State == jobs.MessageJournaled || head.Height > e.PushedAt {
		e.State, e.PushedAt = jobs.MessagePushed, head.Height
		if _, _, err := c.log().save(ctx, key, raw, e); err != nil { // who wrote meanwhile knew more
			return "", err
		}
	}
	return e.name(), nil
}

func (c *Client) log() messages { return messages{c.cfg.Journal} }

// senders gives the records of the senders that can be read.
func (c *Client) senders(ctx context.Context) (map[address.Address]*sender, error) {
	all, unread, err := c.log().senders(ctx)
	for key, err := range unread {
		c.alarm(key, err)
	}
	return all, err
}

// alarm names an entry of the journal that cannot be read, once: nothing else stops for it, so nobody would hear of it otherwise.
func (c *Client) alarm(key string, err error) {
	if err == nil {
		return
	}
	if _, before := c.alarmed.LoadOrStore(key, true); !before {
		c.cfg.Log.Error("what depends on an entry of the message journal waits", "meaning", key, "err", err)
	}
}

// freshHead asks for the head now: before money is sent nothing remembered will do.
func (c *Client) freshHead(ctx context.Context) (*lotus.TipSet, error) {
	head, err := read(ctx, c.node, "ChainHead", func(ctx context.Context, api *api) (*lotus.TipSet, error) { return api.ChainHead(ctx) })
	if err != nil {
		return nil, err
	}
	return c.setHead(head, false), nil
}
