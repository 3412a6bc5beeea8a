package chain_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
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

// startClient runs a node and a client of it with a journal.
func startClient(t testing.TB, change ...func(*chain.Config)) (*devnet.Node, *chain.FileJournal, *chain.Client) {
	t.Helper()
	node, journal := startNode(t), openJournal(t)
	return node, journal, dial(t, node, append(change, withJournal(journal))...)
}

// preCommitSent sends a sector's pre-commit, which waits in the mempool then, and gives the message's name.
func preCommitSent(t testing.TB, c *chain.Client, number abi.SectorNumber) (pre jobs.PreCommitRequest, name string) {
	t.Helper()
	pre = preCommitOf(t, c, number)
	name, err := sendPreCommit(t.Context(), c, pre)
	require.NoError(t, err)
	return pre, name
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
