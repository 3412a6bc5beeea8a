package chain_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/jobs"
)

// node is a script whose height, network and being there a test changes.
type nodeScript struct {
	*script
	height  atomic.Int64
	network atomic.Pointer[string]
	down    atomic.Bool
}

func startNodeScript(t *testing.T) *nodeScript {
	n := &nodeScript{}
	n.height.Store(77)
	n.script = startScript(t, func(method string, nth int) (int, any) {
		status, result := healthy(method, nth)
		switch {
		case n.down.Load():
			return http.StatusServiceUnavailable, nil
		case method == "ChainHead":
			result.(map[string]any)["Height"] = n.height.Load()
		case method == "LpsealOfferVanilla":
			return http.StatusOK, nil
		case method == "StateGetNetworkParams" && n.network.Load() != nil:
			result.(map[string]any)["NetworkName"] = *n.network.Load()
		}
		return status, result
	})
	return n
}

func offer(t *testing.T, c *chain.Client) error {
	return c.OfferVanilla(t.Context(), jobs.SectorID{Miner: minerID, Number: 1}, nil)
}

// The first node need not be there when lpseal starts, and is read from once it is.
func TestTheFirstNodeComesBack(t *testing.T) {
	t.Parallel()
	first, second := startNodeScript(t), startNodeScript(t)
	first.down.Store(true)
	second.height.Store(78)
	c, err := dialScript(t, nil, first.script, second.script)
	require.NoError(t, err)
	require.Equal(t, second.url+"/rpc/v1", chain.Reading(c))
	head, err := c.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, abi.ChainEpoch(78), head.Epoch)
	requireClass(t, jobs.Transient, offer(t, c))
	require.Zero(t, second.calls["LpsealOfferVanilla"].Load(), "what is written waits for the first")

	first.down.Store(false)
	chain.LookAtNodes(c, t.Context())
	require.Equal(t, first.url+"/rpc/v1", chain.Reading(c))
	require.NoError(t, offer(t, c))

	second.down.Store(true)
	chain.LookAtNodes(c, t.Context())
	first.down.Store(true)
	_, err = c.Head(t.Context())
	requireClass(t, jobs.Transient, err)
	second.down.Store(false)
	chain.LookAtNodes(c, t.Context())
	_, err = c.Head(t.Context())
	require.NoError(t, err)
}

func TestANodeThatLagsIsNotReadFrom(t *testing.T) {
	t.Parallel()
	first, second := startNodeScript(t), startNodeScript(t)
	c, err := dialScript(t, nil, first.script, second.script)
	require.NoError(t, err)
	second.height.Store(77 + 5)
	chain.LookAtNodes(c, t.Context())
	require.Equal(t, first.url+"/rpc/v1", chain.Reading(c), "a few epochs apart are in sync")

	second.height.Store(77 + 6)
	chain.LookAtNodes(c, t.Context())
	require.Equal(t, second.url+"/rpc/v1", chain.Reading(c))
	require.Equal(t, []int{1}, chain.Order(c, "StateSectorGetInfo"), "even if the other does not answer")
	err = offer(t, c)
	requireClass(t, jobs.Transient, err)
	require.ErrorContains(t, err, "is 6 epochs behind; they wait until it is fit")
	require.Zero(t, first.calls["LpsealOfferVanilla"].Load(), "it would judge by what is no longer so")

	first.height.Store(80)
	chain.LookAtNodes(c, t.Context())
	require.Equal(t, first.url+"/rpc/v1", chain.Reading(c))
	require.NoError(t, offer(t, c))
}

// A node that was put onto another network while lpseal runs is not believed, whatever
// becomes of the others.
func TestANodeOfAnotherNetworkIsNotReadFrom(t *testing.T) {
	t.Parallel()
	first, second := startNodeScript(t), startNodeScript(t)
	c, err := dialScript(t, nil, first.script, second.script)
	require.NoError(t, err)
	other := "calibrationnet"
	second.network.Store(&other)
	second.height.Store(1_000_000)
	chain.LookAtNodes(c, t.Context())
	require.Equal(t, first.url+"/rpc/v1", chain.Reading(c), "its height says nothing")
	first.down.Store(true)
	_, err = c.Head(t.Context())
	requireClass(t, jobs.Transient, err)

	first.down.Store(false)
	second.network.Store(nil)
	first.network.Store(&other)
	second.height.Store(77)
	chain.LookAtNodes(c, t.Context())
	require.Equal(t, second.url+"/rpc/v1", chain.Reading(c))
	err = offer(t, c)
	requireClass(t, jobs.Transient, err)
	require.ErrorContains(t, err, `follows network "calibrationnet", not "mainnet"`)
}

// What a node has for itself is asked of the one that is written to.
func TestWalletAndMempoolAreTheWritersOwn(t *testing.T) {
	t.Parallel()
	first, second := startNodeScript(t), startNodeScript(t)
	c, err := dialScript(t, nil, first.script, second.script)
	require.NoError(t, err)
	first.down.Store(true)
	_, err = c.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int{1, 0}, chain.Order(c, "StateSectorGetInfo"))
	for _, method := range []string{"WalletHas", "WalletBalance", "MpoolPending", "MpoolGetNonce"} {
		require.Equal(t, []int{0}, chain.Order(c, method))
	}
}

// Run listens to the node that is read from: when it falls silent to the next one, and to the
// first again when that is back.
func TestRunFollowsTheNodeThatIsRead(t *testing.T) {
	t.Parallel()
	genesis := time.Now()
	same := func(c *devnet.Config) { c.Genesis = genesis } // and equal secrets: equal chains
	first, second := startNode(t, same), startNode(t, same)
	heads := make(chan jobs.Head, 1000)
	c := dial(t, first, func(c *chain.Config) {
		c.API = first.APIInfo() + "," + second.APIInfo()
		c.Backoff = time.Millisecond
		c.OnHead = func(h jobs.Head) { heads <- h }
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
	hear := func(epoch abi.ChainEpoch) {
		t.Helper()
		for deadline := time.After(20 * time.Second); ; {
			select {
			case h := <-heads:
				if h.Epoch >= epoch {
					return
				}
			case <-deadline:
				t.Fatalf("no notification of epoch %d", epoch)
			}
		}
	}
	both := func() {
		t.Helper()
		advance(t, first, 1)
		advance(t, second, 1)
	}
	hear(10)
	require.Equal(t, first.URL(), chain.Reading(c))
	require.NoError(t, first.Misbehave(ctx, devnet.Misbehaviour{FailRatio: 1, Disconnect: true}))
	both()
	hear(11)
	require.Equal(t, second.URL(), chain.Reading(c))
	require.NoError(t, first.Misbehave(ctx, devnet.Misbehaviour{}))
	chain.LookAtNodes(c, ctx)
	require.Equal(t, first.URL(), chain.Reading(c))
	require.NoError(t, second.Misbehave(ctx, devnet.Misbehaviour{FailRatio: 1, Disconnect: true}))
	both()
	hear(12)
}
