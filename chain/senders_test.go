package chain_test

import (
	"fmt"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/jobs"
)

func TestFIL(t *testing.T) {
	t.Parallel()
	for atto, want := range map[string]string{
		"0":                      "0 FIL",
		"1":                      "1 attoFIL",
		"999999999":              "999999999 attoFIL",
		"65565108224":            "65 nFIL",
		"1000000000000":          "0.000001 FIL",
		"1500000000000000000":    "1.500000 FIL",
		"-1500000000000000000":   "-1.500000 FIL",
		"-100000000000000000":    "-0.100000 FIL",
		"1000000000000000000000": "1000.000000 FIL",
	} {
		amount, err := big.FromString(atto)
		require.NoError(t, err)
		require.Equal(t, want, fmt.Sprintf("%s", chain.FIL(amount)))
	}
	require.Equal(t, "0 FIL", fmt.Sprint(chain.FIL(abi.TokenAmount{})))
}

// A message that does not land holds up those behind it, and not the pipeline: another sender takes over, and gives way once it landed.
func TestStuckSenderComesLast(t *testing.T) {
	t.Parallel()
	second := devnet.Secp256k1Key("second")
	node := startNode(t, func(c *devnet.Config) {
		c.Accounts = append(devnet.DefaultAccounts(), devnet.Account{Key: second, Balance: devnet.FIL(100)})
		m := devnet.DefaultMiner(minerID, 2<<10)
		m.Control = append(m.Control, len(c.Accounts)-1)
		c.Miners = []devnet.Miner{m}
	})
	c := dial(t, node, withJournal(openJournal(t)))
	send := func(number abi.SectorNumber) jobs.Meaning {
		t.Helper()
		r, _ := preCommitSent(t, c, number)
		return r.Meaning
	}
	first := send(1)
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{DropPending: true}))
	advance(t, node, 30)
	send(2)
	require.Equal(t, controlKey, inPool(t, node)[0].Message.From, "not for long yet")
	advance(t, node, 1)
	third := send(3)
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, third).State)
	require.EqualValues(t, 1, used(t, node, second.Address()))
	require.Zero(t, used(t, node, controlKey))

	require.NoError(t, c.Tend(t.Context()))
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, first).State)
	send(4)
	require.Equal(t, controlKey, inPool(t, node)[0].Message.From)
}

func TestBriefAddress(t *testing.T) {
	t.Parallel()
	require.Equal(t, "t3vbnop6np…aq5votea", chain.BriefAddress("t3vbnop6np7hslg5ud6c2exvm3ez4v4ge6dyckzlitso7ulj2nbklxmgjzwtirub4hoql5ca6eq4kpaq5votea"))
	require.Equal(t, "t1s4ef6ed23ln3yhgxxr5ji2ybxah7vbsozgsobpy", chain.BriefAddress("t1s4ef6ed23ln3yhgxxr5ji2ybxah7vbsozgsobpy"))
}
