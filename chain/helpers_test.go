package chain_test

import (
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
)

// actorNonce asks the node itself, past the client under test.
func actorNonce(t *testing.T, node *devnet.Node, key address.Address) uint64 {
	t.Helper()
	actor, err := rawAPI(t, node).StateGetActor(t.Context(), key, lotus.EmptyTSK)
	require.NoError(t, err)
	return actor.Nonce
}

func rawAPI(t *testing.T, node *devnet.Node) *lotus.FullNode {
	t.Helper()
	var api lotus.FullNode
	closer, err := jsonrpc.NewMergeClient(t.Context(), node.URL(), lotus.Namespace, []any{&api}, nil, jsonrpc.WithErrors(lotus.Errors()))
	require.NoError(t, err)
	t.Cleanup(closer)
	return &api
}
