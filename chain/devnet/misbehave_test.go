package devnet_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
)

// order orders misbehaviour over RPC.
func (n *network) order(m devnet.Misbehaviour) {
	n.Helper()
	require.NoError(n, n.own.LpsealMisbehave(n.ctx, m))
}

func TestDropsMessagesOnOrder(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.order(devnet.Misbehaviour{DropMessages: 1})
	lost := n.transfer(0, 1, 100_000)
	c, err := n.api.MpoolPush(n.ctx, lost)
	require.NoError(t, err, "a message that will be lost is accepted like any other")
	n.advance(3)
	found, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, c, -1, true)
	require.NoError(t, err)
	require.Nil(t, found)
	n.wantNonce(0)
	_, err = n.api.MpoolPush(n.ctx, lost)
	require.NoError(t, err, "the same bytes can be pushed again")
	n.order(devnet.Misbehaviour{DropPending: true})
	n.wantNonce(0)
	_, err = n.api.MpoolPush(n.ctx, lost)
	require.NoError(t, err)
	n.advance(2)
	found, err = n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, c, -1, true)
	require.NoError(t, err)
	require.NotNil(t, found)
}

// TestSignerKeepsItsNonces: as in Lotus, a lost message that the node itself signed leaves a gap in its sender's nonces for ever.
func TestSignerKeepsItsNonces(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.order(devnet.Misbehaviour{DropMessages: 1})
	msg := &lotus.Message{To: n.from, From: n.from, Value: big.NewInt(1), GasFeeCap: big.Zero(), GasPremium: big.Zero()}
	for want := range uint64(2) {
		m, err := n.api.MpoolPushMessage(n.ctx, msg, nil)
		require.NoError(t, err)
		require.Equal(t, want, m.Message.Nonce)
	}
	n.advance(3)
	n.wantNonce(0)
}

func TestLosesReceiptsOnOrder(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.order(devnet.Misbehaviour{LoseReceipts: 1})
	c := n.push(n.precommitMessage(n.precommitInfo(7)))
	n.advance(5)
	found, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, c, -1, true)
	require.NoError(t, err)
	require.Nil(t, found)
	pc, err := n.api.StateSectorPreCommitInfo(n.ctx, n.miner, 7, lotus.EmptyTSK)
	require.NoError(t, err)
	require.NotNil(t, pc, "what the message did is there all the same")
	n.land(n.precommitMessage(n.precommitInfo(8)))
}

// A block whose producer did not look at a sender's funds holds a message in vain: nobody pays for it, its nonce stays free, and the mempool has lost it. Pushed
// again, with the money there, it lands; a search tells of the first block, as that of a node with an index does.
func TestCarelessBlocks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	poor := func(c *devnet.Config) {
		c.Dir, c.Accounts = dir, devnet.DefaultAccounts()
		c.Accounts[1].Balance = big.Zero()
	}
	n := start(t, poor)
	funds := func(n *network) string {
		balance, err := n.api.WalletBalance(n.ctx, n.from)
		require.NoError(t, err)
		return balance.String()
	}
	require.NoError(t, n.node.Fund(n.from, devnet.FIL(1)))
	n.advance(2)
	m := n.transfer(0, 1, 100_000)
	c, err := n.api.MpoolPush(n.ctx, m)
	require.NoError(t, err)
	n.order(devnet.Misbehaviour{Reorg: 2}) // takes the money back
	n.advance(1)
	pending, err := n.api.MpoolPending(n.ctx, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Len(t, pending, 1, "a careful producer leaves it")
	n.order(devnet.Misbehaviour{CarelessBlocks: 1})
	n.advance(2)
	n.wantNonce(0)
	require.Equal(t, "0", funds(n))
	pending, err = n.api.MpoolPending(n.ctx, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Empty(t, pending)
	found, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, c, -1, true)
	require.NoError(t, err)
	require.Equal(t, lotus.MessageReceipt{ExitCode: 2}, found.Receipt)

	require.NoError(t, n.node.Fund(n.from, devnet.FIL(1)))
	n.advance(1)
	_, err = n.api.MpoolPush(n.ctx, m)
	require.NoError(t, err)
	n.advance(2)
	n.wantNonce(1)
	require.NotEqual(t, devnet.FIL(1).String(), funds(n), "it paid its gas")
	again, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, c, -1, true)
	require.NoError(t, err)
	require.Equal(t, found, again)
	before := funds(n)
	require.NoError(t, n.node.Close())
	require.Equal(t, before, funds(restart(t, dir, poor)))
}

func TestBaseFeeSpike(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.order(devnet.Misbehaviour{BaseFee: 5_000_000_000, BaseFeeEpochs: 3})
	c, err := n.api.MpoolPush(n.ctx, n.transfer(0, 1, 100_000)) // fee cap 2 nanoFIL
	require.NoError(t, err)
	for range 3 {
		n.advance(1)
		require.Equal(t, "5000000000", n.node.Head().Blocks[0].ParentBaseFee.String())
		pending, err := n.api.MpoolPending(n.ctx, lotus.EmptyTSK)
		require.NoError(t, err)
		require.Len(t, pending, 1, "the fee cap is under the base fee")
	}
	n.advance(10) // the fee falls by an eighth an epoch
	found, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, c, -1, true)
	require.NoError(t, err)
	require.NotNil(t, found)
}

func TestSlowAndFailingCalls(t *testing.T) {
	t.Parallel()
	n := start(t)
	post := func() int {
		res, err := http.Post(n.node.URL(), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"Filecoin.ChainHead","params":[]}`))
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	require.NoError(t, n.node.Misbehave(n.ctx, devnet.Misbehaviour{FailRatio: 1}))
	require.Equal(t, http.StatusServiceUnavailable, post())
	_, err := n.api.ChainHead(n.ctx)
	require.Error(t, err)
	require.NoError(t, n.node.Misbehave(n.ctx, devnet.Misbehaviour{FailRatio: 0.5}))
	codes := map[int]int{}
	for range 200 {
		codes[post()]++
	}
	require.Greater(t, codes[http.StatusOK], 40)
	require.Greater(t, codes[http.StatusServiceUnavailable], 40)

	require.NoError(t, n.node.Misbehave(n.ctx, devnet.Misbehaviour{Delay: 50 * time.Millisecond}))
	begun := time.Now()
	require.Equal(t, http.StatusOK, post())
	require.GreaterOrEqual(t, time.Since(begun), 50*time.Millisecond)
	require.NoError(t, n.node.Misbehave(n.ctx, devnet.Misbehaviour{}))
	require.ErrorContains(t, n.node.Misbehave(n.ctx, devnet.Misbehaviour{FailRatio: 1.5}), "not in [0, 1]")
}

func TestSlowAndCutWebSockets(t *testing.T) {
	t.Parallel()
	n := start(t)
	require.NoError(t, n.node.Misbehave(n.ctx, devnet.Misbehaviour{Delay: 20 * time.Millisecond}))
	begun := time.Now()
	changes := n.subscribe()
	n.next(changes)
	require.GreaterOrEqual(t, time.Since(begun), 40*time.Millisecond, "the handshake and the call")
	require.NoError(t, n.node.Misbehave(n.ctx, devnet.Misbehaviour{Disconnect: true}))
	select {
	case _, ok := <-changes:
		require.False(t, ok)
	case <-time.After(10 * time.Second):
		require.Fail(t, "the subscription goes on")
	}
}
