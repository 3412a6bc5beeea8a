package chain_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/jobs"
)

// A node that signs something else than it was given, or signs it badly, has nothing pushed, whatever its estimate made of the message: of that only the gas
// figures are taken.
func TestWhatANodeAltersIsNotSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method   string
		from, to string // in the answer
		refused  string // why nothing is sent; empty if it is
	}{
		"the estimate's value":    {method: "GasEstimateMessageGas", from: `"Value":"`, to: `"Value":"9`},
		"the estimate's receiver": {method: "GasEstimateMessageGas", from: `"To":"t01000"`, to: `"To":"t0101"`},
		"the estimate's nonce":    {method: "GasEstimateMessageGas", from: `"Nonce":0`, to: `"Nonce":7`},
		"the signed value":        {method: "WalletSignMessage", from: `"Value":"`, to: `"Value":"9`, refused: "another message than it was given"},
		"the signed nonce":        {method: "WalletSignMessage", from: `"Nonce":0`, to: `"Nonce":7`, refused: "another message than it was given"},
		"the signature":           {method: "WalletSignMessage", from: `"Data":"`, to: `"Data":"AAAA`, refused: "the wallet's signature"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := startNode(t)
			changed := false
			api := altered(t, node, func(asked, answer []byte) []byte {
				if !bytes.Contains(asked, []byte(c.method)) {
					return answer
				}
				out := bytes.Replace(answer, []byte(c.from), []byte(c.to), 1)
				changed = changed || !bytes.Equal(out, answer)
				return out
			})
			journal := newMemory()
			client := dial(t, node, withJournal(journal), func(cfg *chain.Config) { cfg.API = api })
			pre := preCommitOf(t, client, 1)
			_, err := sendPreCommit(t.Context(), client, pre)
			require.True(t, changed)
			if c.refused != "" {
				requireClass(t, jobs.Bug, err)
				require.ErrorContains(t, err, c.refused)
				require.Zero(t, client.Calls()["MpoolPush"])
				return
			}
			require.NoError(t, err)
			advance(t, node, 8)
			require.Equal(t, jobs.MessageConfirmed, message(t, client, pre.Meaning).State)
			require.True(t, allThere(t, client, []jobs.PreCommitRequest{pre}))
		})
	}
}
