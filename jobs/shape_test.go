package jobs

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
)

// TestFileNames are filecoin-ffi's: numbered only where there are several base trees.
func TestFileNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"sc-02-data-layer-1.dat", "sc-02-data-layer-2.dat"}, LayerFiles(interactive))
	require.Equal(t, []string{"sc-02-data-tree-c.dat"}, TreeCFiles(interactive))
	require.Equal(t, []string{"p_aux", "t_aux", "sc-02-data-tree-r-last.dat"}, LastingFiles(interactive))
	for proof, trees := range map[abi.RegisteredSealProof]int{3: 8, 8: 8, 13: 8, 9: 16, 14: 16} {
		require.Len(t, LayerFiles(proof), 11)
		require.Equal(t, "sc-02-data-layer-11.dat", LayerFiles(proof)[10])
		require.Len(t, TreeCFiles(proof), trees)
		require.Equal(t, "sc-02-data-tree-c-0.dat", TreeCFiles(proof)[0])
		require.Len(t, LastingFiles(proof), 2+trees)
	}
	require.Empty(t, LayerFiles(99))
	require.Equal(t, append(LayerFiles(synthetic), TreeCFiles(synthetic)...), ReleasedFiles(synthetic))
	require.Equal(t, LayerFiles(interactive), ReleasedFiles(interactive))
}

// TestSyntheticSizes holds the records to the sizes that rust-fil-proofs computes.
func TestSyntheticSizes(t *testing.T) {
	t.Parallel()
	for proof, c := range map[abi.RegisteredSealProof]struct {
		set    int
		record int64
	}{10: {64, 8_984}, 11: {1 << 18, 23_704}, 12: {1 << 18, 31_064}, 13: {1 << 18, 42_744}, 14: {1 << 18, 43_288}} {
		s := shapeFor(proof)
		require.Equal(t, c.set, s.SyntheticChallenges())
		require.Equal(t, c.record, s.SyntheticRecord(), "seal proof %d", proof)
	}
	require.Equal(t, int64(96+64*8_984), shapeFor(synthetic).SyntheticSize())
}

// TestSyntheticProofType: the same size under another number, where the network takes it.
func TestSyntheticProofType(t *testing.T) {
	t.Parallel()
	for proof := abi.RegisteredSealProof(5); proof < 10; proof++ {
		got, err := SyntheticOn(Network{Version: 28}, proof)
		require.NoError(t, err)
		require.Equal(t, proof+5, got)
	}
	_, err := SyntheticOn(Network{Name: "old", Version: 20}, 8)
	f, ok := Classify(t.Context(), err)
	require.True(t, ok)
	require.Equal(t, Rejected, f.Class)
	require.ErrorContains(t, err, `network "old" has version 20`)
}
