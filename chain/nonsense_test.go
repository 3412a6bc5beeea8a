package chain_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/jobs"
)

// answering stands before a node and gives another result to the calls of one method, while it is on.
type answering struct {
	method, result string
	mu             sync.Mutex
	on             bool
}

func (a *answering) turn(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.on = on
}

func (a *answering) change(asked, answer []byte) []byte {
	var call struct {
		ID     json.RawMessage
		Method string
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := json.Unmarshal(asked, &call); err != nil || !a.on || call.Method != "Filecoin."+a.method {
		return answer
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":%s}`, call.ID, a.result)
}

// A node, or what stands before it, that answers a call with nothing, or with something of another shape, ends no process and loses nothing: once it answers
// as it should, pre-commit and commit land.
func TestNonsenseIsBorne(t *testing.T) {
	t.Parallel()
	for result, methods := range map[string][]string{
		"null": {
			"Version", "StateGetNetworkParams", "ChainHead", "ChainGetTipSetByHeight", "ChainGetTipSet", "StateGetActor", "StateMinerInfo", "StateAccountKey",
			"StateMinerAllocated", "StateMinerPreCommitDepositForPower", "StateMinerInitialPledgeForSector", "StateMinerAvailableBalance", "StateGetRandomnessFromBeacon",
			"StateMinerProvingDeadline", "WalletBalance", "WalletSignMessage", "GasEstimateMessageGas", "GasEstimateGasPremium", "GasEstimateFeeCap", "MpoolGetNonce",
			"MpoolPush", "MpoolPushMessage", "MpoolPending",
		},
		"[null]": {"MpoolPending"},
		"{}":     {"ChainHead", "ChainGetTipSetByHeight", "StateSearchMsg", "WalletSignMessage", "GasEstimateMessageGas", "MpoolPushMessage"},
	} {
		for _, method := range methods {
			t.Run(method+" "+result, func(t *testing.T) {
				t.Parallel()
				bearNonsense(t, method, result)
			})
		}
	}
}

func bearNonsense(t *testing.T, method, result string) {
	t.Helper()
	node := startNode(t)
	a := &answering{method: method, result: result}
	api := altered(t, node, a.change)
	journal := newMemory()
	c := dial(t, node, withJournal(journal), func(c *chain.Config) {
		c.API, c.CollateralFromMiner = api, true
		if method == "MpoolPushMessage" {
			shared(c)
			c.Senders = []address.Address{ownerKey}
		}
	})
	ask := func(id jobs.SectorID, m jobs.Meaning) { // what comes of it is for those who asked
		_, _ = c.Miner(t.Context(), minerID)
		_, _ = c.Messages(t.Context(), []jobs.Meaning{m})
		_, _ = c.OnChain(t.Context(), id)
		_, _ = c.Seed(t.Context(), minerID, 5)
		_, _ = c.Funds(t.Context(), minerID)
		_, _ = c.HeadAge(t.Context())
		_, _ = c.Proving(t.Context(), id, 3)
		_ = c.Tend(t.Context())
		chain.LookAtNodes(c, t.Context())
	}
	land := func(id jobs.SectorID, m jobs.Meaning, send func() (string, error)) {
		t.Helper()
		a.turn(true)
		ask(id, m)
		_, _ = send()
		spike(t, node, 500_000_000) // what was sent waits, and is to be replaced
		advance(t, node, 10)
		ask(id, m)
		spike(t, node, 100)
		advance(t, node, 8)
		ask(id, m)
		a.turn(false)
		chain.LookAtNodes(c, t.Context())
		for tries := 0; message(t, c, m).State != jobs.MessageConfirmed; tries++ {
			require.Less(t, tries, 6)
			_, _ = send()
			advance(t, node, 8)
			_ = c.Tend(t.Context())
		}
	}
	pre := preCommitOf(t, c, 1)
	land(pre.Seal.ID, pre.Meaning, func() (string, error) { return sendPreCommit(t.Context(), c, pre) })
	commit := commitOf(pre.Seal.ID)
	land(pre.Seal.ID, commit.Meaning, func() (string, error) { return sendCommit(t.Context(), c, commit) })
	on, err := c.OnChain(t.Context(), pre.Seal.ID)
	require.NoError(t, err)
	require.NotNil(t, on.Sector)
	requireOnce(t, journal)
}

// A nonce that no mempool can have come to is not reserved: all below it would have to be filled.
func TestANonceFarAheadIsNotReserved(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	a := &answering{method: "MpoolGetNonce", result: "5000"}
	api := altered(t, node, a.change)
	c := dial(t, node, withJournal(newMemory()), func(c *chain.Config) { c.API = api })
	pre := preCommitOf(t, c, 1)
	a.turn(true)
	_, err := sendPreCommit(t.Context(), c, pre)
	requireClass(t, jobs.Transient, err)
	require.ErrorContains(t, err, "5000")
	a.turn(false)
	_, err = sendPreCommit(t.Context(), c, pre)
	require.NoError(t, err)
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pre.Meaning).State)
}
