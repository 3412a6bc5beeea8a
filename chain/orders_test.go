package chain_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// spike makes every unit of gas cost more than a message pays that was sent before.
func spike(t *testing.T, node *devnet.Node, baseFee int64) {
	t.Helper()
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{BaseFee: baseFee, BaseFeeEpochs: 1000}))
}

func inPool(t *testing.T, node *devnet.Node) []*lotus.SignedMessage {
	t.Helper()
	pending, err := rawAPI(t, node).MpoolPending(t.Context(), lotus.EmptyTSK)
	require.NoError(t, err)
	return pending
}

func balance(t *testing.T, node *devnet.Node, key address.Address) abi.TokenAmount {
	t.Helper()
	b, err := rawAPI(t, node).WalletBalance(t.Context(), key)
	require.NoError(t, err)
	return b
}

func tracked(t *testing.T, j chain.Journal, m jobs.Meaning) chain.Tracked {
	t.Helper()
	found, err := chain.Ledger{Shared: j}.Of(t.Context(), m)
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

// An order replaces at once what would wait, under the same nonce, and pays no more than it is allowed.
func TestReplaceByOrder(t *testing.T) {
	t.Parallel()
	node, journal, c := startClient(t)
	pre, old := preCommitSent(t, c, 1)
	spike(t, node, 3_000_000_000)
	advance(t, node, 1)

	key := aloneKey(pre.Meaning)
	_, err := c.Replace(t.Context(), key, big.Zero())
	requireClass(t, jobs.Funds, err)
	require.ErrorContains(t, err, "--max-fee")
	raised, err := c.Replace(t.Context(), key, devnet.FIL(1))
	require.NoError(t, err)
	require.Equal(t, []string{old}, raised.Replaced)
	require.Equal(t, jobs.MessagePushed, raised.State)
	require.Zero(t, raised.Nonce)
	require.True(t, raised.Offered.LessThanEqual(devnet.FIL(1)))

	before := balance(t, node, controlKey)
	advance(t, node, 8)
	require.Equal(t, jobs.Message{CID: raised.CID, State: jobs.MessageConfirmed}, message(t, c, pre.Meaning))
	landed := tracked(t, journal, pre.Meaning)
	require.Equal(t, big.Sub(before, balance(t, node, controlKey)), big.Add(landed.Paid, landed.Value), "what the ledger says was paid was")
	require.True(t, landed.Paid.GreaterThan(big.Zero()) && landed.Paid.LessThanEqual(landed.Offered))
	require.Equal(t, controlKey.String(), landed.Sender)

	_, err = c.Replace(t.Context(), key, big.Zero())
	requireClass(t, jobs.Rejected, err)
	_, err = c.Replace(t.Context(), "commit/s-t01000-1/f1", big.Zero())
	requireClass(t, jobs.Rejected, err)
}

// A message that is taken back never acts: its nonce lands empty, and the meaning may be sent again.
func TestCancel(t *testing.T) {
	t.Parallel()
	node, journal, c := startClient(t)
	first, second := preCommitOf(t, c, 1), preCommitOf(t, c, 2)
	old, err := sendPreCommit(t.Context(), c, first)
	require.NoError(t, err)
	_, err = sendPreCommit(t.Context(), c, second)
	require.NoError(t, err)

	taken, err := c.Cancel(t.Context(), aloneKey(first.Meaning), big.Zero())
	require.NoError(t, err)
	require.Equal(t, old, taken.Canceled)
	require.Equal(t, jobs.Message{CID: old, State: jobs.MessagePushed}, message(t, c, first.Meaning), "until its nonce lands")
	_, err = sendPreCommit(t.Context(), c, first)
	require.NoError(t, err)
	require.Len(t, inPool(t, node), 2, "nothing else is sent meanwhile")
	_, err = c.Cancel(t.Context(), aloneKey(first.Meaning), big.Zero())
	requireClass(t, jobs.Rejected, err)

	advance(t, node, 8)
	m := message(t, c, first.Meaning)
	require.Equal(t, jobs.MessageDropped, m.State)
	require.Equal(t, jobs.Transient, m.Fault.Class)
	require.Contains(t, m.Fault.Text, "taken back by an order")
	require.Equal(t, jobs.MessageConfirmed, message(t, c, second.Meaning).State, "the nonce above it lands")
	on, err := c.OnChain(t.Context(), first.Seal.ID)
	require.NoError(t, err)
	require.Nil(t, on.PreCommit)
	require.True(t, tracked(t, journal, first.Meaning).Paid.GreaterThan(big.Zero()), "the transfer's gas")

	again, err := sendPreCommit(t.Context(), c, first)
	require.NoError(t, err)
	advance(t, node, 8)
	require.Equal(t, jobs.Message{CID: again, State: jobs.MessageConfirmed}, message(t, c, first.Meaning))
	require.Equal(t, []chain.PastMessage{{CID: old, State: jobs.MessageDropped}}, tracked(t, journal, first.Meaning).Past)
	require.EqualValues(t, 3, used(t, node, controlKey))
}

// A message that lands although it was to be taken back counts.
func TestCancelComesTooLate(t *testing.T) {
	t.Parallel()
	node, _, c := startClient(t)
	pre, name := preCommitSent(t, c, 1)
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{DropMessages: 1}))
	_, err := c.Cancel(t.Context(), aloneKey(pre.Meaning), big.Zero())
	require.NoError(t, err)
	advance(t, node, 2)
	_, err = c.Cancel(t.Context(), aloneKey(pre.Meaning), big.Zero())
	requireClass(t, jobs.Rejected, err)
	require.ErrorContains(t, err, "too late")
	advance(t, node, 6)
	require.Equal(t, jobs.Message{CID: name, State: jobs.MessageConfirmed}, message(t, c, pre.Meaning))
}

// A canceled message that the mempool lost is pushed again as the transfer, and its fee is raised as any other's.
func TestCanceledMessageIsTended(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	pre, _ := preCommitSent(t, c, 1)
	_, err := c.Cancel(t.Context(), aloneKey(pre.Meaning), big.Zero())
	require.NoError(t, err)
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{DropPending: true}))
	spike(t, node, 3_000_000_000)
	advance(t, node, 10)
	require.NoError(t, c.Tend(t.Context()))
	require.Len(t, inPool(t, node), 1)
	advance(t, node, 10)
	require.NoError(t, c.Tend(t.Context()))
	advance(t, node, 8)
	require.Equal(t, jobs.MessageDropped, message(t, c, pre.Meaning).State)
	require.EqualValues(t, 1, used(t, node, controlKey))
}

// Orders leave alone what is not certain to be ours.
func TestOrdersLeaveForeignMessages(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	pre, _ := preCommitSent(t, c, 1)
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{DropPending: true}))
	foreign := transfer(t, node, devnet.Secp256k1Key("control"), 0)
	for _, order := range []func(context.Context, string, abi.TokenAmount) (chain.Tracked, error){c.Replace, c.Cancel} {
		_, err := order(t.Context(), aloneKey(pre.Meaning), big.Zero())
		requireClass(t, jobs.Rejected, err)
		require.ErrorContains(t, err, "not ours")
	}
	require.Equal(t, foreign, inPool(t, node)[0].Cid())

	common := dial(t, node, withJournal(openJournal(t)), shared, func(c *chain.Config) { c.Senders = []address.Address{ownerKey} })
	other, _ := preCommitSent(t, common, 2)
	_, err := common.Cancel(t.Context(), aloneKey(other.Meaning), big.Zero())
	requireClass(t, jobs.Rejected, err)
	require.ErrorContains(t, err, "shared")
}

// A nonce whose sender died before it signed is filled at once by order.
func TestCancelFillsAReservedNonce(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	journal := openJournal(t)
	pre := diedUnsigned(t, node, journal)

	waiting, err := chain.Ledger{Shared: journal}.Waiting(t.Context())
	require.NoError(t, err)
	require.Len(t, waiting, 1)
	require.Equal(t, chain.MessageReserved, waiting[0].State)
	require.Equal(t, pre.Meaning.String(), waiting[0].Members[0].For)
	c := dial(t, node, withJournal(journal))
	filler, err := c.Cancel(t.Context(), waiting[0].Key, big.Zero())
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(filler.Key, "fill/"), filler.Key)
	require.Equal(t, jobs.MessagePushed, filler.State)
	advance(t, node, 2)
	require.EqualValues(t, 1, used(t, node, controlKey))
}

// A process that died after it journaled a replacement left one that the mempool does not have: it is pushed, and not taken for somebody else's.
func TestReplacementIsPushedAfterACrash(t *testing.T) {
	t.Parallel()
	node, journal, c := startClient(t)
	pre, old := preCommitSent(t, c, 1)
	spike(t, node, 500_000_000)
	advance(t, node, 10)
	dying := dial(t, node, withJournal(crashAfterSwap{journal}))
	require.ErrorContains(t, dying.Tend(t.Context()), "crashed")
	require.Equal(t, old, inPool(t, node)[0].Cid().String())

	advance(t, node, 10)
	require.NoError(t, c.Tend(t.Context()))
	require.Equal(t, tracked(t, journal, pre.Meaning).CID, inPool(t, node)[0].Cid().String())
	require.NotEqual(t, old, inPool(t, node)[0].Cid().String())
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pre.Meaning).State)
}

// crashAfterSwap ends the process right after its first write.
type crashAfterSwap struct{ chain.Journal }

func (j crashAfterSwap) Swap(ctx context.Context, key string, old, next []byte) (bool, error) {
	_, err := j.Journal.Swap(ctx, key, old, next)
	return false, errors.Join(err, errCrashed)
}

// Without an order replacement ends at a number and at a cost.
func TestReplacementIsBounded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config   func(*chain.Config)
		replaced int
	}{
		"in number": {func(c *chain.Config) { c.MaxFeePreCommit, c.MaxReplacements = devnet.FIL(100), 2 }, 2},
		"in cost":   {func(*chain.Config) {}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node, journal, c := startClient(t, tc.config)
			pre, _ := preCommitSent(t, c, 1)
			for range 4 { // in each round the base fee is more than the last version pays
				spike(t, node, tracked(t, journal, pre.Meaning).FeeCap.Int64()+1)
				advance(t, node, 10)
				require.NoError(t, c.Tend(t.Context()))
			}
			got := tracked(t, journal, pre.Meaning)
			require.Len(t, got.Replaced, tc.replaced)
			require.Equal(t, got.CID, inPool(t, node)[0].Cid().String())
			if tc.replaced == 1 {
				require.True(t, got.Offered.LessThanEqual(milliFIL(25)), got.Offered.String())
			}
		})
	}
}

func milliFIL(n int64) abi.TokenAmount { return big.Mul(big.NewInt(n), big.NewInt(1e15)) }

// A message that pays what the market asks is not replaced, however long it waits.
func TestNoReplacementOfWhatPaysEnough(t *testing.T) {
	t.Parallel()
	node, journal, c := startClient(t)
	pre, _ := preCommitSent(t, c, 1)
	sent := inPool(t, node)[0]
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{DropPending: true}))
	advance(t, node, 10)
	_, err := rawAPI(t, node).MpoolPush(t.Context(), sent)
	require.NoError(t, err)
	require.NoError(t, c.Tend(t.Context()))
	require.Empty(t, tracked(t, journal, pre.Meaning).Replaced)
	require.EqualValues(t, 1, c.Calls()["WalletSignMessage"])
}
