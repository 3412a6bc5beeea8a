package chain_test

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// What is on chain, or on its way, is not sent again even if the whole journal is lost.
func TestLostJournal(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	before := dial(t, node, withJournal(openJournal(t)))
	pre, _ := preCommitSent(t, before, 7)

	after := dial(t, node, withJournal(openJournal(t)), func(c *chain.Config) { c.HeadMaxAge = time.Hour }) // it remembers the head, where it may
	_, err := sendPreCommit(t.Context(), after, pre)
	requireClass(t, jobs.Transient, err)
	require.ErrorContains(t, err, "mempool")

	advance(t, node, 2)
	estimates := after.Calls()["GasEstimateMessageGas"]
	name, err := sendPreCommit(t.Context(), after, pre)
	require.NoError(t, err)
	require.Empty(t, name, "the chain has it from a message that the journal does not know")
	require.Equal(t, estimates, after.Calls()["GasEstimateMessageGas"], "the chain is asked before a message is made")

	other := pre
	other.Seal.CommR = commR(t, 99)
	_, err = sendPreCommit(t.Context(), after, other)
	requireClass(t, jobs.Rejected, err)
	require.ErrorContains(t, err, "CommR")
	advance(t, node, 5)
	require.EqualValues(t, 1, used(t, node, controlKey))
}

// What lies in the mempool with our key and is not in the journal, whoever sent it, keeps its nonce: ours gets the next one, and does not outbid it.
func TestANonceInTheMempoolIsUsed(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	pre := preCommitOf(t, c, 1)
	foreign := transfer(t, node, devnet.Secp256k1Key("control"), 0)
	_, err := sendPreCommit(t.Context(), c, pre)
	require.NoError(t, err)
	pending, err := rawAPI(t, node).MpoolPending(t.Context(), lotus.EmptyTSK)
	require.NoError(t, err)
	require.Len(t, pending, 2)
	require.Equal(t, foreign, pending[0].Cid())
	require.EqualValues(t, 1, pending[1].Message.Nonce)
}

// Messages that the mempool lost are pushed again with the same bytes.
func TestTendPushesAgain(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	first, second := preCommitOf(t, c, 1), preCommitOf(t, c, 2)
	names := make([]string, 2)
	for i, r := range []jobs.PreCommitRequest{first, second} {
		var err error
		names[i], err = sendPreCommit(t.Context(), c, r)
		require.NoError(t, err)
	}
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{DropPending: true}))
	advance(t, node, 9)
	require.NoError(t, c.Tend(t.Context()))
	require.Equal(t, jobs.MessagePushed, message(t, c, first.Meaning).State)
	pending, err := rawAPI(t, node).MpoolPending(t.Context(), lotus.EmptyTSK)
	require.NoError(t, err)
	require.Empty(t, pending, "nothing is done too early")
	advance(t, node, 1)
	require.NoError(t, c.Tend(t.Context()))
	advance(t, node, 7)
	require.Equal(t, jobs.Message{CID: names[1], State: jobs.MessageConfirmed}, message(t, c, second.Meaning))
	require.Equal(t, jobs.Message{CID: names[0], State: jobs.MessageConfirmed}, message(t, c, first.Meaning))
	require.EqualValues(t, 2, used(t, node, controlKey))
}

// A message whose fee no longer covers the base fee is replaced under the same nonce, and whichever lands counts.
func TestTendReplaces(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	pre, old := preCommitSent(t, c, 1)
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{BaseFee: 500_000_000, BaseFeeEpochs: 1000}))
	advance(t, node, 10)
	require.Zero(t, used(t, node, controlKey), "the old fee does not pay")
	require.NoError(t, c.Tend(t.Context()))
	raised := message(t, c, pre.Meaning)
	require.Equal(t, jobs.MessagePushed, raised.State)
	require.NotEqual(t, old, raised.CID)
	advance(t, node, 7)
	require.Equal(t, jobs.Message{CID: raised.CID, State: jobs.MessageConfirmed}, message(t, c, pre.Meaning))
	require.EqualValues(t, 1, used(t, node, controlKey))
}

// A message with our nonce that is not ours is left alone, even if ours pays more, and when it landed ours is dropped and may be sent anew.
func TestForeignMessage(t *testing.T) {
	t.Parallel()
	for name, premium := range map[string]int64{"ours pays less": 200_000, "ours pays more": 50_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			foreignMessage(t, premium)
		})
	}
}

func foreignMessage(t *testing.T, premium int64) {
	t.Helper()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	pre, ours := preCommitSent(t, c, 1)
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{DropPending: true}))
	foreign := transferAt(t, node, devnet.Secp256k1Key("control"), 0, premium)
	stays := func() {
		t.Helper()
		pending, err := rawAPI(t, node).MpoolPending(t.Context(), lotus.EmptyTSK)
		require.NoError(t, err)
		require.Len(t, pending, 1)
		require.Equal(t, foreign, pending[0].Cid(), "a foreign message is never replaced")
	}
	again, err := sendPreCommit(t.Context(), c, pre)
	require.NoError(t, err)
	require.Equal(t, ours, again)
	stays()
	advanceEmpty(t, node, 10)
	require.NoError(t, c.Tend(t.Context()))
	stays()

	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{}))
	advance(t, node, 30) // the base fee sinks again
	require.Equal(t, jobs.Message{CID: ours, State: jobs.MessageDropped}, message(t, c, pre.Meaning))
	again, err = sendPreCommit(t.Context(), c, pre)
	require.NoError(t, err)
	require.NotEqual(t, ours, again)
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pre.Meaning).State)
}

// advanceEmpty makes epochs in which no message pays the base fee.
func advanceEmpty(t *testing.T, node *devnet.Node, epochs int) {
	t.Helper()
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{BaseFee: 2_000_000, BaseFeeEpochs: 1000}))
	advance(t, node, epochs)
}

// transfer sends nothing from a key to itself, past the client under test.
func transfer(t *testing.T, node *devnet.Node, key *lotus.Key, nonce uint64) any {
	t.Helper()
	return transferAt(t, node, key, nonce, 200_000)
}

// transferAt does so at a premium.
func transferAt(t *testing.T, node *devnet.Node, key *lotus.Key, nonce uint64, premium int64) any {
	t.Helper()
	signed, err := key.SignMessage(&lotus.Message{
		From: key.Address(), To: key.Address(), Nonce: nonce, Value: big.NewInt(1), GasLimit: 1_000_000,
		GasFeeCap: big.NewInt(1_000_000), GasPremium: big.NewInt(premium),
	})
	require.NoError(t, err)
	name, err := rawAPI(t, node).MpoolPush(t.Context(), signed)
	require.NoError(t, err)
	return name
}

// Nothing is pushed whose bytes this host's disk does not have, however often it is tried (design rule 13).
func TestNothingIsPushedWithoutTheDisk(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	shared, disk := newMemory(), newMemory()
	c := dial(t, node, withJournal(chain.Mirror(shared, diskFull{disk})))
	pres := preCommitsOf(t, c, 2)
	for range 3 {
		sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
		if err == nil {
			require.NotNil(t, sent[0].Fault)
			err = sent[0].Fault
		}
		require.ErrorContains(t, err, "no space left")
		_ = c.Tend(t.Context()) // which cannot push it, either
		require.Empty(t, inPool(t, node))
		advance(t, node, 11)
	}
	c = dial(t, node, withJournal(chain.Mirror(shared, disk)))
	sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
	require.NoError(t, err)
	name := requireTogether(t, sent)
	require.Contains(t, string(disk.entries["message/b-1/1"]), `"Signed"`)
	advance(t, node, 8)
	require.Equal(t, jobs.Message{CID: name, State: jobs.MessageConfirmed}, message(t, c, pres[0].Meaning))
}

// diskFull is a disk that has no room for signed messages.
type diskFull struct{ *memory }

func (d diskFull) Swap(ctx context.Context, key string, old, next []byte) (bool, error) {
	if bytes.Contains(next, []byte(`"Signed":`)) {
		return false, errors.New("no space left on device")
	}
	return d.memory.Swap(ctx, key, old, next)
}

// A nonce that was reserved and never used is filled, so that later messages land; the meaning it was for takes another one.
func TestTendFillsReservedNonce(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	journal := openJournal(t)
	first := diedUnsigned(t, node, journal)

	c := dial(t, node, withJournal(journal))
	second, _ := preCommitSent(t, c, 2)
	advance(t, node, 10)
	require.Zero(t, used(t, node, controlKey), "the gap holds it up")
	require.NoError(t, c.Tend(t.Context()))
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, second.Meaning).State)
	require.EqualValues(t, 2, used(t, node, controlKey))

	_, err := sendPreCommit(t.Context(), c, first)
	require.NoError(t, err)
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, first.Meaning).State)
	require.EqualValues(t, 3, used(t, node, controlKey))
}

// So it is where the maximum fee is below the market's premium: the filler offers what it may, and a mempool takes it.
func TestAFillerStaysWithinTheMaximumFee(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	journal := openJournal(t)
	diedUnsigned(t, node, journal)
	advance(t, node, 80) // the base fee sinks
	c := dial(t, node, withJournal(journal), func(c *chain.Config) { c.MaxFeePreCommit = big.NewInt(2_000_000 * 50_000) })
	require.NoError(t, c.Tend(t.Context()))
	advance(t, node, 2)
	require.EqualValues(t, 1, used(t, node, controlKey))
}

// A nonce that was reserved and that somebody else uses meanwhile is not filled over that message.
func TestAForeignMessageIsNotFilledOver(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	journal := openJournal(t)
	pre := diedUnsigned(t, node, journal)
	foreign := transferAt(t, node, devnet.Secp256k1Key("control"), 0, 50_000)
	advanceEmpty(t, node, 10)
	c := dial(t, node, withJournal(journal))
	require.NoError(t, c.Tend(t.Context()))
	pending, err := rawAPI(t, node).MpoolPending(t.Context(), lotus.EmptyTSK)
	require.NoError(t, err)
	require.Len(t, pending, 1)
	require.Equal(t, foreign, pending[0].Cid())

	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{}))
	advance(t, node, 30) // the base fee sinks again
	require.NoError(t, c.Tend(t.Context()))
	_, err = sendPreCommit(t.Context(), c, pre)
	require.NoError(t, err)
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pre.Meaning).State)
	require.EqualValues(t, 2, used(t, node, controlKey))
}

// diesUnsigned ends the process once a nonce was reserved: at the first write over an entry.
type diesUnsigned struct{ chain.Journal }

func (j diesUnsigned) Swap(ctx context.Context, key string, old, next []byte) (ok bool, err error) {
	if old != nil {
		return false, errCrashed
	}
	return j.Journal.Swap(ctx, key, old, next)
}

// diedUnsigned has a process send a pre-commit and die once the nonce was reserved.
func diedUnsigned(t *testing.T, node *devnet.Node, journal chain.Journal) jobs.PreCommitRequest {
	t.Helper()
	dying := dial(t, node, withJournal(diesUnsigned{journal}))
	pre := preCommitOf(t, dying, 1)
	_, err := sendPreCommit(t.Context(), dying, pre)
	require.ErrorContains(t, err, "crashed", "after the nonce was reserved")
	return pre
}

// A landed message whose receipt nobody has is judged by the sector's state.
func TestLostReceipt(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	pre, name := preCommitSent(t, c, 1)
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{LoseReceipts: 1}))
	advance(t, node, 8)
	require.Equal(t, jobs.Message{CID: name, State: jobs.MessageConfirmed}, message(t, c, pre.Meaning))
}

// So is one whose receipt does not hold what it returned: nobody else could tell how its sectors fared.
func TestReceiptWithoutItsReturn(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	returned := regexp.MustCompile(`"Return":"[^"]*"`)
	api := altered(t, node, func(asked, answer []byte) []byte {
		if !bytes.Contains(asked, []byte("StateSearchMsg")) {
			return answer
		}
		return returned.ReplaceAll(answer, []byte(`"Return":null`))
	})
	c := dial(t, node, withJournal(openJournal(t)), func(c *chain.Config) { c.API = api })
	commits := preCommitted(t, node, c, 3)
	commits[1].Proof = make([]byte, 192)
	require.NoError(t, chain.SendUnchecked(c, t.Context(), "b-1", commits))
	advance(t, node, 8)
	for i, r := range commits {
		m := message(t, c, r.Meaning)
		if i != 1 {
			require.Equal(t, jobs.MessageConfirmed, m.State)
			continue
		}
		require.Equal(t, jobs.MessageFailed, m.State)
		require.Equal(t, jobs.Transient, m.Fault.Class, "sending again finds out")
	}
}

// A message that was reorganised away lands again, and is not confirmed in between.
func TestReorg(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		node := startNode(t)
		c := dial(t, node, withJournal(openJournal(t)))
		pre, name := preCommitSent(t, c, 1)
		advance(t, node, 4)
		require.Equal(t, jobs.MessageLanded, message(t, c, pre.Meaning).State)
		require.NoError(t, node.Reorg(t.Context(), 4, lost))
		require.Equal(t, jobs.MessagePushed, message(t, c, pre.Meaning).State)
		if lost {
			advance(t, node, 10)
			require.NoError(t, c.Tend(t.Context()))
		}
		advance(t, node, 8)
		require.Equal(t, jobs.Message{CID: name, State: jobs.MessageConfirmed}, message(t, c, pre.Meaning))
		require.EqualValues(t, 1, used(t, node, controlKey))
	}
}

// A reorganisation below the confidence takes back what was believed. The nonce that it frees is filled, so that later messages land, and the meaning is
// sent again.
func TestReorgBelowConfidence(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	first, second := preCommitOf(t, c, 1), preCommitOf(t, c, 2)
	name, err := sendPreCommit(t.Context(), c, first)
	require.NoError(t, err)
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, first.Meaning).State)
	require.NoError(t, node.Reorg(t.Context(), 8, true))

	_, err = sendPreCommit(t.Context(), c, second)
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, c.Tend(t.Context()))
		advance(t, node, 10)
	}
	require.Equal(t, jobs.MessageConfirmed, message(t, c, second.Meaning).State)
	again, err := sendPreCommit(t.Context(), c, first)
	require.NoError(t, err)
	require.NotEqual(t, name, again)
	advance(t, node, 8)
	require.Equal(t, jobs.Message{CID: again, State: jobs.MessageConfirmed}, message(t, c, first.Meaning))
	require.EqualValues(t, 3, used(t, node, controlKey))
}

// So it is while an earlier message, which landed, cannot be settled because its entry cannot be read.
func TestAGapAboveAnUnreadableEntry(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	journal := newMemory()
	c := dial(t, node, withJournal(journal))
	pres := preCommitsOf(t, c, 3)
	send := func(r jobs.PreCommitRequest, epochs int) {
		t.Helper()
		_, err := sendPreCommit(t.Context(), c, r)
		require.NoError(t, err)
		advance(t, node, epochs)
	}
	send(pres[0], 1)
	journal.mu.Lock()
	journal.entries[aloneKey(pres[0].Meaning)] = damaged(nil)
	journal.mu.Unlock()
	send(pres[1], 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pres[1].Meaning).State)
	require.NoError(t, node.Reorg(t.Context(), 8, true))
	send(pres[2], 1)
	require.EqualValues(t, 1, used(t, node, controlKey))
	for range 3 {
		require.NoError(t, c.Tend(t.Context()))
		advance(t, node, 10)
	}
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pres[2].Meaning).State)
}

// A node that has not synced to where the message landed must not be believed that it is missing.
func TestNodeBehind(t *testing.T) {
	t.Parallel()
	ahead, behind := startNode(t), startNode(t)
	journal := openJournal(t)
	c := dial(t, ahead, withJournal(journal))
	pre, _ := preCommitSent(t, c, 1)
	advance(t, ahead, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pre.Meaning).State)
	lagging := dial(t, behind, withJournal(journal))
	_, err := sendPreCommit(t.Context(), lagging, pre)
	requireClass(t, jobs.Transient, err)
	require.ErrorContains(t, err, "sync")
}

// Nor that a pre-commit is, which it has not come to: the sector would be held as if that had expired.
func TestNodeBehindAPreCommit(t *testing.T) {
	t.Parallel()
	behind := startNode(t)
	c := dial(t, behind, withJournal(openJournal(t)))
	pre := preCommitOf(t, c, 1)
	r := &jobs.Record{ID: pre.Seal.ID, Proof: pre.Seal.Proof, CommR: pre.Seal.CommR, PoRep: goodProof, PreCommitEpoch: 11, CommitDeadline: 11 + 30*2880 + 10}
	send := func() error {
		_, err := alone(jobs.RowOf(jobs.Commit).DoBatch(t.Context(), &jobs.Env{Chain: c}, "b-1", []*jobs.Record{r}))
		return err
	}
	err := send()
	requireClass(t, jobs.Transient, err)
	require.ErrorContains(t, err, "sync")
	advance(t, behind, 6)
	err = send()
	requireClass(t, jobs.Transient, err)
	advance(t, behind, 1)
	requireClass(t, jobs.Deadline, send()) // it is where the effect would show
}

// A message that failed on chain is told with its class; the same meaning may then be sent again, once the chain was asked.
func TestFailedMessage(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	ours := dial(t, node, withJournal(openJournal(t)))
	pre, _ := preCommitSent(t, ours, 1)
	// Another program pre-commits the number with a higher fee in the same epoch.
	foreign := dial(t, node, withJournal(openJournal(t)), shared, func(c *chain.Config) { c.Senders = []address.Address{ownerKey} })
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{DropPending: true}))
	other := pre
	other.Seal.CommR = commR(t, 9)
	_, err := sendPreCommit(t.Context(), foreign, other)
	require.NoError(t, err)
	advance(t, node, 10)
	require.NoError(t, ours.Tend(t.Context()), "pushes ours again, which must fail now")
	advance(t, node, 8)
	m := message(t, ours, pre.Meaning)
	require.Equal(t, jobs.MessageFailed, m.State)
	require.Equal(t, jobs.Rejected, m.Fault.Class)
	require.Contains(t, m.Fault.Text, "exit code 16")
	_, err = sendPreCommit(t.Context(), ours, pre)
	requireClass(t, jobs.Rejected, err)
	require.ErrorContains(t, err, "CommR")
}

// A refusal that the estimate gives costs no nonce, and has its class.
func TestRefusals(t *testing.T) {
	t.Parallel()
	node := startNode(t, func(c *devnet.Config) {
		c.Accounts = append(devnet.DefaultAccounts(), devnet.Account{Key: devnet.Secp256k1Key("stranger"), Balance: devnet.FIL(1)})
	})
	reader := dial(t, node)
	pre := preCommitOf(t, reader, 1)
	for name, tc := range map[string]struct {
		class  jobs.FaultClass
		text   string
		config func(*chain.Config)
		change func(*jobs.PreCommitRequest)
	}{
		"read-only client":   {jobs.Bug, "no message journal", func(c *chain.Config) { c.Journal = nil }, nil},
		"old ticket":         {jobs.Deadline, "too old", nil, func(r *jobs.PreCommitRequest) { r.TicketEpoch = -3800 }},
		"future ticket":      {jobs.Transient, "must be before now", nil, func(r *jobs.PreCommitRequest) { r.TicketEpoch = 100 }},
		"wrong proof":        {jobs.Rejected, "unsupported seal proof", nil, func(r *jobs.PreCommitRequest) { r.Seal.Proof = abi.RegisteredSealProof_StackedDrg32GiBV1_1 }},
		"worker unshared":    {jobs.Rejected, "shared: true", func(c *chain.Config) { c.Senders = []address.Address{ownerKey} }, nil},
		"stranger as sender": {jobs.Rejected, "is control address, worker or owner", func(c *chain.Config) { c.Senders = []address.Address{devnet.Secp256k1Key("stranger").Address()} }, nil},
		"maximum fee":        {jobs.Funds, "maximum fee", func(c *chain.Config) { c.MaxFeePreCommit = big.NewInt(1) }, nil},
		"poor sender":        {jobs.Funds, "send FIL", func(c *chain.Config) { c.MaxFeePreCommit = devnet.FIL(5_000) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change := tc.config
			if change == nil {
				change = func(*chain.Config) {}
			}
			c := dial(t, node, withJournal(openJournal(t)), change)
			r := pre
			if tc.change != nil {
				tc.change(&r)
			}
			_, err := sendPreCommit(t.Context(), c, r)
			requireClass(t, tc.class, err)
			require.ErrorContains(t, err, tc.text)
			require.Zero(t, c.Calls()["MpoolPush"])
			require.Zero(t, c.Calls()["WalletSignMessage"])
		})
	}
}

// A commit is refused while there is nothing to prove, before the seed, and with a bad proof; none of it reaches the mempool.
func TestCommitRefusals(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	pre := preCommitOf(t, c, 1)
	commit := commitOf(pre.Seal.ID)
	_, err := sendCommit(t.Context(), c, commit)
	requireClass(t, jobs.Deadline, err)

	_, err = sendPreCommit(t.Context(), c, pre)
	require.NoError(t, err)
	advance(t, node, 3)
	_, err = sendCommit(t.Context(), c, commit)
	requireClass(t, jobs.Transient, err)

	advance(t, node, 12)
	bad := commit
	bad.Proof = make([]byte, 192)
	_, err = sendCommit(t.Context(), c, bad)
	requireClass(t, jobs.Input, err)
	require.EqualValues(t, 1, c.Calls()["MpoolPush"], "the pre-commit's")

	_, err = sendCommit(t.Context(), c, commit)
	require.NoError(t, err, "the same meaning with a good proof")
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, commit.Meaning).State)
}

// With collateral from the miner's balance the message carries no value.
func TestCollateralFromMiner(t *testing.T) {
	t.Parallel()
	for _, fromMiner := range []bool{false, true} {
		node := startNode(t)
		c := dial(t, node, withJournal(openJournal(t)), func(c *chain.Config) { c.CollateralFromMiner = fromMiner })
		_, err := sendPreCommit(t.Context(), c, preCommitOf(t, c, 1))
		require.NoError(t, err)
		pending, err := rawAPI(t, node).MpoolPending(t.Context(), lotus.EmptyTSK)
		require.NoError(t, err)
		require.Len(t, pending, 1)
		require.Equal(t, fromMiner, pending[0].Message.Value.IsZero(), "value %s", pending[0].Message.Value)
	}
}
