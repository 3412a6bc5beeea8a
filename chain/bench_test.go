package chain_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// steadyBaseFee is what each unit of gas costs in these measurements: 0.1 nanoFIL.
const steadyBaseFee = 100_000_000

// steady keeps the base fee.
func steady(t testing.TB, node *devnet.Node) {
	t.Helper()
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{BaseFee: steadyBaseFee, BaseFeeEpochs: 1 << 20}))
}

// BenchmarkBatching sends pre-commits and commits of 1,000 sectors, each alone or in batches, and adds up what the messages used and paid by the gas model of the
// embedded node.
func BenchmarkBatching(b *testing.B) {
	const sectors = 1000
	for _, size := range []int{1, 10, 100, 200} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			for b.Loop() {
				node := startNode(b)
				steady(b, node)
				journal := newMemory()
				c := dial(b, node, withJournal(journal), func(c *chain.Config) { c.MaxFeePreCommit, c.MaxFeeCommit = devnet.FIL(5), devnet.FIL(5) })
				settle := func() {
					advance(b, node, 2)
					require.NoError(b, c.Tend(b.Context()))
				}
				pres := preCommitsOf(b, c, sectors)
				each := func(send func(batch string, from, to int) ([]jobs.Sent, error)) {
					for from := 0; from < sectors; from += size {
						sent, err := send(fmt.Sprintf("b-%d", from), from, min(from+size, sectors))
						require.NoError(b, err)
						requireTogether(b, sent)
						if from/size%25 == 24 || size >= 100 {
							settle() // a block has room for so much, and a sender for so many
						}
					}
					for range 6 {
						settle()
					}
				}
				each(func(batch string, from, to int) ([]jobs.Sent, error) {
					return c.SendPreCommits(b.Context(), batch, pres[from:to])
				})
				commits := commitsOf(pres)
				each(func(batch string, from, to int) ([]jobs.Sent, error) {
					return c.SendCommits(b.Context(), "c"+batch, commits[from:to], nil)
				})
				all, err := chain.Ledger{Shared: journal}.All(b.Context())
				require.NoError(b, err)
				gas, paid := int64(0), big.Zero()
				for _, m := range all {
					require.Equal(b, jobs.MessageConfirmed, m.State)
					gas, paid = gas+m.GasUsed, big.Add(paid, m.Paid)
				}
				b.ReportMetric(float64(len(all)), "messages")
				b.ReportMetric(float64(gas)/1e9, "Ggas")
				b.ReportMetric(float64(big.Div(paid, big.NewInt(1e12)).Int64())/1e6, "FIL")
			}
		})
	}
}

// BenchmarkProofToPush is the time from a proof that is ready to its message in the mempool, alone.
func BenchmarkProofToPush(b *testing.B) {
	node := startNode(b)
	c := dial(b, node, withJournal(openJournal(b)), func(c *chain.Config) {
		c.MaxFeePreCommit, c.MaxFeeCommit, c.HeadMaxAge = devnet.FIL(5), devnet.FIL(5), 500*time.Millisecond
	})
	pres := preCommitsOf(b, c, 200)
	sent, err := c.SendPreCommits(b.Context(), "b-1", pres)
	require.NoError(b, err)
	requireTogether(b, sent)
	advance(b, node, 15)
	commits := commitsOf(pres)
	calls := total(c)
	n := 0
	for ; b.Loop(); n++ {
		require.Less(b, n, len(commits), "give -benchtime 100x")
		if n%50 == 49 {
			b.StopTimer()
			advance(b, node, 7)
			require.NoError(b, c.Tend(b.Context()))
			b.StartTimer()
		}
		_, err := sendCommit(b.Context(), c, commits[n])
		require.NoError(b, err)
	}
	b.ReportMetric(float64(total(c)-calls)/float64(n), "rpc/message")
}

// watched puts messages that wait in the mempool into a journal: the base fee is above what they pay.
func watched(t testing.TB, node *devnet.Node, senders, each int) (*memory, []jobs.Meaning) {
	t.Helper()
	steady(t, node)
	journal := newMemory()
	api := rawAPI(t, node)
	var all []jobs.Meaning
	for s := range senders {
		key := devnet.Secp256k1Key(fmt.Sprintf("sender %d", s))
		signed := make([]*lotus.SignedMessage, each)
		meanings := make([]jobs.Meaning, each)
		for i := range signed {
			var err error
			signed[i], err = key.SignMessage(&lotus.Message{
				From: key.Address(), To: key.Address(), Nonce: uint64(i), Value: big.Zero(), GasLimit: 1_000_000,
				GasFeeCap: big.NewInt(1000), GasPremium: big.NewInt(100),
			})
			require.NoError(t, err)
			_, err = api.MpoolPush(t.Context(), signed[i])
			require.NoError(t, err)
			meanings[i] = jobs.Meaning{Stage: jobs.PreCommit, ID: jobs.SectorID{Miner: minerID, Number: abi.SectorNumber(s*each + i)}, Fence: 1}
		}
		require.NoError(t, chain.Watched(t.Context(), journal, node.Head().Height, signed, meanings))
		all = append(all, meanings...)
	}
	return journal, all
}

// thrifty raises no fee, and asks for heads when told to.
func thrifty(c *chain.Config) { c.MaxFeePreCommit, c.HeadMaxAge = big.NewInt(1_000_000), time.Hour }

// withSenders gives the network as many keys of its own.
func withSenders(n int) func(*devnet.Config) {
	return func(c *devnet.Config) {
		c.Accounts = devnet.DefaultAccounts()
		for s := range n {
			c.Accounts = append(c.Accounts, devnet.Account{Key: devnet.Secp256k1Key(fmt.Sprintf("sender %d", s)), Balance: devnet.FIL(100)})
		}
	}
}

// watch makes an epoch and looks at all messages. It gives the calls that this took.
func watch(t testing.TB, node *devnet.Node, c *chain.Client, meanings []jobs.Meaning) uint64 {
	t.Helper()
	advance(t, node, 1)
	before := total(c)
	_, err := chain.FreshHead(c, t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Tend(t.Context()))
	facts, err := c.Messages(t.Context(), meanings)
	require.NoError(t, err)
	require.Equal(t, jobs.MessagePushed, facts[len(facts)-1].State)
	return total(c) - before
}

// The calls of an epoch do not grow with the messages that have nothing new, fresh ones or such as wait for long.
func TestWatchingCostsNothing(t *testing.T) {
	t.Parallel()
	var calls [2][]uint64
	for i, each := range []int{5, 300} {
		node := startNode(t, withSenders(1))
		journal, meanings := watched(t, node, 1, each)
		c := dial(t, node, withJournal(journal), thrifty)
		for range 25 {
			calls[i] = append(calls[i], watch(t, node, c, meanings))
		}
	}
	require.Equal(t, calls[0], calls[1])
	require.LessOrEqual(t, calls[1][0], uint64(6), "while they are fresh")
}

// BenchmarkWatching is an epoch's look at 10,000 messages that wait in the mempool.
func BenchmarkWatching(b *testing.B) {
	const senders, each = 10, 1000
	node := startNode(b, withSenders(senders))
	journal, meanings := watched(b, node, senders, each)
	c := dial(b, node, withJournal(journal), thrifty)
	var calls, epochs uint64
	for b.Loop() {
		calls += watch(b, node, c, meanings)
		epochs++
	}
	b.ReportMetric(float64(calls)/float64(epochs), "rpc/epoch")
}
