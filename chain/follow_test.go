package chain_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

func total(c *chain.Client) (sum uint64) {
	for _, n := range c.Calls() {
		sum += n
	}
	return sum
}

// A poll's calls do not grow with sectors for which nothing changed on chain.
func TestCallsFollowTheChain(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)), func(c *chain.Config) { c.HeadMaxAge = time.Hour })
	var sent, never []jobs.SectorID
	var meanings []jobs.Meaning
	for n := range abi.SectorNumber(12) {
		r := preCommitOf(t, c, n+1)
		sent = append(sent, r.Seal.ID)
		meanings = append(meanings, r.Meaning)
		never = append(never, jobs.SectorID{Miner: minerID, Number: n + 100})
		_, err := sendPreCommit(t.Context(), c, r)
		require.NoError(t, err)
	}
	busy := dial(t, node, withJournal(openJournal(t)), shared, func(c *chain.Config) { c.Senders = []address.Address{ownerKey} })
	other := abi.SectorNumber(1000)
	poll := func(sectors int) uint64 {
		t.Helper()
		other++ // the miner's state changes all the time
		_, err := sendPreCommit(t.Context(), busy, preCommitOf(t, busy, other))
		require.NoError(t, err)
		advance(t, node, 1)
		_, err = chain.FreshHead(c, t.Context())
		require.NoError(t, err)
		before := total(c)
		for _, ids := range [][]jobs.SectorID{sent[:sectors], never[:sectors]} {
			for _, id := range ids {
				_, err := c.OnChain(t.Context(), id)
				require.NoError(t, err)
			}
		}
		_, err = c.Messages(t.Context(), meanings[:sectors])
		require.NoError(t, err)
		_, err = c.Allocated(t.Context(), minerID)
		require.NoError(t, err)
		return total(c) - before
	}
	require.Equal(t, poll(2), poll(12), "in the mempool")
	advance(t, node, 6)
	require.Greater(t, poll(12), uint64(12), "each landed message is searched once, each sector asked once")
	few, many := poll(2), poll(12)
	require.Equal(t, few, many, "pre-committed and waiting for the seed")
	require.LessOrEqual(t, many, uint64(6), "calls a poll")

	infos := c.Calls()["StateSectorPreCommitInfo"]
	for range 5 {
		poll(12)
	}
	require.Equal(t, infos, c.Calls()["StateSectorPreCommitInfo"], "asked once for each landed message")
	require.EqualValues(t, 12, c.Calls()["StateSearchMsg"])
}

// Without a journal nothing is known of messages, so an answer stands only while the miner's state does.
func TestOnChainWithoutJournal(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	sender, reader := dial(t, node, withJournal(openJournal(t))), dial(t, node)
	pre, _ := preCommitSent(t, sender, 1)
	advance(t, node, 20)
	on, err := reader.OnChain(t.Context(), pre.Seal.ID)
	require.NoError(t, err)
	require.NotNil(t, on.PreCommit)
	_, err = sendCommit(t.Context(), sender, commitOf(pre.Seal.ID))
	require.NoError(t, err)
	advance(t, node, 8)
	on, err = reader.OnChain(t.Context(), pre.Seal.ID)
	require.NoError(t, err)
	require.NotNil(t, on.Sector, "another client's message is seen")
	require.Equal(t, jobs.MessageNone, message(t, reader, pre.Meaning).State)
}

// A notification that waited while messages were tended must not take the client back to a head at
// which a message that it calls confirmed has no effect yet.
func TestAnOlderHeadIsLateNews(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)), func(c *chain.Config) { c.HeadMaxAge = time.Hour })
	pre, _ := preCommitSent(t, c, 1)
	advance(t, node, 3)
	late := node.Head()
	advance(t, node, 5)
	_, err := chain.FreshHead(c, t.Context())
	require.NoError(t, err)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pre.Meaning).State)

	chain.Told(c, late, false)
	on, err := c.OnChain(t.Context(), pre.Seal.ID)
	require.NoError(t, err)
	require.NotNil(t, on.PreCommit)
	require.Equal(t, node.Head().Height-5, on.AsOf)

	chain.Told(c, late, true) // but a revert is believed
	head, err := c.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, late.Height, head.Epoch)
}

// Run follows the head over a WebSocket, tends messages, and comes back after the connection was cut.
func TestRun(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	heads := make(chan jobs.Head, 1000)
	c := dial(t, node, withJournal(openJournal(t)), func(c *chain.Config) { c.OnHead = func(h jobs.Head) { heads <- h } })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	wait := func(epoch abi.ChainEpoch) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
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
	wait(10)
	asked := c.Calls()["ChainHead"]
	head, err := c.Head(ctx)
	require.NoError(t, err)
	require.Equal(t, abi.ChainEpoch(10), head.Epoch)
	require.Equal(t, asked, c.Calls()["ChainHead"], "a followed head is not asked for")

	pre, _ := preCommitSent(t, c, 1)
	require.NoError(t, node.Misbehave(ctx, devnet.Misbehaviour{DropPending: true}))
	for epoch := abi.ChainEpoch(11); epoch <= 21; epoch++ {
		advance(t, node, 1)
		wait(epoch)
	}
	require.NoError(t, node.Misbehave(ctx, devnet.Misbehaviour{Disconnect: true}))
	advance(t, node, 10) // whether or not it listens
	wait(31)
	require.Eventually(t, func() bool { return message(t, c, pre.Meaning).State == jobs.MessageConfirmed }, 20*time.Second, 5*time.Millisecond,
		"the tending that heads cause pushed the lost message again")
	require.Eventually(t, func() bool { return c.Calls()["ChainNotify"] >= 2 }, 20*time.Second, 5*time.Millisecond)

	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// deafNode answers calls, and no subscription as it should.
type deafNode struct {
	subscribe func(context.Context) (<-chan []*lotus.HeadChange, error)
}

// ChainNotify is asked for over the WebSocket.
func (n deafNode) ChainNotify(ctx context.Context) (<-chan []*lotus.HeadChange, error) {
	return n.subscribe(ctx)
}

// Messages are tended though no notification comes: where a gateway lets no WebSocket through, or
// does not say so, and where the node answers no subscription, or falls silent.
func TestTendingNeedsNoNotifications(t *testing.T) {
	t.Parallel()
	for name, subscribe := range map[string]func(context.Context) (<-chan []*lotus.HeadChange, error){
		"no WebSockets": nil,
		"no handshake":  nil,
		"no answer": func(ctx context.Context) (<-chan []*lotus.HeadChange, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"silence": func(context.Context) (<-chan []*lotus.HeadChange, error) { return make(chan []*lotus.HeadChange), nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := startNode(t)
			calls := reverseProxy(t, node)
			sockets := jsonrpc.NewServer()
			sockets.Register(lotus.Namespace, deafNode{subscribe})
			closing := make(chan struct{})
			gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Header.Get("Upgrade") == "":
					calls.ServeHTTP(w, r)
				case name == "no handshake":
					<-closing
				case subscribe == nil:
					http.NotFound(w, r)
				default:
					sockets.ServeHTTP(w, r)
				}
			}))
			t.Cleanup(gateway.Close)
			t.Cleanup(func() { close(closing) })
			c := dial(t, node, withJournal(openJournal(t)), func(c *chain.Config) { c.API, c.Timeout = gateway.URL, 500*time.Millisecond })
			preCommitSent(t, c, 1)
			require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{DropPending: true}))
			advance(t, node, 10)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- c.Run(ctx) }()
			require.Eventually(t, func() bool { return len(inPool(t, node)) == 1 }, 20*time.Second, 5*time.Millisecond, "pushed again")
			cancel()
			require.ErrorIs(t, <-ended, context.Canceled)
		})
	}
}

// A reorganisation below the confidence makes what was believed unknown again.
func TestDeepReorg(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	heads := make(chan jobs.Head, 1000)
	c := dial(t, node, withJournal(openJournal(t)), func(c *chain.Config) { c.OnHead = func(h jobs.Head) { heads <- h } })
	pre, _ := preCommitSent(t, c, 1)
	advance(t, node, 8)
	on, err := c.OnChain(t.Context(), pre.Seal.ID)
	require.NoError(t, err)
	require.NotNil(t, on.PreCommit)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	<-heads
	require.NoError(t, node.Reorg(ctx, 8, true))
	require.Eventually(t, func() bool {
		on, err := c.OnChain(ctx, pre.Seal.ID)
		return err == nil && on.PreCommit == nil
	}, 20*time.Second, 5*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// So it is where nobody tells of reverts: the head is asked for, or notifications were away when it happened.
func TestDeepReorgThatNobodyTellsOf(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	pre, _ := preCommitSent(t, c, 1)
	advance(t, node, 8)
	on, err := c.OnChain(t.Context(), pre.Seal.ID)
	require.NoError(t, err)
	require.NotNil(t, on.PreCommit)
	require.NoError(t, node.Reorg(t.Context(), 8, true))
	for range 3 {
		on, err = c.OnChain(t.Context(), pre.Seal.ID)
		require.NoError(t, err)
		require.Nil(t, on.PreCommit)
		advance(t, node, 5)
	}
}

// An answer that was asked for before a deep reorganisation, and comes after it was noticed, is not remembered.
func TestAnAnswerFromBeforeADeepReorg(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	asked, thaw := make(chan struct{}), make(chan struct{})
	freeze := sync.OnceFunc(func() {
		close(asked)
		<-thaw
	})
	api := altered(t, node, func(call, answer []byte) []byte {
		if bytes.Contains(call, []byte("StateSectorPreCommitInfo")) && bytes.Contains(answer, []byte("PreCommitEpoch")) {
			freeze()
		}
		return answer
	})
	c := dial(t, node, withJournal(openJournal(t)), func(c *chain.Config) { c.API = api })
	pre, _ := preCommitSent(t, c, 1)
	advance(t, node, 8)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		on, err := c.OnChain(t.Context(), pre.Seal.ID)
		assert.NoError(t, err)
		assert.NotNil(t, on.PreCommit)
	}()
	<-asked
	require.NoError(t, node.Reorg(t.Context(), 8, true))
	_, err := c.OnChain(t.Context(), jobs.SectorID{Miner: minerID, Number: 2})
	require.NoError(t, err)
	close(thaw)
	<-ended
	on, err := c.OnChain(t.Context(), pre.Seal.ID)
	require.NoError(t, err)
	require.Nil(t, on.PreCommit)
}

func TestOfferVanilla(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node)
	id := jobs.SectorID{Miner: minerID, Number: 1}
	require.NoError(t, c.OfferVanilla(t.Context(), id, []byte(`{"c1":true}`)))
	lotusNode, err := dialScript(t, nil, startScript(t, func(method string, n int) (int, any) { return healthy(method, n) }))
	require.NoError(t, err)
	require.Error(t, lotusNode.OfferVanilla(t.Context(), id, nil))
}

// Another process may settle a message between the look at it and its push: then there is nothing to push, and nothing wrong.
func TestAMessageSettledBeforeItIsPushedAgain(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	pre, sent := preCommitSent(t, c, 1)
	advance(t, node, 12)
	require.NoError(t, c.Tend(t.Context()))
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pre.Meaning).State)
	again, err := chain.Push(c, t.Context(), aloneKey(pre.Meaning))
	require.NoError(t, err)
	require.Equal(t, sent, again)
}

// What one of our messages changed is seen as soon as it is settled, though nobody asks for the message.
func TestOnChainFollowsWhatLanded(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(newMemory()))
	commits := preCommitted(t, node, c, 1)
	on, err := c.OnChain(t.Context(), commits[0].Seal.ID)
	require.NoError(t, err)
	require.NotNil(t, on.PreCommit)
	_, err = c.SendCommits(t.Context(), "b-1", commits, nil)
	require.NoError(t, err)
	advance(t, node, 8)
	on, err = c.OnChain(t.Context(), commits[0].Seal.ID)
	require.NoError(t, err)
	require.NotNil(t, on.Sector)
}
