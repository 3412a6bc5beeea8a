package chain_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

// sendPreCommit sends a batch of one.
func sendPreCommit(ctx context.Context, c *chain.Client, r jobs.PreCommitRequest) (string, error) {
	return alone(c.SendPreCommits(ctx, jobstest.Alone(r.Meaning), []jobs.PreCommitRequest{r}))
}

func sendCommit(ctx context.Context, c *chain.Client, r jobs.CommitRequest) (string, error) {
	return alone(c.SendCommits(ctx, jobstest.Alone(r.Meaning), []jobs.CommitRequest{r}, nil))
}

// alone gives what became of the one member, a fault as an error.
func alone(sent []jobs.Sent, err error) (string, error) {
	if err == nil && sent[0].Fault != nil {
		err = sent[0].Fault
	}
	if err != nil {
		return "", err
	}
	return sent[0].Message, nil
}

// actorNonce asks the node itself, past the client under test.
func actorNonce(t *testing.T, node *devnet.Node, key address.Address) uint64 {
	t.Helper()
	actor, err := rawAPI(t, node).StateGetActor(t.Context(), key, lotus.EmptyTSK)
	require.NoError(t, err)
	return actor.Nonce
}

func rawAPI(t testing.TB, node *devnet.Node, token ...string) *lotus.FullNode {
	t.Helper()
	header := http.Header{}
	for _, t := range token {
		header.Set("Authorization", "Bearer "+t)
	}
	var api lotus.FullNode
	closer, err := jsonrpc.NewMergeClient(t.Context(), node.URL(), lotus.Namespace, []any{&api}, header, jsonrpc.WithErrors(lotus.Errors()))
	require.NoError(t, err)
	t.Cleanup(closer)
	return &api
}

// aloneKey is the journal key of the first message of a batch of one.
func aloneKey(m jobs.Meaning) string { return "message/" + jobstest.Alone(m) + "/1" }
