package chain_test

import (
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc/auth"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// Every line of the recovery table that is told by the node's words alone, and not by an exit code, is reached on the embedded node.
func TestWordsOfTheRecoveryTable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	told := func(what string, class jobs.FaultClass, err error) {
		t.Helper()
		require.Error(t, err, what)
		gotWhat, gotClass, member := chain.Situation(err)
		require.Equal(t, what, gotWhat, "%s", err)
		require.Equal(t, class, gotClass, "%s", err)
		require.False(t, member, "%s", err)
		seen[what] = true
	}
	poor := devnet.Secp256k1Key("poor")
	node := startNode(t, func(c *devnet.Config) {
		c.Accounts = append(devnet.DefaultAccounts(), devnet.Account{Key: poor, Balance: big.Zero()})
	})
	api := rawAPI(t, node)
	message := func(key *lotus.Key, nonce uint64, change ...func(*lotus.Message)) *lotus.SignedMessage {
		m := &lotus.Message{
			From: key.Address(), To: key.Address(), Nonce: nonce, Value: big.NewInt(1), GasLimit: 1_500_000, GasFeeCap: big.NewInt(1_000_000_000), GasPremium: big.NewInt(200_000),
		}
		for _, c := range change {
			c(m)
		}
		signed, err := key.SignMessage(m)
		require.NoError(t, err)
		return signed
	}
	push := func(m *lotus.SignedMessage) error {
		_, err := api.MpoolPush(t.Context(), m)
		return err
	}
	control := devnet.Secp256k1Key("control")

	told("the sender cannot pay the gas", jobs.Funds, push(message(poor, 0)))
	told("the base fee is above the fee cap", jobs.Funds, push(message(control, 0, func(m *lotus.Message) { m.GasFeeCap, m.GasPremium = big.NewInt(1), big.Zero() })))
	told("the message is above 64 KiB", jobs.Bug, push(message(control, 0, func(m *lotus.Message) { m.Params = make([]byte, 70_000) })))
	forged := message(control, 0)
	forged.Signature.Data[7]++
	told("the signature does not verify", jobs.Bug, push(forged))
	replaced := message(control, 0)
	require.NoError(t, push(replaced))
	told("the message is in the mempool", jobs.Transient, push(replaced))
	told("another version is in the mempool", jobs.Transient, push(message(control, 0, func(m *lotus.Message) { m.GasPremium = big.NewInt(200_001) })))
	require.NoError(t, push(message(control, 0, func(m *lotus.Message) { m.GasPremium, m.Value = big.NewInt(300_000), big.NewInt(2) })))
	advance(t, node, 2)
	told("the nonce is used", jobs.Transient, push(message(control, 0)))
	_, err := api.StateSearchMsg(t.Context(), lotus.EmptyTSK, replaced.Cid(), -1, true)
	told("another message used the nonce", jobs.Transient, err)
	_, err = api.StateSearchMsg(t.Context(), lotus.EmptyTSK, message(control, 77).Cid(), -1, true)
	told("the node has no such message", jobs.Transient, err)
	for nonce := range uint64(1000) {
		require.NoError(t, push(message(control, 2+nonce)))
	}
	told("the mempool holds too many of the sender's messages", jobs.Transient, push(message(control, 1002)))

	stranger := devnet.Secp256k1Key("stranger").Address()
	_, err = api.WalletSignMessage(t.Context(), stranger, &lotus.Message{From: stranger, To: stranger, Value: big.Zero(), GasFeeCap: big.Zero(), GasPremium: big.Zero()})
	told("the wallet lacks the key", jobs.Rejected, err)
	_, err = api.StateGetRandomnessFromTickets(t.Context(), crypto.DomainSeparationTag_SealRandomness, 10_000, nil, lotus.EmptyTSK)
	told("the node is behind", jobs.Transient, err)
	_, err = api.StateMarketStorageDeal(t.Context(), 4242, lotus.EmptyTSK)
	told("there is no such deal", jobs.Rejected, err)
	nobody, err := address.NewIDAddress(4242)
	require.NoError(t, err)
	_, err = api.StateMinerInfo(t.Context(), nobody, lotus.EmptyTSK)
	told("there is no such actor", jobs.Rejected, err)
	miner, err := address.NewIDAddress(uint64(minerID))
	require.NoError(t, err)
	_, err = api.StateSectorPartition(t.Context(), miner, 77, lotus.EmptyTSK)
	told("the sector was terminated", jobs.Rejected, err)

	guarded := startNode(t, func(c *devnet.Config) { c.Token, c.Tokens = "all", map[string]auth.Permission{"less": devnet.Write} })
	_, err = rawAPI(t, guarded).ChainHead(t.Context())
	told("the token is not known", jobs.Transient, err)
	_, err = rawAPI(t, guarded, "less").WalletSign(t.Context(), control.Address(), nil)
	told("the token may not sign", jobs.Transient, err)

	for _, r := range chain.Recoveries() {
		require.True(t, r.Exit != 0 || seen[r.What] || r.What == "any other failure", "nothing reaches %q", r.What)
	}
}

// A token that may read and push, but not sign: nothing is sent, nothing is lost, and it goes with the right one.
func TestATokenThatMayNotSign(t *testing.T) {
	t.Parallel()
	node := startNode(t, func(c *devnet.Config) {
		c.Token, c.Tokens = "all", map[string]auth.Permission{"reads": devnet.Read, "pushes": devnet.Write}
	})
	journal := openJournal(t)
	with := func(token string) func(*chain.Config) {
		return func(c *chain.Config) { c.API = strings.Replace(node.APIInfo(), "all", token, 1) }
	}
	pre := preCommitOf(t, dial(t, node), 1)
	for token, method := range map[string]string{"reads": "'WalletHas' (need 'write')", "pushes": "'WalletSignMessage' (need 'sign')"} {
		c := dial(t, node, withJournal(journal), with(token))
		_, err := sendPreCommit(t.Context(), c, pre)
		requireClass(t, jobs.Transient, err)
		require.ErrorContains(t, err, method)
		require.ErrorContains(t, err, "give lpseal a token with sign permission")
		require.Equal(t, jobs.MessageNone, message(t, c, pre.Meaning).State)
	}
	c := dial(t, node, withJournal(journal))
	_, err := sendPreCommit(t.Context(), c, pre)
	require.NoError(t, err)
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pre.Meaning).State)
}

// Each node says what its token allows, before anything is sent.
func TestMaySign(t *testing.T) {
	t.Parallel()
	node := startNode(t, func(c *devnet.Config) {
		c.Token, c.Tokens = "all", map[string]auth.Permission{"pushes": devnet.Write, "signs": devnet.Sign}
	})
	for _, token := range []string{"all", "signs"} {
		c := dial(t, node, func(c *chain.Config) { c.API = strings.ReplaceAll(node.APIInfo()+","+node.APIInfo(), "all", token) })
		for _, s := range c.MaySign(t.Context()) {
			require.NoError(t, s.Err)
			require.True(t, s.May, token)
		}
	}
	c := dial(t, node, func(c *chain.Config) {
		c.API = strings.Replace(node.APIInfo(), "all", "pushes", 1) + "," + node.APIInfo()
	})
	said := c.MaySign(t.Context())
	require.Len(t, said, 2)
	require.Equal(t, []bool{false, true}, []bool{said[0].May, said[1].May})
	require.NotContains(t, said[0].Node.String(), "pushes")

	open := dial(t, startNode(t)).MaySign(t.Context())
	require.Len(t, open, 1)
	require.True(t, open[0].May, "an embedded node wants no token")
}
