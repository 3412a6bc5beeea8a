package chain

import (
	"context"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
)

// HeadAge is how long ago the node's head was made, by this host's clock. A node in sync is
// within a few block delays; a fast embedded network may be ahead of the clock.
func (c *Client) HeadAge(ctx context.Context) (time.Duration, error) {
	head, err := c.headTipSet(ctx)
	if err != nil {
		return 0, err
	}
	return time.Since(time.Unix(int64(head.Blocks[0].Timestamp), 0)), nil
}

// Sender is the key address that would send the miner's next messages, at the highest fees
// that the configuration allows. The fault, if none can, says what to do.
func (c *Client) Sender(ctx context.Context, id abi.ActorID) (address.Address, error) {
	return c.pickSender(ctx, id, big.Add(c.cfg.MaxFeePreCommit, c.cfg.MaxFeeCommit))
}
