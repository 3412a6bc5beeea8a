package chain

import (
	"context"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// replacePremium is what a replacement's premium must exceed the old one by, in percent: Lotus asks for 10 at least and 25 by default.
const replacePremium = 125

// version tells whether a message is one of the entry's: the newest, or one that it replaced.
func (e *entry) version(name cid.Cid) bool {
	return e.Signed.Cid() == name || slices.Contains(e.Replaced, name)
}

// replace journals and pushes the message with a higher fee and the same nonce, so that one of the two lands, if the old one pays too little and the
// new one would not. It is bounded in number by MaxReplacements and in cost by the maximum fee. A message that the mempool lost is not replaced but
// pushed again, and one that is not ours never: it may be somebody's WindowPoSt.
func (c *Client) replace(ctx context.Context, head *lotus.TipSet, key string, raw []byte, e *entry) (done bool, err error) {
	msg := e.Signed.Message
	there, err := c.inMempool(ctx, msg.From, msg.Nonce)
	switch {
	case err != nil:
		return false, err
	case there == nil || there.Cid() != e.Signed.Cid():
		return false, nil // the newest was journaled and never pushed, or it is not ours: see pushFound
	}
	bid, err := c.outbid(ctx, head, msg, c.feeLimit(e.Method, len(e.Members)))
	if err != nil {
		return false, fmt.Errorf("%s: %w", key, err)
	}
	switch {
	case !bid.low:
		return false, nil
	case !bid.fits:
		c.cfg.Log.Warn("a message pays too little, and the maximum fee allows no more; it waits for the base fee to fall, or for lpseal messages replace",
			"meaning", key, "base_fee", head.Blocks[0].ParentBaseFee, "fee_cap", msg.GasFeeCap, "max_fee", FIL(c.feeLimit(e.Method, len(e.Members))))
		return false, nil
	case len(e.Replaced) >= c.cfg.MaxReplacements:
		c.cfg.Log.Warn("a message pays too little and was replaced as often as the configuration allows; lpseal messages replace raises its fee once more",
			"meaning", key, "replaced", len(e.Replaced))
		return false, nil
	}
	_, err = c.amend(ctx, head, key, raw, e, &bid.message)
	return true, err
}

// amend signs msg as the entry's newest version, journals it, and pushes it. It answers false, and pushes nothing, if another process wrote meanwhile.
func (c *Client) amend(ctx context.Context, head *lotus.TipSet, key string, raw []byte, e *entry, msg *lotus.Message) (bool, error) {
	signed, err := c.signature(ctx, msg)
	if err != nil {
		return false, fmt.Errorf("%s: %w", key, err)
	}
	was := e.Signed.Cid()
	e.Replaced = append(e.Replaced, was)
	e.Signed, e.State, e.PushedAt = signed, jobs.MessageJournaled, head.Height
	if _, ok, err := c.log().save(ctx, key, raw, e); !ok || err != nil {
		return false, err
	}
	c.cfg.Log.Info("message replaced with a higher fee", "meaning", key, "cid", signed.Cid(), "was", was, "premium", msg.GasPremium)
	_, err = c.push(ctx, key)
	return true, err
}

// taken does what inMempool does. The whole mempool is asked for only if something of the sender may be there.
func (c *Client) taken(ctx context.Context, from address.Address, nonce uint64) (*lotus.SignedMessage, error) {
	if next, err := c.nextInPool(ctx, from); err != nil || nonce >= next {
		return nil, err
	}
	return c.inMempool(ctx, from, nonce)
}

func (c *Client) warnForeign(key string, there *lotus.SignedMessage) {
	m := &there.Message
	c.cfg.Log.Warn("a message that is not ours has our nonce", "meaning", key, "cid", there.Cid(), "sender", m.From, "nonce", m.Nonce)
}

// inMempool finds what the mempool holds for a nonce; nil if nothing.
func (c *Client) inMempool(ctx context.Context, from address.Address, nonce uint64) (*lotus.SignedMessage, error) {
	pending, err := read(ctx, c.node, "MpoolPending", func(ctx context.Context, api *api) ([]*lotus.SignedMessage, error) {
		return api.MpoolPending(ctx, lotus.EmptyTSK)
	})
	if err != nil {
		return nil, err
	}
	for _, p := range pending {
		if p != nil && p.Message.From == from && p.Message.Nonce == nonce {
			return p, nil
		}
	}
	return nil, nil
}

// How a bid is made, as Lotus's own estimate does: the premium for inclusion within 10 blocks, the fee cap for a base fee that rises for 20 epochs.
const (
	premiumBlocks = 10
	feeCapEpochs  = 20
)

// bid sets fee cap and premium to what the market asks, the premium at least as given, within maxFee for the message's gas limit.
func (c *Client) bid(ctx context.Context, head *lotus.TipSet, msg *lotus.Message, premium, maxFee abi.TokenAmount) error {
	asked, err := read(ctx, c.node, "GasEstimateGasPremium", func(ctx context.Context, api *api) (abi.TokenAmount, error) {
		return api.GasEstimateGasPremium(ctx, premiumBlocks, msg.From, msg.GasLimit, lotus.EmptyTSK)
	})
	if err != nil {
		return err
	}
	msg.GasPremium = big.Max(asked, premium)
	feeCap, err := read(ctx, c.node, "GasEstimateFeeCap", func(ctx context.Context, api *api) (abi.TokenAmount, error) {
		return api.GasEstimateFeeCap(ctx, msg, feeCapEpochs, lotus.EmptyTSK)
	})
	if err != nil {
		return err
	}
	floor := big.Add(head.Blocks[0].ParentBaseFee, msg.GasPremium)
	msg.GasFeeCap = big.Min(big.Max(feeCap, floor), big.Div(maxFee, big.NewInt(msg.GasLimit)))
	return nil
}

// offer is a bid for a nonce against the one that the mempool has.
type offer struct {
	message lotus.Message
	low     bool            // the old one pays less than the market asks
	fits    bool            // the maximum fee allows this one, and it covers the base fee
	least   abi.TokenAmount // the smallest maximum fee that does
}

// outbid makes the bid that a node takes in the old one's place.
func (c *Client) outbid(ctx context.Context, head *lotus.TipSet, old lotus.Message, maxFee abi.TokenAmount) (offer, error) {
	o := offer{message: old}
	if err := c.bid(ctx, head, &o.message, big.Zero(), maxFee); err != nil {
		return o, err
	}
	base := head.Blocks[0].ParentBaseFee
	o.low = old.GasPremium.LessThan(o.message.GasPremium) || old.GasFeeCap.LessThan(big.Add(base, o.message.GasPremium))

	premium := big.Add(big.Div(big.Mul(old.GasPremium, big.NewInt(replacePremium)), big.NewInt(100)), big.NewInt(1))
	o.message = old
	if err := c.bid(ctx, head, &o.message, premium, maxFee); err != nil {
		return o, err
	}
	floor := big.Max(base, o.message.GasPremium)
	o.fits = o.message.GasFeeCap.GreaterThanEqual(floor)
	o.least = big.Mul(floor, big.NewInt(o.message.GasLimit))
	return o, nil
}
