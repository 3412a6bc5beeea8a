package chain

import (
	"context"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// feeLimit is the most that the gas of a message for so many sectors may cost, in attoFIL: so much for each, and no more than for any message.
func (c *Client) feeLimit(method abi.MethodNum, sectors int) abi.TokenAmount {
	each := c.cfg.MaxFeePreCommit
	if method == proveCommit3 {
		each = c.cfg.MaxFeeCommit
	}
	return big.Max(each, big.Min(c.cfg.MaxFeeMessage, big.Mul(each, big.NewInt(int64(sectors)))))
}

// lastMoment is how many epochs before its deadline a message no longer waits for a lower base fee (2 h at 30 s).
const lastMoment = 240

// awaitBaseFee refuses to send while the base fee is above the configured one and no member's deadline is near: nothing is lost by waiting but time.
func (s *sending) awaitBaseFee(head *lotus.TipSet, set []int) error {
	base, limit := head.Blocks[0].ParentBaseFee, s.cfg.WaitBaseFee
	if limit.NilOrZero() || base.LessThanEqual(limit) {
		return nil
	}
	first := s.deadline(set[0])
	for _, i := range set {
		first = min(first, s.deadline(i))
	}
	if head.Height >= first-lastMoment {
		return nil
	}
	return jobs.Failf(jobs.Funds, "the base fee is %s, above %s (chain.wait_base_fee): it is waited for, until epoch %d at the latest", FIL(base), FIL(limit), first-lastMoment)
}

// lessAvailable takes what the miner's free balance covers off an amount, where the configuration says so. What messages on their way count on is not free:
// of two that draw on one balance the second would fail.
func (c *Client) lessAvailable(ctx context.Context, id abi.ActorID, amount abi.TokenAmount, head *lotus.TipSet) (abi.TokenAmount, error) {
	if !c.cfg.CollateralFromMiner {
		return amount, nil
	}
	free, err := c.available(ctx, id, head)
	if err != nil {
		return amount, err
	}
	drawn, err := c.drawn(ctx, id, head)
	if err != nil {
		return amount, err
	}
	return big.Max(big.Zero(), big.Sub(amount, big.Max(big.Zero(), big.Sub(free, drawn)))), nil
}

// covered sees that the miner's free balance covers what messages on their way take from it, this one among them, which has its nonce: another scheduler may
// have looked at the balance at the same moment. Of two that do, one at least sees the other's nonce.
func (c *Client) covered(ctx context.Context, e *entry, head *lotus.TipSet) error {
	if e.Drawn.NilOrZero() {
		return nil
	}
	id, err := address.IDFromAddress(e.Miner)
	if err != nil {
		return jobs.Failf(jobs.Bug, "miner %s: %w", e.Miner, err)
	}
	free, err := c.available(ctx, abi.ActorID(id), head)
	if err != nil {
		return err
	}
	drawn, err := c.drawn(ctx, abi.ActorID(id), head)
	if err != nil || drawn.LessThanEqual(free) {
		return err
	}
	return jobs.Failf(jobs.Transient, "miner %s has %s free, and messages on their way draw %s: this one is made anew", e.Miner, FIL(free), FIL(drawn))
}

// drawn is what messages that have not landed as of the head will take from a miner's balance.
func (c *Client) drawn(ctx context.Context, id abi.ActorID, head *lotus.TipSet) (abi.TokenAmount, error) {
	sum := big.Zero()
	senders, err := c.senders(ctx)
	if err != nil {
		return sum, err
	}
	for from, s := range senders {
		next, err := c.nonceAt(ctx, from, head)
		if err != nil {
			return sum, err
		}
		var keys []string
		for nonce, r := range s.Reserved {
			if nonce >= next {
				keys = append(keys, r.Meaning)
			}
		}
		entries, unread, err := c.log().entries(ctx, keys)
		if err != nil {
			return sum, err
		}
		for key, err := range unread { // what it draws is not known; a message that lacks it fails, and is sent again
			c.alarm(key, err)
		}
		for _, e := range entries {
			if e.Miner == minerAddress(id) && !e.State.Terminal() && !e.Drawn.Nil() {
				sum = big.Add(sum, e.Drawn)
			}
		}
	}
	return sum, nil
}
