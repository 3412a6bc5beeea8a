package cli

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// TestProofs runs `proofs verify` on proofs that filecoin-ffi made: the scripts find the
// verifying key as file vk, the first case in $TICKET, $PROOF … and the second in
// $OTHER_TICKET and so on.
func TestProofs(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../ffi/native/testdata/groth16-2k.json")
	require.NoError(t, err)
	var vectors struct {
		Key   string `json:"verifying_key_hex"`
		Cases []struct {
			Ticket string `json:"ticket_hex"`
			Seed   string `json:"seed_hex"`
			CommD  string `json:"comm_d_cid"`
			CommR  string `json:"comm_r_cid"`
			Proof  string `json:"groth16_proof_hex"`
		}
	}
	require.NoError(t, json.Unmarshal(raw, &vectors))
	require.Len(t, vectors.Cases, 2)
	key, err := hex.DecodeString(vectors.Key)
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/proofs",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			for i, prefix := range []string{"", "OTHER_"} {
				c := vectors.Cases[i]
				env.Setenv(prefix+"TICKET", c.Ticket)
				env.Setenv(prefix+"SEED", c.Seed)
				env.Setenv(prefix+"COMM_D", c.CommD)
				env.Setenv(prefix+"COMM_R", c.CommR)
				env.Setenv(prefix+"PROOF", c.Proof)
			}
			env.Setenv("ZERO", hex.EncodeToString(make([]byte, 32)))
			env.Setenv("SHORT", vectors.Cases[0].Proof[2:])
			return os.WriteFile(filepath.Join(env.WorkDir, "vk"), key, 0o600)
		},
	})
}
