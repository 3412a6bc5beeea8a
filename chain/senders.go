package chain

import (
	"context"
	"fmt"
	"io"
	mathbig "math/big"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// pickSender gives the key address of the first sender that may send for the miner, whose key the wallet has and whose balance covers need. One whose
// first message does not land comes last: what is sent from it waits behind that.
func (c *Client) pickSender(ctx context.Context, id abi.ActorID, need abi.TokenAmount) (address.Address, error) {
	candidates, err := c.candidates(ctx, id)
	if err != nil {
		return address.Undef, err
	}
	var (
		richest, stuck address.Address
		most           = big.NewInt(-1)
	)
	for _, candidate := range candidates {
		key, err := c.keyAddress(ctx, candidate)
		if err != nil {
			return address.Undef, err
		}
		if has, err := c.hasKey(ctx, key); err != nil {
			return address.Undef, err
		} else if !has {
			continue
		}
		balance, err := c.balance(ctx, key)
		if err != nil {
			return address.Undef, err
		}
		if balance.GreaterThanEqual(need) {
			free, err := c.moves(ctx, key)
			if err != nil || free {
				return key, err
			}
			if stuck == address.Undef {
				stuck = key
			}
			continue
		}
		if balance.GreaterThan(most) {
			richest, most = key, balance
		}
	}
	if stuck != address.Undef {
		return stuck, nil
	}
	if richest == address.Undef {
		return address.Undef, c.keyless(jobs.Failf(jobs.Rejected, "miner %s: the node's wallet has the key of none of its senders %v; import one, then release the sector",
			minerAddress(id), candidates))
	}
	return address.Undef, &nodeFault{fault: jobs.Failf(jobs.Funds, "miner %s: sender %s holds %s, the message may need %s; send FIL to it",
		minerAddress(id), richest, FIL(most), FIL(need)), known: errShort}
}

// keyless is the fault that a wallet lacks a key. While another node stands in for the first of the list, the message waits for that one rather than for a person.
func (c *Client) keyless(err error) error {
	name, ok := c.node.standIn()
	if !ok {
		return err
	}
	return jobs.Failf(jobs.Transient, "%w (node %s stands in for the first one; with the key in its wallet messages would go through it)", err, name)
}

// patience is after how many times ReplaceAfter a message that does not land is no longer waited behind.
const patience = 3

// moves tells whether a sender's messages land: none has waited for long.
func (c *Client) moves(ctx context.Context, key address.Address) (bool, error) {
	if c.cfg.Journal == nil || c.cfg.Shared {
		return true, nil
	}
	head, err := c.headTipSet(ctx)
	if err != nil {
		return false, err
	}
	next, err := c.nonceAt(ctx, key, head)
	if err != nil {
		return false, err
	}
	s, _, err := c.log().sender(ctx, key)
	if isUnreadable(err) {
		c.alarm(senderKey(key), err)
		return false, nil // none of its nonces can be had
	}
	if err != nil {
		return false, err
	}
	for nonce, r := range s.Reserved {
		if nonce >= next && head.Height-r.At > patience*c.cfg.ReplaceAfter {
			return false, nil
		}
	}
	return true, nil
}

// candidates are the ID addresses that may send for a miner, in order.
func (c *Client) candidates(ctx context.Context, id abi.ActorID) ([]address.Address, error) {
	info, err := c.minerInfo(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(c.cfg.Senders) == 0 {
		if !c.cfg.Shared {
			if len(info.ControlAddresses) == 0 {
				return nil, jobs.Failf(jobs.Rejected, "miner %s has no control address to send from; add one for lpseal alone, or set `shared: true` to send from its worker",
					minerAddress(id))
			}
			return info.ControlAddresses, nil
		}
		return append(slices.Clone(info.ControlAddresses), info.Worker, info.Owner), nil
	}
	var ids []address.Address
	for _, s := range c.cfg.Senders {
		got, err := c.atHead(ctx, "StateLookupID", s, func(ctx context.Context, api *api) (any, error) { return api.StateLookupID(ctx, s, lotus.EmptyTSK) })
		if err != nil {
			return nil, fmt.Errorf("sender %s: %w", s, err)
		}
		sender := got.(address.Address)
		control := slices.Contains(info.ControlAddresses, sender)
		switch {
		case !control && sender != info.Worker && sender != info.Owner:
			continue // it may belong to another miner of the configuration
		case !c.cfg.Shared && (sender == info.Worker || sender == info.Owner):
			return nil, jobs.Failf(jobs.Rejected,
				"sender %s is miner %s's worker or owner, with which other software signs; use a control address of lpseal's own, or set `shared: true`",
				s, minerAddress(id))
		}
		ids = append(ids, sender)
	}
	if len(ids) == 0 {
		return nil, jobs.Failf(jobs.Rejected, "none of the senders %v is control address, worker or owner of miner %s; add one as control address",
			c.cfg.Senders, minerAddress(id))
	}
	return ids, nil
}

// keyAddress resolves an address to the key that signs for it.
func (c *Client) keyAddress(ctx context.Context, a address.Address) (address.Address, error) {
	got, err := c.atHead(ctx, "StateAccountKey", a, func(ctx context.Context, api *api) (any, error) { return api.StateAccountKey(ctx, a, lotus.EmptyTSK) })
	if err != nil {
		return address.Undef, fmt.Errorf("sender %s: %w", a, err)
	}
	return got.(address.Address), nil
}

// atHead asks something of an address once for each head.
func (c *Client) atHead(ctx context.Context, method string, of address.Address, ask func(context.Context, *api) (any, error)) (any, error) {
	head, err := c.headTipSet(ctx)
	if err != nil {
		return nil, err
	}
	return memo(ctx, c, head.Key(), method, of.String(), ask)
}

// nonceAt is the next nonce of a sender as of a tipset: lower ones are used.
func (c *Client) nonceAt(ctx context.Context, a address.Address, ts *lotus.TipSet) (uint64, error) {
	actor, err := memo(ctx, c, ts.Key(), "StateGetActor", a.String(), func(ctx context.Context, api *api) (*lotus.Actor, error) {
		return api.StateGetActor(ctx, a, ts.Key())
	})
	if err != nil {
		return 0, fmt.Errorf("sender %s: %w", a, err)
	}
	return actor.Nonce, nil
}

// FIL prints an amount of attoFIL in FIL, and one below a millionth of it in smaller units.
type FIL abi.TokenAmount

// Format implements fmt.Formatter, before the number's own.
func (f FIL) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, f.String()) }

func (f FIL) String() string {
	if f.Int == nil {
		return "0 FIL"
	}
	if f.Sign() < 0 {
		return "-" + FIL(big.Int(f).Neg()).String()
	}
	whole, rest := new(mathbig.Int).QuoRem(f.Int, milliFIL(1000).Int, new(mathbig.Int))
	switch {
	case whole.Sign() != 0 || rest.Cmp(mathbig.NewInt(1e12)) >= 0:
		return fmt.Sprintf("%d.%06d FIL", whole, rest.Quo(rest, mathbig.NewInt(1e12)))
	case rest.Sign() == 0:
		return "0 FIL"
	case rest.Cmp(mathbig.NewInt(1e9)) >= 0:
		return fmt.Sprintf("%d nFIL", rest.Quo(rest, mathbig.NewInt(1e9)))
	}
	return fmt.Sprintf("%d attoFIL", rest)
}

// BriefAddress keeps both ends of an address that is as long as a BLS key's: enough to tell a miner's few senders apart where a line has other things to say.
func BriefAddress(address string) string {
	const longest, head, tail = 48, 10, 8
	if len(address) <= longest {
		return address
	}
	return address[:head] + "…" + address[len(address)-tail:]
}
