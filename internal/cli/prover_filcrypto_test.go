//go:build filcrypto

package cli

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/internal/params"
	"github.com/lpseal/lpseal/jobs"
)

// TestEmbeddedNodeJudgesAggregates with the test parameters of this machine: what is no
// aggregate is refused for itself, and not because of them.
func TestEmbeddedNodeJudgesAggregates(t *testing.T) {
	dir, err := params.TestDir()
	require.NoError(t, err)
	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", string(dir))
	s := provertest.Named(t, "2k-data").Seal(t)
	seals := make([]jobs.Seal, 4)
	for i := range seals {
		seals[i] = s
		seals[i].ID.Number += abi.SectorNumber(i)
	}
	var fault *jobs.Fault
	require.ErrorAs(t, verifyAggregate(t.Context(), seals, []byte("no aggregate")), &fault)
	require.Equal(t, jobs.Input, fault.Class, fault.Text)

	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", t.TempDir())
	require.ErrorAs(t, verifyAggregate(t.Context(), seals, []byte("no aggregate")), &fault)
	require.Equal(t, jobs.Busy, fault.Class, fault.Text)
}
