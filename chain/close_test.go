package chain_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/jobs"
)

// A handler that froze at an older fence must not send when it wakes up: a newer fence closed its meaning (docs/adr/0002).
func TestOlderMeaningIsClosed(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	older, newer := preCommitOf(t, c, 1), preCommitOf(t, c, 1)
	newer.Meaning.Fence = older.Meaning.Fence + 2

	_, err := sendPreCommit(t.Context(), c, newer)
	require.NoError(t, err)
	_, err = sendPreCommit(t.Context(), c, older)
	requireClass(t, jobs.Transient, err)
	require.ErrorContains(t, err, "newer attempt")
	advance(t, node, 7)
	require.EqualValues(t, 1, used(t, node, controlKey))
	require.Equal(t, jobs.MessageConfirmed, message(t, c, newer.Meaning).State)
}

// While an older message may land, the newer fence sends nothing; once it ended without effect, it does.
func TestNewerFenceWaitsForTheOlderMessage(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	older, newer := preCommitOf(t, c, 1), preCommitOf(t, c, 1)
	newer.Meaning.Fence = older.Meaning.Fence + 1

	_, err := sendPreCommit(t.Context(), c, older)
	require.NoError(t, err)
	_, err = sendPreCommit(t.Context(), c, newer)
	requireClass(t, jobs.Transient, err)
	require.ErrorContains(t, err, "may still land")

	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{DropPending: true}))
	advance(t, node, 12)
	require.NoError(t, c.Tend(t.Context())) // pushes the older one again: its nonce must land
	advance(t, node, 7)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, older.Meaning).State)
	name, err := sendPreCommit(t.Context(), c, newer)
	require.NoError(t, err)
	require.Empty(t, name, "the older message did what the newer is for")
	require.EqualValues(t, 1, used(t, node, controlKey))
}
