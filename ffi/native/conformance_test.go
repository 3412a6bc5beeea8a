package native_test

import (
	"testing"

	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/ffi/provertest"
)

// TestConformance runs the suite that every prover passes.
func TestConformance(t *testing.T) {
	t.Parallel()
	p := native.New(native.Options{Threads: 2})
	t.Run("seal", func(t *testing.T) { t.Parallel(); provertest.Seal(t, p) })
	t.Run("bad input", func(t *testing.T) { t.Parallel(); provertest.BadInput(t, p) })
	t.Run("prove", func(t *testing.T) { t.Parallel(); provertest.Prove(t, p, "2k-data", "2k-v1-cc") })
}
