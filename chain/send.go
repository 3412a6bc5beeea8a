package chain

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// draft is a message that is wanted.
type draft struct {
	members []jobs.Meaning
	miner   abi.ActorID
	method  abi.MethodNum
	maxFee  abi.TokenAmount
	ticket  abi.ChainEpoch
	// done tells whether the chain has, at the head, all that the message asks for.
	done func(context.Context) (bool, error)
	// build gives parameters and value as of the head.
	build func(context.Context, *lotus.TipSet) (params []byte, value abi.TokenAmount, err error)
}

// send sends at most one message for a meaning (design rule 13). Every step is journaled before the next begins, and each can be the last: whoever
// comes next finds the entry and goes on from it.
func (c *Client) send(ctx context.Context, d draft) (string, error) {
	if c.cfg.Journal == nil {
		return "", jobs.Failf(jobs.Bug, "this client has no message journal and must not send")
	}
	key := d.members[0].String()
	if err := c.closeOlder(ctx, d); err != nil {
		return "", err
	}
	for {
		e, raw, err := c.log().load(ctx, key)
		if err != nil {
			return "", err
		}
		if e != nil && e.Closed {
			return "", jobs.Failf(jobs.Transient, "%s: a newer attempt was begun; this one sends nothing", key)
		}
		if e.pending() {
			return c.push(ctx, key)
		}
		if done, err := d.done(ctx); err != nil {
			return "", err
		} else if done {
			return e.name(), nil
		}
		if e.confirmed() { // and yet the chain does not have it: it was reorganised away below the confidence, or this node is behind
			if head, err := c.headTipSet(ctx); err != nil {
				return "", err
			} else if head.Height < e.Height+c.cfg.Confidence {
				return "", jobs.Failf(jobs.Transient, "%s: message %s landed at epoch %d and the node is at %d; waiting for it to sync", key, e.name(), e.Height, head.Height)
			}
		}
		if e == nil || e.State.Terminal() {
			if raw, err = c.open(ctx, key, raw, e, d); err != nil {
				return "", err
			} else if raw == nil {
				continue // another process was first
			}
			if e, err = decodeEntry(key, raw); err != nil {
				return "", err
			}
		}
		signed, err := c.sign(ctx, key, e, raw, d)
		if errors.Is(err, errOvertaken) {
			if now, _, err := c.log().load(ctx, key); err != nil {
				return "", err
			} else if now.pending() {
				continue // another process sent it
			}
			return "", c.overtaken(ctx, d, err)
		}
		if err != nil {
			return "", err
		}
		if !signed {
			continue
		}
		return c.push(ctx, key)
	}
}

// overtaken judges a refusal that says the work is done or impossible: the chain may have moved on since it was asked, or a message in the mempool that the
// journal lost may be about to do it.
func (c *Client) overtaken(ctx context.Context, d draft, refusal error) error {
	if done, err := d.done(ctx); err != nil || done {
		return err
	}
	for _, m := range d.members {
		used, err := c.Allocated(ctx, d.miner)
		if err != nil {
			return err
		}
		set, err := used.IsSet(uint64(m.ID.Number))
		if err != nil {
			return jobs.Failf(jobs.Bug, "sector %s: allocated numbers: %w", m.ID, err)
		}
		if !set {
			return jobs.Failf(jobs.Transient, "sector %s: a message in the mempool uses the number already; waiting for it to land (%w)", m.ID, refusal)
		}
	}
	return refusal
}

// open writes the entry of a new message, with what became of an earlier one. nil bytes mean that another process wrote.
func (c *Client) open(ctx context.Context, key string, old []byte, before *entry, d draft) ([]byte, error) {
	e := &entry{Members: d.members, Miner: minerAddress(d.miner), Method: d.method, Ticket: d.ticket, UUID: uuid.New()}
	if before != nil {
		e.Past = append(before.Past, attempt{CID: before.cid(), State: before.State, Exit: before.memberExit(0)})
	}
	raw, ok, err := c.log().save(ctx, key, old, e)
	if err != nil || !ok {
		return nil, err
	}
	return raw, nil
}

// sign gets the message signed and journals the bytes. With keys of our own the bytes are journaled before anything is pushed; with shared keys the
// node signs and pushes in one call, which the journaled UUID makes repeatable. It answers false when another process wrote the entry.
func (c *Client) sign(ctx context.Context, key string, e *entry, raw []byte, d draft) (bool, error) {
	head, err := c.headTipSet(ctx)
	if err != nil {
		return false, err
	}
	msg, err := c.compose(ctx, d, head)
	if err != nil {
		return false, err
	}
	spec := &lotus.MessageSendSpec{MaxFee: d.maxFee}
	if c.cfg.Shared {
		spec.MsgUuid = e.UUID
		e.Signed, err = write(ctx, c.node, "MpoolPushMessage", func(ctx context.Context, api *api) (*lotus.SignedMessage, error) {
			return api.MpoolPushMessage(ctx, msg, spec)
		})
		if err != nil {
			return false, fmt.Errorf("%s: %w", key, err)
		}
		if err := c.adopt(ctx, e.Signed.Message.From, e.Signed.Message.Nonce, key, head.Height); err != nil {
			return false, err
		}
	} else {
		from := msg.From
		pool, err := write(ctx, c.node, "MpoolGetNonce", func(ctx context.Context, api *api) (uint64, error) { return api.MpoolGetNonce(ctx, from) })
		if err != nil {
			return false, fmt.Errorf("sender %s: %w", from, err)
		}
		msg.Nonce = pool // the node executes what is in the mempool below this nonce first
		if msg, err = c.estimate(ctx, msg, spec, head); err != nil {
			return false, fmt.Errorf("%s: %w", key, err)
		}
		if msg.Nonce, err = c.reserve(ctx, from, key, pool, head); err != nil {
			return false, err
		}
		if e.Signed, err = c.signature(ctx, msg); err != nil {
			return false, fmt.Errorf("%s: %w", key, err)
		}
	}
	e.State, e.SignedAt = jobs.MessageJournaled, head.Height
	_, ok, err := c.log().save(ctx, key, raw, e)
	return ok, err
}

// compose builds the message and chooses its sender.
func (c *Client) compose(ctx context.Context, d draft, head *lotus.TipSet) (*lotus.Message, error) {
	params, value, err := d.build(ctx, head)
	if err != nil {
		return nil, err
	}
	from, err := c.pickSender(ctx, d.miner, big.Add(value, d.maxFee))
	if err != nil {
		return nil, err
	}
	msg := &lotus.Message{
		To: minerAddress(d.miner), From: from, Value: value, Method: d.method, Params: params,
		GasFeeCap: big.Zero(), GasPremium: big.Zero(),
	}
	if bytes, err := msg.Serialize(); err != nil {
		return nil, jobs.Failf(jobs.Bug, "%w", err)
	} else if len(bytes) > lotus.MaxMessageBytes-signatureBytes {
		return nil, jobs.Failf(jobs.Bug, "%s of %d sectors has %d bytes; a message may have %d", methodName(d.method), len(d.members), len(bytes), lotus.MaxMessageBytes)
	}
	return msg, nil
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
		return nil, jobs.Failf(jobs.Funds, "the base fee is %s attoFIL and %s of maximum fee pay %s for each unit of gas; wait, or raise the maximum fee",
			base, FIL(spec.MaxFee), out.GasFeeCap)
	}
	return &out, nil
}

// maxInFlight bounds the messages of one sender that have not landed: a node's mempool takes 1,000, and fees are paid in order.
const maxInFlight = 128

// reserve gives the meaning a nonce, the same one however often it is asked: the lowest that neither chain, mempool (pool) nor journal know of.
func (c *Client) reserve(ctx context.Context, from address.Address, key string, pool uint64, head *lotus.TipSet) (uint64, error) {
	used, err := c.nonceAt(ctx, from, head)
	if err != nil {
		return 0, err
	}
	var (
		nonce uint64
		full  bool
	)
	err = c.log().update(ctx, from, func(s *sender) bool {
		var ok bool
		if nonce, ok = s.nonceOf(key, used); ok {
			return false
		}
		if full = len(s.Reserved) >= maxInFlight; full {
			return false
		}
		nonce = max(used, pool, s.Next)
		s.Next, s.Reserved[nonce] = nonce+1, reservation{Meaning: key, At: head.Height}
		return true
	})
	if err == nil && full {
		err = jobs.Failf(jobs.Transient, "sender %s has %d messages that have not landed; they come first", from, maxInFlight)
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
	if err != nil {
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

// push gives the journaled bytes to the mempool. A node that knows the message or a used nonce has it from an earlier push, or from
// somebody else: which of them is told at confidence.
func (c *Client) push(ctx context.Context, key string) (string, error) {
	e, raw, err := c.log().load(ctx, key)
	if err != nil {
		return "", err
	}
	if e == nil || e.Signed == nil {
		return "", jobs.Failf(jobs.Bug, "message journal: entry %s lost what was written to it; check the journal's storage", key)
	}
	_, err = write(ctx, c.node, "MpoolPush", func(ctx context.Context, api *api) (cid.Cid, error) { return api.MpoolPush(ctx, e.Signed) })
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

// freshHead asks for the head now: before money is sent nothing remembered will do.
func (c *Client) freshHead(ctx context.Context) (*lotus.TipSet, error) {
	head, err := read(ctx, c.node, "ChainHead", func(ctx context.Context, api *api) (*lotus.TipSet, error) { return api.ChainHead(ctx) })
	if err != nil {
		return nil, err
	}
	return c.setHead(head, false), nil
}
