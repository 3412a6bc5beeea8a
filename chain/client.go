package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/network"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// Config says which node to use and how. Zero values mean the defaults named.
type Config struct {
	API     string          // as FULLNODE_API_INFO: see ParseAPIInfo
	Network string          // name that the node's network must have; "" accepts any
	Miners  []abi.ActorID   // that must exist on the network
	Log     *slog.Logger    // slog.Default()
	OnHead  func(jobs.Head) // called by Run for every new head; must not block

	Timeout    time.Duration  // of one call; 30 s
	Backoff    time.Duration  // between tries of a read; doubled each time; 250 ms
	HeadMaxAge time.Duration  // for how long a head that was asked for stands; 500 ms, negative: not at all
	Confidence abi.ChainEpoch // epochs above a landed message before it is believed; 5 (design §6)

	// The rest is for clients that send. Without a Journal a client only reads.
	Journal Journal
	// Senders are tried in order; none means the miner's control addresses, worker and owner. Those of a miner that are not control addresses need
	// Shared.
	Senders []address.Address
	// Shared says that other software signs with these keys too: the node then assigns nonces (design rule 13).
	Shared bool
	// CollateralFromMiner takes deposit and pledge from the miner's available balance first.
	CollateralFromMiner bool
	// NeverAggregate sends one proof for each sector, whoever could aggregate them.
	NeverAggregate  bool
	MaxFeePreCommit abi.TokenAmount // of a message's gas, for each sector in it; 0.025 FIL
	MaxFeeCommit    abi.TokenAmount // 0.05 FIL
	MaxFeeMessage   abi.TokenAmount // of any message of several sectors; 5 FIL
	WaitBaseFee     abi.TokenAmount // nothing is sent while the base fee is above this and no deadline is near; zero: no wait
	ReplaceAfter    abi.ChainEpoch  // epochs in the mempool before the fee is raised; 10
	MaxReplacements int             // of one message, without an operator's order; 8
}

// milliFIL is 10^15 attoFIL.
func milliFIL(n int64) abi.TokenAmount { return big.Mul(big.NewInt(n), big.NewInt(1e15)) }

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Timeout = positive(c.Timeout, 30*time.Second)
	c.Backoff = positive(c.Backoff, 250*time.Millisecond)
	c.Confidence = positive(c.Confidence, 5)
	c.ReplaceAfter = positive(c.ReplaceAfter, 10)
	c.MaxReplacements = positive(c.MaxReplacements, 8)
	if c.HeadMaxAge == 0 {
		c.HeadMaxAge = 500 * time.Millisecond
	}
	if c.MaxFeePreCommit.NilOrZero() {
		c.MaxFeePreCommit = milliFIL(25)
	}
	if c.MaxFeeCommit.NilOrZero() {
		c.MaxFeeCommit = milliFIL(50)
	}
	if c.MaxFeeMessage.NilOrZero() {
		c.MaxFeeMessage = milliFIL(5_000)
	}
	return c
}

func positive[T ~int | ~int64](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Client is a Filecoin node seen by lpseal. It implements jobs.Chain and is safe for concurrent use.
type Client struct {
	cfg     Config
	node    *node
	network jobs.Network
	memos   memos
	sectors sectorCache
	proving *provingCache

	life    context.Context // ends with Close
	end     context.CancelFunc
	surveys sync.WaitGroup
	survey  surveyTurn

	alarmed  sync.Map   // keys of the journal that could not be read and were named in the log
	drawing  sync.Mutex // held while a message that draws on a miner's balance is made
	settling sync.Mutex
	settled  lotus.TipSetKey // the tipset as of which messages were looked up last

	mu          sync.Mutex
	head        *lotus.TipSet
	headAt      time.Time // when head was learnt
	followed    bool      // Run is subscribed: head is kept current
	lastSettled *lotus.TipSet
}

var _ jobs.Chain = (*Client)(nil)

// oldestNetwork has ProveCommitSectors3 and PreCommitSectorBatch2.
const oldestNetwork = network.Version22

// Dial checks that the node can be reached, follows the network that the configuration names, and knows its miners. It does not subscribe: see Run.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	endpoints, err := ParseAPIInfo(cfg.API)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, proving: newProvingCache(), node: newNode(endpoints, cfg)}
	c.life, c.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := c.check(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the connections. Run must have returned.
func (c *Client) Close() {
	c.end()
	c.surveys.Wait()
	c.node.close()
}

// Calls gives the number of calls made since Dial, by method.
func (c *Client) Calls() map[string]uint64 { return c.node.counts() }

// check asks every endpoint who it is: one of another network among them would answer reads with another chain. One that does not answer yet is asked
// again later.
func (c *Client) check(ctx context.Context) error {
	unfit := make([]string, len(c.node.endpoints))
	var away error
	for i, e := range c.node.endpoints {
		n, err := c.identify(ctx, i)
		switch {
		case err != nil && isTransient(err):
			unfit[i] = silent
			if away == nil {
				away = err
			}
			continue
		case err != nil:
			return err
		case c.cfg.Network != "" && n.Name != c.cfg.Network:
			return jobs.Failf(jobs.Rejected, "node %s: it follows network %q, the configuration names %q; change one of them", e, n.Name, c.cfg.Network)
		case c.network.Name != "" && n.Name != c.network.Name:
			return jobs.Failf(jobs.Rejected, "node %s follows network %q, another one %q; name nodes of one network only", e, n.Name, c.network.Name)
		case n.Version < uint(oldestNetwork):
			return jobs.Failf(jobs.Rejected, "node %s: its network version is %d, lpseal's messages need %d; upgrade the node", e, n.Version, oldestNetwork)
		}
		if c.network.Name == "" {
			c.network = n
		}
	}
	if c.network.Name == "" {
		return away
	}
	c.node.judge(unfit)
	c.survey.done()
	for _, miner := range c.cfg.Miners {
		if _, err := c.Miner(ctx, miner); err != nil {
			return fmt.Errorf("network %s: %w", c.network.Name, err)
		}
	}
	return nil
}

func isTransient(err error) bool {
	var f *jobs.Fault
	return errors.As(err, &f) && f.Class == jobs.Transient
}

// EmbeddedAgent is what the embedded node answers as its agent in Filecoin.Version; a Lotus node answers "lotus".
const EmbeddedAgent = "lpseal-devnet"

func (c *Client) identify(ctx context.Context, at int) (jobs.Network, error) {
	endpoint := c.node.endpoints[at].Endpoint
	version, err := once(ctx, c.node, at, "Version", func(ctx context.Context, api *api) (lotus.Version, error) { return api.Version(ctx) })
	if err != nil {
		return jobs.Network{}, classify(endpoint, "Version", err)
	}
	params, err := once(ctx, c.node, at, "StateGetNetworkParams", func(ctx context.Context, api *api) (*lotus.NetworkParams, error) {
		return api.StateGetNetworkParams(ctx)
	})
	if err != nil {
		return jobs.Network{}, classify(endpoint, "StateGetNetworkParams", err)
	}
	upgrade, err := once(ctx, c.node, at, "StateNetworkVersion", func(ctx context.Context, api *api) (network.Version, error) {
		return api.StateNetworkVersion(ctx, lotus.EmptyTSK)
	})
	if err != nil {
		return jobs.Network{}, classify(endpoint, "StateNetworkVersion", err)
	}
	return jobs.Network{
		Name:           params.NetworkName,
		Version:        uint(upgrade),
		BlockDelay:     time.Duration(params.BlockDelaySecs) * time.Second,
		ChallengeDelay: params.PreCommitChallengeDelay,
		Embedded:       version.Agent == EmbeddedAgent,
	}, nil
}

// Network implements jobs.Chain. The network's version is that of Dial's time: nothing depends on it after the check.
func (c *Client) Network(context.Context) (jobs.Network, error) { return c.network, nil }

// Head implements jobs.Chain.
func (c *Client) Head(ctx context.Context) (jobs.Head, error) {
	ts, err := c.headTipSet(ctx)
	if err != nil {
		return jobs.Head{}, err
	}
	return jobs.Head{Epoch: ts.Height, Key: ts.Key().String()}, nil
}

// silence is how many block delays a followed chain may be silent before its head is asked for: null rounds are rare in a row.
const silence = 4

func (c *Client) headTipSet(ctx context.Context) (*lotus.TipSet, error) {
	c.surveySometimes()
	c.mu.Lock()
	head, maxAge := c.head, c.cfg.HeadMaxAge
	if c.followed {
		maxAge = max(maxAge, silence*c.network.BlockDelay)
	}
	fresh := head != nil && maxAge > 0 && time.Since(c.headAt) < maxAge
	c.mu.Unlock()
	if fresh {
		return head, nil
	}
	head, err := read(ctx, c.node, "ChainHead", func(ctx context.Context, api *api) (*lotus.TipSet, error) { return api.ChainHead(ctx) })
	if err != nil {
		return nil, err
	}
	return c.setHead(head, false), nil
}

// oldNews is for how long at least a lower head than the one known is taken for news that arrived late.
const oldNews = 10 * time.Second

// setHead takes over a head that the node told, and gives the one that stands. Without a revert a lower one is an answer that was slow, or a notification
// that waited while messages were tended: going back to it would show a message as confirmed and its effect as missing. A node that stays behind, such
// as the next one of the list, is believed after a while.
func (c *Client) setHead(head *lotus.TipSet, reverted bool) *lotus.TipSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	late := c.head != nil && !reverted && head.Height < c.head.Height
	if late && time.Since(c.headAt) < max(oldNews, silence*c.network.BlockDelay) {
		return c.head
	}
	c.head, c.headAt = head, time.Now()
	return head
}

// settledTipSet is the tipset at landing confidence under the head: what it holds is believed.
func (c *Client) settledTipSet(ctx context.Context) (*lotus.TipSet, error) {
	head, err := c.headTipSet(ctx)
	if err != nil {
		return nil, err
	}
	ts, err := c.ancestor(ctx, head, max(0, head.Height-c.cfg.Confidence))
	if err != nil {
		return nil, err
	}
	return ts, c.follows(ctx, ts)
}

// ancestor is the tipset at a height of the chain that ends in another.
func (c *Client) ancestor(ctx context.Context, of *lotus.TipSet, height abi.ChainEpoch) (*lotus.TipSet, error) {
	return memo(ctx, c, of.Key(), "ChainGetTipSetByHeight", strconv.FormatInt(int64(height), 10), func(ctx context.Context, api *api) (*lotus.TipSet, error) {
		return api.ChainGetTipSetByHeight(ctx, height, of.Key())
	})
}

// follows sees that a settled tipset is of one chain with the last one. If it is not, the chain was reorganised deeper than the landing confidence, and
// what is remembered of sectors is forgotten. Reverts tell too little: nobody may have notified of them, and null rounds may lie between the tipsets.
func (c *Client) follows(ctx context.Context, ts *lotus.TipSet) error {
	c.mu.Lock()
	last := c.lastSettled
	c.mu.Unlock()
	if last == nil || ts.Key() == last.Key() || ts.Parents() == last.Key() {
		c.setLastSettled(last, ts)
		return nil
	}
	upper, lower := ts, last
	if upper.Height < lower.Height { // a caller with an older head, or a node that is behind
		upper, lower = last, ts
	}
	found, err := c.ancestor(ctx, upper, lower.Height)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil && found.Key() == lower.Key():
		c.setLastSettled(last, upper)
		return nil
	}
	// One error is that the node keeps, or knows, only one of the two.
	c.cfg.Log.Warn("the chain is not known to go on from what was believed; sectors are asked for anew", "believed", last.Height, "settled", ts.Height, "err", err)
	c.sectors.clear()
	c.proving.clear()
	c.setLastSettled(last, ts)
	return nil
}

// setLastSettled takes over a tipset unless another caller did since.
func (c *Client) setLastSettled(last, ts *lotus.TipSet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lastSettled == last {
		c.lastSettled = ts
	}
}
