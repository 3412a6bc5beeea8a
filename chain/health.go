package chain

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc/auth"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"github.com/lpseal/lpseal/chain/lotus"
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

// Signing says whether a node signs for us. Err is a fault where it does not tell.
type Signing struct {
	Node Endpoint
	May  bool
	Err  error
}

// MaySign asks each node, in the order in which they are used, whether its token allows to sign. Without a token an embedded node lets everybody do everything,
// a Lotus node lets everybody read.
func (c *Client) MaySign(ctx context.Context) (all []Signing) {
	for i, e := range c.node.endpoints {
		if e.Token == "" {
			all = append(all, Signing{Node: e.Endpoint, May: c.network.Embedded})
			continue
		}
		s := Signing{Node: e.Endpoint}
		allowed, err := once(ctx, c.node, i, "AuthVerify", func(ctx context.Context, api *api) ([]auth.Permission, error) {
			return api.AuthVerify(ctx, string(e.Token))
		})
		if err != nil {
			s.Err = classify(e.Endpoint, "AuthVerify", err)
		}
		s.May = slices.Contains(allowed, "sign")
		all = append(all, s)
	}
	return all
}

const (
	surveyEvery = 30 * time.Second
	// surveyPatience bounds the calls of a survey: a node that takes longer is of no use for reading.
	surveyPatience = 10 * time.Second
	// maxLag is how many epochs a node may be behind the best of the list: between two that are in sync lie a block's way and a null round or two.
	maxLag abi.ChainEpoch = 5
)

// surveyTurn lets one survey run at a time, and each some time after the last.
type surveyTurn struct {
	mu      sync.Mutex
	running bool
	next    time.Time
}

func (t *surveyTurn) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running || time.Now().Before(t.next) {
		return false
	}
	t.running = true
	return true
}

func (t *surveyTurn) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running, t.next = false, time.Now().Add(surveyEvery)
}

// surveySometimes sends for a survey when it is time, and does not wait for it.
func (c *Client) surveySometimes() {
	if len(c.node.endpoints) == 1 || c.life.Err() != nil || !c.survey.take() {
		return
	}
	c.surveys.Go(func() {
		defer c.survey.done()
		c.lookAtNodes(c.life)
	})
}

// lookAtNodes asks every endpoint for its network and its head, and has the chain read from the first that is fit: one of the right network that is
// not behind the others. So the chain is read from the node that is written to again as soon as it is back.
func (c *Client) lookAtNodes(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, min(c.cfg.Timeout, surveyPatience))
	defer cancel()
	heights, unfit := make([]abi.ChainEpoch, len(c.node.endpoints)), make([]string, len(c.node.endpoints))
	var asked sync.WaitGroup
	for i := range c.node.endpoints {
		asked.Go(func() { heights[i], unfit[i] = c.lookAt(limited, i) })
	}
	asked.Wait()
	if ctx.Err() != nil {
		return // nobody had the time to answer
	}
	best := abi.ChainEpoch(-1)
	for i, why := range unfit {
		if why == "" {
			best = max(best, heights[i])
		}
	}
	for i, why := range unfit {
		if behind := best - heights[i]; why == "" && behind > maxLag {
			unfit[i] = fmt.Sprintf("is %d epochs behind", behind)
		}
	}
	c.node.judge(unfit)
}

func (c *Client) lookAt(ctx context.Context, at int) (height abi.ChainEpoch, unfit string) {
	n, err := c.identify(ctx, at)
	if err != nil {
		return 0, silent
	}
	if n.Name != c.network.Name {
		return 0, fmt.Sprintf("follows network %q, not %q", n.Name, c.network.Name)
	}
	head, err := once(ctx, c.node, at, "ChainHead", func(ctx context.Context, api *api) (*lotus.TipSet, error) { return api.ChainHead(ctx) })
	if err != nil {
		return 0, silent
	}
	return head.Height, ""
}
