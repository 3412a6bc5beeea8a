//go:build filcrypto

package filcrypto

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	ffi "github.com/filecoin-project/filecoin-ffi"

	"github.com/lpseal/lpseal/ffi/provertest"
)

// TestPhase1OutputIsTheLibrarys lets the library label a sector by itself and
// compares its description of the files with the one written here.
func TestPhase1OutputIsTheLibrarys(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"2k-cc", "2k-v1-cc"} {
		v := provertest.Named(t, name)
		s, f := v.Seal(t), provertest.Folders(t)
		staged := filepath.Join(t.TempDir(), "staged")
		require.NoError(t, os.WriteFile(staged, make([]byte, v.Size), 0o644))
		require.NoError(t, os.WriteFile(f.Sealed, nil, 0o644))
		want, err := ffi.SealPreCommitPhase1(s.Proof, f.Cache, staged, f.Sealed, s.ID.Number, s.ID.Miner, s.Ticket,
			[]abi.PieceInfo{{Size: abi.PaddedPieceSize(v.Size), PieceCID: s.CommD}})
		require.NoError(t, err)
		got, err := phase1(s, f.Cache)
		require.NoError(t, err)
		require.JSONEq(t, string(want), string(got))
	}
}
