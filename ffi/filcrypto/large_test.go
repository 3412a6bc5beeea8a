//go:build filcrypto && large

package filcrypto_test

import (
	"io"
	"math/rand/v2"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/jobs"
)

// TestLargeSectorsAreEqual seals 512 MiB of data by either prover, from the data tree to
// the vanilla proof: every file, CommR and C1's output are the same. It takes minutes
// and 8 GiB of disk, so it is for `make test-large`.
func TestLargeSectorsAreEqual(t *testing.T) {
	filcrypto := newProver(t)
	seal := jobs.Seal{ID: jobs.SectorID{Miner: 1000, Number: 512}, Proof: abi.RegisteredSealProof_StackedDrg512MiBV1_1, Ticket: make([]byte, 32), Seed: make([]byte, 32)}
	random := rand.NewChaCha8([32]byte{5, 1, 2})
	_, _ = random.Read(seal.Ticket) // never fails
	_, _ = random.Read(seal.Seed)
	size, err := seal.Proof.SectorSize()
	require.NoError(t, err)

	var sealed []native.BenchResult
	for _, p := range []jobs.Prover{native.New(native.Options{}), filcrypto} {
		data := io.LimitReader(rand.NewChaCha8([32]byte{2}), int64(abi.PaddedPieceSize(size).Unpadded()))
		got, err := native.SealOnce(t.Context(), native.BenchOptions{Seal: seal, Data: data, Dir: t.TempDir(), Prover: p})
		require.NoError(t, err, p.Name())
		t.Logf("%s: %s, %+v", p.Name(), got.CommR, got.Seconds)
		got.Seconds = native.BenchSeconds{}
		sealed = append(sealed, got)
	}
	require.Len(t, sealed[0].Files, 6)
	require.Equal(t, sealed[0], sealed[1])
}
