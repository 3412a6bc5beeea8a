package chain

import (
	"context"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"github.com/lpseal/lpseal/chain/lotus"
)

// bill is what remains of a message's figures once its bytes are dropped. Amounts are in attoFIL.
type bill struct {
	From    address.Address
	Nonce   uint64
	Value   abi.TokenAmount
	Offered abi.TokenAmount // the most that its gas could cost
	Gas     int64           `json:",omitempty"` // used
	Paid    abi.TokenAmount // for gas; zero if it never landed, or nobody kept its receipt
}

func billOf(m *lotus.Message) *bill {
	return &bill{From: m.From, Nonce: m.Nonce, Value: m.Value, Offered: m.RequiredFunds(), Paid: big.Zero()}
}

// billed computes what a message that was found cost. Without an answer the entry goes without: it is for people, and settles nothing.
func (c *Client) billed(ctx context.Context, e *entry, found *lotus.MsgLookup) *bill {
	msg, err := c.landedVersion(ctx, e, found)
	if err != nil {
		return billOf(&e.Signed.Message)
	}
	b := billOf(msg)
	b.Gas = found.Receipt.GasUsed
	// The lookup names the tipset after the one that holds the message, whose blocks have the base fee that was paid.
	after, err := c.tipSet(ctx, found.TipSet)
	if err != nil {
		return b
	}
	in, err := c.tipSet(ctx, after.Parents())
	if err != nil {
		return b
	}
	b.Paid = lotus.ChargeGas(msg, b.Gas, in.Blocks[0].ParentBaseFee).Total()
	return b
}

// landedVersion is the version of a message that was found: the newest, or one that was replaced in vain.
func (c *Client) landedVersion(ctx context.Context, e *entry, found *lotus.MsgLookup) (*lotus.Message, error) {
	if found.Message == e.Signed.Cid() {
		return &e.Signed.Message, nil
	}
	return read(ctx, c.node, "ChainGetMessage", func(ctx context.Context, api *api) (*lotus.Message, error) {
		return api.ChainGetMessage(ctx, found.Message)
	})
}

func (c *Client) tipSet(ctx context.Context, key lotus.TipSetKey) (*lotus.TipSet, error) {
	return memo(ctx, c, key, "ChainGetTipSet", "", func(ctx context.Context, api *api) (*lotus.TipSet, error) {
		return api.ChainGetTipSet(ctx, key)
	})
}
