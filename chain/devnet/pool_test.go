package devnet_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
)

// transfer is a signed transfer of value to the sender itself, as a sender with nonces of its own makes it.
func (n *network) transfer(nonce uint64, value int64, premium int64) *lotus.SignedMessage {
	n.Helper()
	m, err := devnet.Secp256k1Key("control").SignMessage(&lotus.Message{
		To: n.from, From: n.from, Nonce: nonce, Value: big.NewInt(value), GasLimit: 1_500_000,
		GasFeeCap: big.NewInt(2_000_000_000), GasPremium: big.NewInt(premium),
	})
	require.NoError(n, err)
	return m
}

func (n *network) wantNonce(want uint64) {
	n.Helper()
	nonce, err := n.api.MpoolGetNonce(n.ctx, n.from)
	require.NoError(n, err)
	require.Equal(n, want, nonce)
}

func TestPoolRefusesBadNonces(t *testing.T) {
	t.Parallel()
	n := start(t)
	first := n.transfer(0, 1, 100_000)
	c, err := n.api.MpoolPush(n.ctx, first)
	require.NoError(t, err)
	require.Equal(t, first.Cid(), c)
	n.wantNonce(1)
	_, err = n.api.MpoolPush(n.ctx, first)
	require.ErrorContains(t, err, "with nonce 0 already in mpool: message with nonce already exists")
	_, err = n.api.MpoolPush(n.ctx, n.transfer(0, 2, 110_000))
	require.ErrorContains(t, err, "increase GasPremium to 110001 from 110000 to trigger replace by fee: replace by fee has too low GasPremium")
	replacement := n.transfer(0, 2, 110_001)
	_, err = n.api.MpoolPush(n.ctx, replacement)
	require.NoError(t, err)

	for _, nonce := range []uint64{1, 3} { // 3 waits for 2
		_, err = n.api.MpoolPush(n.ctx, n.transfer(nonce, 1, 100_000))
		require.NoError(t, err)
	}
	n.wantNonce(2)
	chosen, err := n.api.MpoolSelect(n.ctx, lotus.EmptyTSK, 1)
	require.NoError(t, err)
	require.Len(t, chosen, 2)
	n.advance(1)
	block, err := n.api.ChainGetBlockMessages(n.ctx, n.node.Head().Cids[0])
	require.NoError(t, err)
	require.Len(t, block.SecpkMessages, 2)
	require.Equal(t, replacement.Cid(), block.Cids[0])
	_, err = n.api.MpoolPush(n.ctx, n.transfer(1, 5, 900_000))
	require.ErrorContains(t, err, "minimum expected nonce is 2, got 1: message nonce too low")
	_, err = n.api.MpoolPush(n.ctx, n.transfer(2, 1, 100_000))
	require.NoError(t, err)
	n.wantNonce(4)
	n.advance(2)
	pending, err := n.api.MpoolPending(n.ctx, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Empty(t, pending)

	// What was replaced is found as what replaced it, or not at all.
	found, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, first.Cid(), -1, false)
	require.NoError(t, err)
	require.Nil(t, found)
	_, err = n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, first.Cid(), -1, true)
	require.ErrorContains(t, err, "NOT a valid replacement message")
}

func TestFindsAReplacementThatDiffersInGasAlone(t *testing.T) {
	t.Parallel()
	n := start(t)
	slow, fast := n.transfer(0, 1, 100_000), n.transfer(0, 1, 200_000)
	for _, m := range []*lotus.SignedMessage{slow, fast} {
		_, err := n.api.MpoolPush(n.ctx, m)
		require.NoError(t, err)
	}
	n.advance(2)
	found, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, slow.Cid(), -1, true)
	require.NoError(t, err)
	require.Equal(t, fast.Cid(), found.Message)
	found, err = n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, slow.Cid(), -1, false)
	require.NoError(t, err)
	require.Nil(t, found)
}

func TestPoolRefusesBadMessages(t *testing.T) {
	t.Parallel()
	n := start(t)
	key := devnet.Secp256k1Key("control")
	const overhead = 139 // bytes of the message below besides its parameters
	for text, change := range map[string]func(*lotus.Message){
		"mpool message too large (65537B): message too big": func(m *lotus.Message) {
			m.GasLimit, m.Params = 1_000_000_000, make([]byte, lotus.MaxMessageBytes-overhead+1)
		},
		"gas fee cap too low":                                            func(m *lotus.Message) { m.GasFeeCap, m.GasPremium = big.NewInt(99), big.NewInt(9) },
		"'GasFeeCap' less than 'GasPremium'":                             func(m *lotus.Message) { m.GasPremium = big.Add(m.GasFeeCap, big.NewInt(1)) },
		"'GasLimit' field cannot be greater than a block's gas limit":    func(m *lotus.Message) { m.GasLimit = 10_000_000_001 },
		"'GasLimit' field 0 must be positive":                            func(m *lotus.Message) { m.GasLimit = 0 },
		"cannot be less than the cost of storing a message on chain":     func(m *lotus.Message) { m.GasLimit = 1000 },
		"'Value' field cannot be negative":                               func(m *lotus.Message) { m.Value = big.NewInt(-1) },
		"'Value' field cannot be greater than total filecoin supply":     func(m *lotus.Message) { m.Value = devnet.FIL(2_000_000_001) },
		"'Version' unsupported":                                          func(m *lotus.Message) { m.Version = 1 },
		"failed to check balance: not enough funds (required: 1500 FIL,": func(m *lotus.Message) { m.GasFeeCap = big.Div(devnet.FIL(1500), big.NewInt(m.GasLimit)) },
	} {
		m := n.transfer(0, 1, 100_000).Message
		change(&m)
		signed, err := key.SignMessage(&m)
		require.NoError(t, err)
		_, err = n.api.MpoolPush(n.ctx, signed)
		require.ErrorContains(t, err, text)
	}
	forged := n.transfer(0, 1, 100_000)
	forged.Message.Value = big.NewInt(2)
	_, err := n.api.MpoolPush(n.ctx, forged)
	require.ErrorContains(t, err, "signature verification failed: failed to validate signature: invalid signature for message")

	// The largest message that fits goes through.
	m := n.transfer(0, 1, 100_000).Message
	m.GasLimit, m.Params = 1_000_000_000, make([]byte, lotus.MaxMessageBytes-overhead)
	fits, err := key.SignMessage(&m)
	require.NoError(t, err)
	raw, err := fits.Serialize()
	require.NoError(t, err)
	require.Len(t, raw, lotus.MaxMessageBytes)
	_, err = n.api.MpoolPush(n.ctx, fits)
	require.NoError(t, err)

	// 600 FIL of gas are there once, not twice.
	costly := func(nonce uint64) error {
		m := n.transfer(nonce, 1, 100_000).Message
		m.GasFeeCap = big.Div(devnet.FIL(600), big.NewInt(m.GasLimit))
		signed, err := key.SignMessage(&m)
		require.NoError(t, err)
		_, err = n.api.MpoolPush(n.ctx, signed)
		return err
	}
	require.NoError(t, costly(1))
	require.ErrorContains(t, costly(2), "not enough funds including pending messages (required: 120")
}

func TestPushMessageIsOnceByUUID(t *testing.T) {
	t.Parallel()
	n := start(t)
	msg := &lotus.Message{To: n.from, From: id(t, 101), Value: big.NewInt(1), GasFeeCap: big.Zero(), GasPremium: big.Zero()}
	spec := &lotus.MessageSendSpec{MaxFee: devnet.FIL(1), MsgUuid: uuid.MustParse("11111111-2222-4333-8444-555555555555")}
	first, err := n.api.MpoolPushMessage(n.ctx, msg, spec)
	require.NoError(t, err)
	require.Equal(t, n.from, first.Message.From, "the ID address becomes the key's")
	again, err := n.api.MpoolPushMessage(n.ctx, msg, spec)
	require.NoError(t, err)
	require.Equal(t, first, again)
	n.wantNonce(1)
	msg.Nonce = 5
	_, err = n.api.MpoolPushMessage(n.ctx, msg, nil)
	require.ErrorContains(t, err, "MpoolPushMessage expects message nonce to be 0, was 5")
}

func TestMaxFeeCapsTheMessage(t *testing.T) {
	t.Parallel()
	n := start(t)
	msg := &lotus.Message{To: n.from, From: n.from, Value: big.NewInt(1), GasFeeCap: big.Zero(), GasPremium: big.Zero()}
	for _, c := range []struct {
		spec *lotus.MessageSendSpec
		most abi.TokenAmount
	}{
		{&lotus.MessageSendSpec{MaxFee: big.NewInt(1_000_000_000)}, big.NewInt(1_000_000_000)},
		{&lotus.MessageSendSpec{MaxFee: devnet.FIL(2), MaximizeFeeCap: true}, devnet.FIL(2)},
	} {
		got, err := n.api.GasEstimateMessageGas(n.ctx, msg, c.spec, lotus.EmptyTSK)
		require.NoError(t, err)
		fee := got.RequiredFunds()
		require.True(t, fee.LessThanEqual(c.most) && fee.GreaterThan(big.Sub(c.most, big.NewInt(got.GasLimit))), fee)
		require.True(t, got.GasPremium.LessThanEqual(got.GasFeeCap))
	}
}

// TestGasIsPaid follows the sender's balance through a transfer to a new account.
func TestGasIsPaid(t *testing.T) {
	t.Parallel()
	n := start(t)
	stranger := devnet.BLSKey("stranger").Address()
	before, err := n.api.WalletBalance(n.ctx, n.from)
	require.NoError(t, err)
	found := n.land(&lotus.Message{To: stranger, From: n.from, Value: devnet.FIL(5), GasFeeCap: big.Zero(), GasPremium: big.Zero()})
	got, err := n.api.WalletBalance(n.ctx, stranger)
	require.NoError(t, err)
	require.Equal(t, devnet.FIL(5), got)
	stored, err := n.api.StateLookupID(n.ctx, stranger, lotus.EmptyTSK)
	require.NoError(t, err)
	back, err := n.api.StateAccountKey(n.ctx, stored, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, stranger, back)

	block, err := n.api.ChainGetTipSetByHeight(n.ctx, found.Height-1, lotus.EmptyTSK)
	require.NoError(t, err)
	msg, err := n.api.ChainGetMessage(n.ctx, found.Message)
	require.NoError(t, err)
	baseFee := block.Blocks[0].ParentBaseFee
	over := msg.GasLimit - found.Receipt.GasUsed
	excess := msg.GasLimit - found.Receipt.GasUsed*11/10
	burnt := found.Receipt.GasUsed + over*excess/found.Receipt.GasUsed
	paid := big.Add(big.Mul(baseFee, big.NewInt(burnt)), big.Mul(msg.GasPremium, big.NewInt(msg.GasLimit)))
	after, err := n.api.WalletBalance(n.ctx, n.from)
	require.NoError(t, err)
	require.Equal(t, big.Sub(before, big.Add(devnet.FIL(5), paid)), after)
	burntFunds, err := n.api.WalletBalance(n.ctx, id(t, 99))
	require.NoError(t, err)
	require.Equal(t, big.Mul(baseFee, big.NewInt(burnt)), burntFunds)
}

func TestRunsOutOfGas(t *testing.T) {
	t.Parallel()
	n := start(t)
	msg := n.precommitMessage(n.precommitInfo(7))
	msg.GasLimit, msg.GasFeeCap, msg.GasPremium = 5_000_000, big.NewInt(200_000_000), big.NewInt(100_000)
	c := n.push(msg)
	n.advance(2)
	found, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, c, -1, false)
	require.NoError(t, err)
	require.Equal(t, lotus.MessageReceipt{ExitCode: 7, GasUsed: 5_000_000}, found.Receipt)
	pc, err := n.api.StateSectorPreCommitInfo(n.ctx, n.miner, 7, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Nil(t, pc)
}

func TestWaitsForConfidence(t *testing.T) {
	t.Parallel()
	n := start(t)
	c := n.push(n.precommitMessage(n.precommitInfo(7)))
	n.advance(4) // one to include, one to execute, two on top
	short, cancel := context.WithTimeout(n.ctx, 100*time.Millisecond)
	defer cancel()
	_, err := n.api.StateWaitMsg(short, c, 3, -1, true)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	answers := make(chan *lotus.MsgLookup, 1)
	go func() {
		found, err := n.api.StateWaitMsg(n.ctx, c, 3, -1, true)
		assert.NoError(t, err)
		answers <- found
	}()
	n.advance(1)
	select {
	case found := <-answers:
		require.Equal(t, n.node.Head().Height-3, found.Height)
	case <-time.After(10 * time.Second):
		require.Fail(t, "no answer")
	}
	_, err = n.api.StateWaitMsg(n.ctx, commR(t, "no message"), 0, -1, true)
	require.ErrorContains(t, err, "failed to load message")
}

func TestUnderstandsAPIv0(t *testing.T) {
	t.Parallel()
	n := start(t)
	landed := n.land(n.precommitMessage(n.precommitInfo(7)))
	p := &player{network: n}
	for method, params := range map[string][]any{
		"StateSearchMsg": {landed.Message}, "StateSearchMsgLimited": {landed.Message, 100},
		"StateWaitMsg": {landed.Message, 0}, "StateWaitMsgLimited": {landed.Message, 0, 100},
	} {
		got := p.callAt(t, strings.Replace(n.node.URL(), "v1", "v0", 1), "Filecoin."+method, params)
		require.Nil(t, got.Error, method)
		require.Contains(t, string(got.Result), landed.Message.String())
	}
	receipt, err := n.api.StateGetReceipt(n.ctx, landed.Message, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, &landed.Receipt, receipt)
}
