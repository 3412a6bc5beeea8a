package chain_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/jobs"
)

// What one scheduler settled, another one must see in the sector at once: it remembers the pre-commit, and would call a commit that
// was executed without effect.
func TestAMessageSettledByAnotherScheduler(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	journal := openJournal(t)
	first, second := dial(t, node, withJournal(journal)), dial(t, node, withJournal(journal))
	pre, _ := preCommitSent(t, first, 1)
	advance(t, node, 20)
	for _, c := range []*chain.Client{first, second} {
		require.Equal(t, jobs.MessageConfirmed, message(t, c, pre.Meaning).State)
		on, err := c.OnChain(t.Context(), pre.Seal.ID)
		require.NoError(t, err)
		require.NotNil(t, on.PreCommit)
	}
	commit := commitOf(pre.Seal.ID)
	_, err := sendCommit(t.Context(), first, commit)
	require.NoError(t, err)
	advance(t, node, 7)
	for _, c := range []*chain.Client{first, second} {
		require.Equal(t, jobs.MessageConfirmed, message(t, c, commit.Meaning).State)
		on, err := c.OnChain(t.Context(), pre.Seal.ID)
		require.NoError(t, err)
		require.NotNil(t, on.Sector)
	}
}
