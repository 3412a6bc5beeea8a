package chain_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
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
	c, err := dialScript(t, shared, first.script, second.script)
	require.NoError(t, err)
	require.Equal(t, second.url+"/rpc/v1", chain.Reading(c))
	head, err := c.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, abi.ChainEpoch(78), head.Epoch)
	requireClass(t, jobs.Transient, offer(t, c))
	require.Zero(t, second.calls["LpsealOfferVanilla"].Load(), "with shared keys, what is written waits for the first")

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

func TestANodeThatLagsIsNotUsed(t *testing.T) {
	t.Parallel()
	first, second := startNodeScript(t), startNodeScript(t)
	c, err := dialScript(t, shared, first.script, second.script)
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
	own, err := dialScript(t, nil, first.script, second.script)
	require.NoError(t, err)
	chain.LookAtNodes(own, t.Context())
	require.NoError(t, offer(t, own))
	require.EqualValues(t, 1, second.calls["LpsealOfferVanilla"].Load(), "with keys of our own it is written where it was read")

	first.height.Store(80)
	chain.LookAtNodes(c, t.Context())
	require.Equal(t, first.url+"/rpc/v1", chain.Reading(c))
	require.NoError(t, offer(t, c))
}

// A node that was put onto another network while lpseal runs is not believed, whatever
// becomes of the others.
func TestANodeOfAnotherNetworkIsNotUsed(t *testing.T) {
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
	require.NoError(t, offer(t, c))
	require.Zero(t, first.calls["LpsealOfferVanilla"].Load())

	second.network.Store(&other)
	chain.LookAtNodes(c, t.Context())
	err = offer(t, c)
	requireClass(t, jobs.Transient, err)
	require.ErrorContains(t, err, `follows network "calibrationnet", not "mainnet"`)
}

// What a node has for itself is asked of the one that is written to.
func TestWalletAndMempoolAreTheWritersOwn(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]struct {
		change func(*chain.Config)
		want   []int
	}{
		"own nonces": {nil, []int{1, 0}},
		"shared key": {shared, []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := startNodeScript(t), startNodeScript(t)
			c, err := dialScript(t, mode.change, first.script, second.script)
			require.NoError(t, err)
			first.down.Store(true)
			_, err = c.Head(t.Context())
			require.NoError(t, err)
			require.Equal(t, []int{1, 0}, chain.Order(c, "StateSectorGetInfo"))
			for _, method := range []string{"WalletHas", "WalletBalance", "MpoolPending", "MpoolGetNonce"} {
				require.Equal(t, mode.want, chain.Order(c, method))
			}
		})
	}
}

// The first node goes away at any call of a batch, before or after it did what it was asked, and the next one ends what was begun: every sector lands once.
func TestTheNextNodeSends(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]bool{"calls are lost": false, "answers are lost": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps := 0
			for sendThroughTheNext(t, steps, after) {
				steps++
			}
			require.Greater(t, steps, 7, "calls of one sending")
		})
	}
}

// sendThroughTheNext tells whether the first node went away, so that there may be a later call to do so at.
func sendThroughTheNext(t *testing.T, steps int, after bool) bool {
	t.Helper()
	node := startNode(t)
	journal := newMemory()
	first := &crash{steps: 1 << 20, after: after}
	c := dial(t, node, withJournal(journal), func(c *chain.Config) {
		c.API = crashingProxy(t, node, first) + "," + node.URL()
		c.Backoff = time.Millisecond
	})
	pres := preCommitsOf(t, c, 3)
	first.arm(steps)
	for tries := 0; ; tries++ {
		require.Less(t, tries, 3, "call %d", steps)
		sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
		if err == nil {
			requireTogether(t, sent)
			break
		}
		requireClass(t, jobs.Transient, err)
	}
	requireOnce(t, journal)
	for range 3 {
		require.NoError(t, c.Tend(t.Context()))
		advance(t, node, 9)
	}
	for _, r := range pres {
		require.Equal(t, jobs.MessageConfirmed, message(t, c, r.Meaning).State, "call %d", steps)
	}
	requireOnce(t, journal)
	require.EqualValues(t, 1, used(t, node, controlKey), "call %d", steps)
	return first.died()
}

// A node that lacks the senders' keys sends nothing in the first one's stead, and holds no sector for it.
func TestAStandInWithoutTheKey(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	first := &crash{steps: 1 << 20}
	reverse := reverseProxy(t, node)
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var call struct {
			ID     any
			Method string
		}
		if err := json.Unmarshal(body, &call); err == nil && call.Method == "Filecoin.WalletHas" {
			_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": call.ID, "result": false})
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		reverse.ServeHTTP(w, r)
	}))
	t.Cleanup(second.Close)
	c := dial(t, node, withJournal(newMemory()), func(c *chain.Config) {
		c.API = crashingProxy(t, node, first) + "," + second.URL
		c.Backoff = time.Millisecond
	})
	pre := preCommitOf(t, c, 1)
	first.arm(0)
	_, err := sendPreCommit(t.Context(), c, pre)
	requireClass(t, jobs.Transient, err)
	require.ErrorContains(t, err, "the key of none of its senders")
	require.ErrorContains(t, err, "node "+second.URL+"/rpc/v1 stands in for the first one")

	first.mend()
	chain.LookAtNodes(c, t.Context())
	_, err = sendPreCommit(t.Context(), c, pre)
	require.NoError(t, err)
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
