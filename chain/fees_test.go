package chain_test

import (
	"sync"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/jobs"
)

// A message of many sectors may cost so much for each, and no more than any message.
func TestMaximumFeeOfABatch(t *testing.T) {
	t.Parallel()
	const sectors = 10
	for name, tc := range map[string]struct {
		each, message abi.TokenAmount
		most          abi.TokenAmount
	}{
		"for each sector": {milliFIL(1), milliFIL(5000), milliFIL(sectors)},
		"for the message": {milliFIL(1), milliFIL(3), milliFIL(3)},
	} {
		for how, m := range modes {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				node := startNode(t)
				spike(t, node, 110_000_000)
				advance(t, node, 1)
				c := dial(t, node, withJournal(openJournal(t)), m.mode, func(c *chain.Config) { c.MaxFeePreCommit, c.MaxFeeMessage = tc.each, tc.message })
				_, err := c.SendPreCommits(t.Context(), "b-1", preCommitsOf(t, c, sectors))
				require.NoError(t, err)
				offered := inPool(t, node)[0].Message.RequiredFunds()
				require.True(t, offered.LessThanEqual(tc.most) && offered.GreaterThan(milliFIL(2)), offered.String())
			})
		}
	}
}

// While gas costs more than the configuration says nothing is estimated, signed or lost; a deadline that is near is worth the price.
func TestWaitForTheBaseFee(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	spike(t, node, 200_000_000)
	advance(t, node, 1)
	c := dial(t, node, withJournal(openJournal(t)), func(c *chain.Config) { c.WaitBaseFee = big.NewInt(150_000_000) })
	pre, pressed := preCommitOf(t, c, 1), preCommitOf(t, c, 2)
	_, err := sendPreCommit(t.Context(), c, pre)
	requireClass(t, jobs.Funds, err)
	require.ErrorContains(t, err, "wait_base_fee")
	require.Zero(t, c.Calls()["GasEstimateMessageGas"])

	pressed.TicketEpoch -= 2700 // may land for another 180 epochs
	_, err = sendPreCommit(t.Context(), c, pressed)
	require.NoError(t, err)

	spike(t, node, 150_000_000)
	advance(t, node, 1)
	_, err = sendPreCommit(t.Context(), c, pre)
	require.NoError(t, err)
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pre.Meaning).State)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pressed.Meaning).State)
	_, err = sendCommit(t.Context(), c, jobs.CommitRequest{Meaning: jobs.Meaning{Stage: jobs.Commit, ID: pre.Seal.ID, Fence: 1}, Seal: pre.Seal, Proof: goodProof})
	require.NotContains(t, err.Error(), "wait_base_fee", "at the limit nothing waits")
}

// A deal's start is a deadline of the pre-commit, too: the proof must land before it.
func TestADealDoesNotWaitForTheBaseFee(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	spike(t, node, 200_000_000)
	advance(t, node, 1)
	c := dial(t, node, withJournal(openJournal(t)), func(c *chain.Config) { c.WaitBaseFee = big.NewInt(150_000_000) })
	pre := preCommitOf(t, c, 1)
	pre.Terms.Start = node.Head().Height + 300
	_, err := sendPreCommit(t.Context(), c, pre)
	requireClass(t, jobs.Funds, err)
	advance(t, node, 60) // the seed comes 10 epochs after the pre-commit
	_, err = sendPreCommit(t.Context(), c, pre)
	require.NoError(t, err)
}

// Of two messages on their way the second does not count on what the first takes from the miner's balance.
func TestCollateralIsDrawnOnce(t *testing.T) {
	t.Parallel()
	balance := big.NewInt(1_500_000_000_000) // one deposit and a part of another
	node := startNode(t, func(c *devnet.Config) {
		m := devnet.DefaultMiner(minerID, 2<<10)
		m.Balance = balance
		c.Miners = []devnet.Miner{m}
	})
	journal := openJournal(t)
	c := dial(t, node, withJournal(journal), func(c *chain.Config) { c.CollateralFromMiner = true })
	funds, err := c.Funds(t.Context(), minerID)
	require.NoError(t, err)
	require.Equal(t, balance.String(), funds.Available.String())

	pres := preCommitsOf(t, c, 3)
	for _, r := range pres {
		_, err := sendPreCommit(t.Context(), c, r)
		require.NoError(t, err)
	}
	var values []string
	for _, m := range inPool(t, node) {
		values = append(values, m.Message.Value.String())
	}
	two := big.Mul(big.NewInt(2), funds.Deposit)
	require.Equal(t, []string{"0", big.Sub(two, balance).String(), funds.Deposit.String()}, values)
	advance(t, node, 8)
	for _, r := range pres {
		require.Equal(t, jobs.MessageConfirmed, message(t, c, r.Meaning).State)
	}
}

// So it is with two schedulers, each of which looks at the balance before the other one's message can be seen.
func TestCollateralIsDrawnOnceByTwoSchedulers(t *testing.T) {
	t.Parallel()
	node := startNode(t, func(c *devnet.Config) {
		m := devnet.DefaultMiner(minerID, 2<<10)
		m.Balance = big.NewInt(1_500_000_000_000) // one deposit and a part of another
		c.Miners = []devnet.Miner{m}
	})
	journal := newMemory()
	fromMiner := func(c *chain.Config) { c.CollateralFromMiner = true }
	second := dial(t, node, withJournal(journal), fromMiner)
	pres := preCommitsOf(t, second, 2)
	between := sync.OnceFunc(func() {
		_, err := sendPreCommit(t.Context(), second, pres[1])
		require.NoError(t, err)
	})
	first := dial(t, node, withJournal(written{journal, "message/", between}), fromMiner)
	_, err := sendPreCommit(t.Context(), first, pres[0])
	requireClass(t, jobs.Transient, err)
	_, err = sendPreCommit(t.Context(), first, pres[0])
	require.NoError(t, err)
	advance(t, node, 8)
	for _, r := range pres {
		require.Equal(t, jobs.MessageConfirmed, message(t, first, r.Meaning).State)
	}
	requireOnce(t, journal)
	require.EqualValues(t, 2, used(t, node, controlKey))
}
