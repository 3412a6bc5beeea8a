package chain_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/jobs"
)

// A batch that its sender cannot pay as a whole goes as far as the money reaches.
func TestBatchBeyondTheSendersFunds(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	has := balance(t, node, controlKey)
	// The fee that each sector may cost is what the sender has for three.
	c := dial(t, node, withJournal(newMemory()), func(c *chain.Config) {
		c.MaxFeePreCommit = big.Div(has, big.NewInt(3))
		c.MaxFeeMessage = has
	})
	pres := preCommitsOf(t, c, 4)
	sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
	require.NoError(t, err)
	first, second := requireTogether(t, sent[:2]), requireTogether(t, sent[2:])
	require.NotEqual(t, first, second)
}

// A member that costs more than the sender has waits alone, with its reason, and the node is not asked about what nobody can pay.
func TestAMemberBeyondTheSendersFunds(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(newMemory()))
	commits := preCommitted(t, node, c, 2)
	p := dealPiece
	p.Allocation = allocate(t, node, p)
	advance(t, node, 2)
	dear := withPiece(t, c, 10, p)
	advance(t, node, 15)
	commits = append([]jobs.CommitRequest{dear}, commits...)
	url := altered(t, node, func(asked, answer []byte) []byte {
		if bytes.Contains(asked, []byte("StateMinerInitialPledgeForSector")) && bytes.Contains(asked, []byte(",1024,")) {
			return answered(asked, `"result": "5000000000000000000"`)
		}
		return answer
	})
	left := func(left int64) *chain.Client {
		return dial(t, node, withJournal(newMemory()), func(c *chain.Config) {
			c.API = url
			c.MaxFeeCommit = big.Sub(balance(t, node, controlKey), devnet.FIL(left))
			c.MaxFeeMessage = big.NewInt(1) // a message of several costs no more
		})
	}
	poor := left(-1)
	sent, err := poor.SendCommits(t.Context(), "b-0", commits, nil)
	require.NoError(t, err)
	for _, s := range sent {
		require.Equal(t, jobs.Funds, s.Fault.Class)
	}
	require.Zero(t, poor.Calls()["GasEstimateMessageGas"])

	sent, err = left(3).SendCommits(t.Context(), "b-1", commits, nil)
	require.NoError(t, err)
	require.Equal(t, jobs.Funds, sent[0].Fault.Class)
	require.Contains(t, sent[0].Fault.Text, "send FIL to it")
	requireTogether(t, sent[1:])
}

// answered is an answer to a call.
func answered(asked []byte, what string) []byte {
	var request struct{ ID json.RawMessage }
	if err := json.Unmarshal(asked, &request); err != nil {
		panic(err) // the client under test wrote it
	}
	return fmt.Appendf(nil, `{"jsonrpc": "2.0", "id": %s, %s}`, request.ID, what)
}

// failsAt is a journal that cannot be written under a key.
type failsAt struct {
	chain.Journal
	key string
}

func (j failsAt) Swap(ctx context.Context, key string, old, next []byte) (bool, error) {
	if key == j.key {
		return false, fmt.Errorf("disk full")
	}
	return j.Journal.Swap(ctx, key, old, next)
}

// What goes wrong with the second message of a batch is no fault of those that the first one carries.
func TestTroubleAfterTheFirstMessageOfABatch(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(failsAt{newMemory(), "message/b-1/2"}))
	pres := preCommitsOf(t, c, 300)
	sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
	require.NoError(t, err)
	requireTogether(t, sent[:256])
	for _, s := range sent[256:] {
		require.Equal(t, jobs.Transient, s.Fault.Class)
		require.Contains(t, s.Fault.Text, "disk full")
	}
}

// Trouble with the rest of a batch, which is only asked about to find out what an aggregate would save, does not keep the checked ones.
func TestTroubleWithTheRestOfAnAggregate(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	maxFee := func(c *chain.Config) { c.MaxFeeCommit = devnet.FIL(5) }
	commits := preCommitted(t, node, dial(t, node, withJournal(newMemory()), maxFee), 240)
	estimates := 0
	c := dial(t, node, withJournal(newMemory()), maxFee, func(c *chain.Config) {
		c.API = altered(t, node, func(asked, answer []byte) []byte {
			if !bytes.Contains(asked, []byte("GasEstimateMessageGas")) {
				return answer
			}
			if estimates++; estimates != 3 { // all, half of them, the rest
				return answer
			}
			return answered(asked, `"error": {"code": 1, "message": "the node is busy"}`)
		})
	})
	var agg aggregator
	sent, err := c.SendCommits(t.Context(), "b-1", commits, &agg)
	require.NoError(t, err)
	require.NotEqual(t, requireTogether(t, sent[:120]), requireTogether(t, sent[120:]))
}

// A sector whose message would be longer than a message may be keeps no other back.
func TestAMemberLongerThanAMessage(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(newMemory()))
	commits := preCommitted(t, node, c, 3)
	commits[0].Pieces = []jobs.Piece{{CID: dealPiece.CID, Size: 1024, Notify: []jobs.Notification{{Address: controlKey, Payload: make([]byte, 64<<10)}}}}
	sent, err := c.SendCommits(t.Context(), "b-1", commits, nil)
	require.NoError(t, err)
	require.Equal(t, jobs.Rejected, sent[0].Fault.Class)
	require.Contains(t, sent[0].Fault.Text, "a message may have")
	requireTogether(t, sent[1:])
}

// A message of before that the mempool does not take now, such as for its fee, keeps back those that it carries and nobody else.
func TestAnEarlierMessageThatCannotBePushed(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	journal := newMemory()
	c := dial(t, node, withJournal(journal))
	pres := preCommitsOf(t, c, 4)
	_, err := c.SendPreCommits(t.Context(), "b-1", pres[:2])
	require.NoError(t, err)
	c = dial(t, node, withJournal(journal), func(c *chain.Config) {
		c.API = altered(t, node, func(asked, answer []byte) []byte {
			if bytes.Contains(asked, []byte("MpoolPush")) && bytes.Contains(asked, []byte(`"Nonce":0,`)) {
				return answered(asked, `"error": {"code": 1, "message": "gas fee cap too low"}`)
			}
			return answer
		})
	})
	sent, err := c.SendPreCommits(t.Context(), "b-2", pres)
	require.NoError(t, err)
	for _, s := range sent[:2] {
		require.Equal(t, jobs.Funds, s.Fault.Class)
		require.Contains(t, s.Fault.Text, "b-1")
	}
	requireTogether(t, sent[2:])
}
