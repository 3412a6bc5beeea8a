package devnet_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/devnet"
)

// BenchmarkEpoch is the price of an epoch in which nothing happens.
func BenchmarkEpoch(b *testing.B) {
	node, err := devnet.Start(b.Context(), devnet.Config{})
	require.NoError(b, err)
	defer node.Close()
	for b.Loop() {
		require.NoError(b, node.Advance(b.Context(), 1))
	}
}
