package chain_test

import (
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// elsewhere are the lines of the recovery table that an estimate cannot reach, with the test that does.
var elsewhere = map[string]func(*testing.T){
	"the sender's nonce or balance changed": TestAMessageThatItsSenderCannotPay,
	"an allocation is not there":            TestAllocationsLostOnTheWay,
	"nobody kept the result":                TestLostReceipt,
	"out of gas":                            TestBatchBeyondABlock,
}

// Every line of the recovery table that a failed execution leads to is reached on the embedded node, and has the class that it should.
func TestRecoveryTable(t *testing.T) {
	t.Parallel()
	stranger := devnet.Secp256k1Key("stranger")
	node := startNode(t, func(c *devnet.Config) {
		c.Accounts = append(devnet.DefaultAccounts(), devnet.Account{Key: stranger, Balance: devnet.FIL(1)})
		poor := devnet.DefaultMiner(1001, 2<<10)
		poor.Balance = big.Zero()
		punished := devnet.DefaultMiner(1002, 2<<10)
		punished.PunishedUntil = 900
		c.Miners = []devnet.Miner{devnet.DefaultMiner(1000, 2<<10), poor, punished}
	})
	c := dial(t, node, withJournal(openJournal(t)))
	api := rawAPI(t, node)
	pres := preCommitsOf(t, c, 3)
	commD, err := jobs.CommD(pres[2].Seal.Proof, []jobs.Piece{{CID: dataPiece, Size: 2048}})
	require.NoError(t, err)
	pres[2].CC, pres[2].Seal.CommD = false, commD // sectors 1 and 2 hold nothing, 3 the piece
	sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
	require.NoError(t, err)
	requireTogether(t, sent)
	advance(t, node, 20)
	require.NoError(t, c.Tend(t.Context()), "what landed is settled")
	preCommitSent(t, c, 4)
	advance(t, node, 2)

	s := &refusals{
		t: t, api: api, from: ownerKey, stranger: stranger.Address(), replica: pres[0].Seal.CommR, head: node.Head().Height,
		used: 1, empty: 1, filled: 3, early: 4, seen: map[string]bool{},
	}
	s.preCommits()
	s.commits()
	s.provenCommits()
	s.messages()
	s.try("the miner lacks deposit or pledge", jobs.Funds, ofAll, with(s.preCommit(asIs), func(m *lotus.Message) { m.To, m.Value = idAddress(t, 1001), big.Zero() }))
	s.try("the miner is punished for a consensus fault", jobs.Rejected, ofAll, with(s.preCommit(asIs), func(m *lotus.Message) { m.To = idAddress(t, 1002) }))

	// What the pre-commitments come to when nobody proves them: the client's own words, too.
	advance(t, node, 30*2880+20)
	s.try("the pre-commitment expired", jobs.Deadline, ofOne, s.commit(2, goodProof))
	on, err := c.OnChain(t.Context(), pres[1].Seal.ID)
	require.NoError(t, err)
	require.Nil(t, on.PreCommit, "the actor has it still, and takes no proof for it")
	_, err = sendCommit(t.Context(), c, commitOf(pres[1].Seal.ID))
	requireClass(t, jobs.Deadline, err)
	advance(t, node, 8*120+1) // it is cleaned up
	s.try("there is no pre-commitment", jobs.Deadline, ofOne, s.commit(2, goodProof))
	again := preCommitOf(t, c, 2)
	_, err = sendPreCommit(t.Context(), c, again)
	requireClass(t, jobs.Rejected, err)
	require.ErrorContains(t, err, "already allocated")
	require.ErrorContains(t, err, "abandon")

	for _, r := range chain.Recoveries() {
		if r.Exit != 0 && !s.seen[r.What] {
			require.NotNil(t, elsewhere[r.What], "nothing reaches %q", r.What)
		}
	}
}

// A batch that a block has no room for goes in several messages.
func TestBatchBeyondABlock(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(newMemory()), func(c *chain.Config) { c.MaxFeeCommit = devnet.FIL(5) })
	commits := preCommitted(t, node, c, 240)
	sent, err := c.SendCommits(t.Context(), "b-1", commits, nil)
	require.NoError(t, err)
	var names []string
	for i, s := range sent {
		require.Nil(t, s.Fault, "member %d", i)
		if !slices.Contains(names, s.Message) {
			names = append(names, s.Message)
		}
	}
	require.Len(t, names, 2, "240 proofs use more gas than a block has")
	advance(t, node, 8)
	committed := 0
	for _, r := range commits {
		on, err := c.OnChain(t.Context(), r.Seal.ID)
		require.NoError(t, err)
		if on.Sector != nil {
			committed++
		}
	}
	require.Equal(t, 240, committed)
}

// A message may sit in a block though its sender could not pay: a reorganisation took back the money after the mempool had taken the message. It did not land, and
// its nonce is not used: it waits for money, the same bytes are pushed again, and once they land the sectors tell so, though the node tells of the first block.
func TestAMessageThatItsSenderCannotPay(t *testing.T) {
	t.Parallel()
	node := startNode(t, func(c *devnet.Config) {
		c.Accounts = devnet.DefaultAccounts()
		c.Accounts[1].Balance = big.Zero()
	})
	journal := newMemory()
	c := dial(t, node, withJournal(journal))
	pres := preCommitsOf(t, c, 2)
	require.NoError(t, node.Fund(controlKey, devnet.FIL(1)))
	advance(t, node, 2)
	sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
	require.NoError(t, err)
	name, err := cid.Decode(requireTogether(t, sent))
	require.NoError(t, err)
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{Reorg: 2, CarelessBlocks: 1}))
	advance(t, node, 2)

	found, err := rawAPI(t, node).StateSearchMsg(t.Context(), lotus.EmptyTSK, name, -1, true)
	require.NoError(t, err)
	require.EqualValues(t, exitcode.SysErrSenderStateInvalid, found.Receipt.ExitCode)
	require.Zero(t, found.Receipt.GasUsed)
	require.Zero(t, used(t, node, controlKey))
	advance(t, node, 8)
	require.Equal(t, jobs.MessagePushed, message(t, c, pres[0].Meaning).State, "it may land still")
	require.ErrorContains(t, c.Tend(t.Context()), "not enough funds")
	sent, err = c.SendPreCommits(t.Context(), "b-2", pres)
	require.NoError(t, err)
	for _, s := range sent {
		require.Equal(t, jobs.Funds, s.Fault.Class, s.Fault.Text)
	}

	require.NoError(t, node.Fund(controlKey, devnet.FIL(1)))
	advance(t, node, 1)
	require.NoError(t, c.Tend(t.Context()))
	advance(t, node, 8)
	for _, r := range pres {
		m := message(t, c, r.Meaning)
		require.Equal(t, jobs.Message{CID: name.String(), State: jobs.MessageConfirmed}, m)
	}
	require.True(t, allThere(t, c, pres))
	requireOnce(t, journal)
	require.EqualValues(t, 1, used(t, node, controlKey))
}
