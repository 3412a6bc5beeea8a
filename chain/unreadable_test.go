package chain_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/jobs"
)

// What the journal holds and nobody can parse, such as what a newer lpseal wrote, stops nothing else: what is known of other messages is known, the other
// members of a batch are sent, and whoever depends on it waits and is not sent again.
func TestUnreadableEntriesStopNothingElse(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{
		"a claim":              "precommit/s-t01000-1/f1",
		"its message":          "message/b-1/1",
		"the batch's next one": "message/b-2/1",
		"another sender":       "sender/f" + ownerKey.String()[1:],
		"no sender":            "sender/nobody",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := startNode(t)
			journal := newMemory()
			c := dial(t, node, withJournal(journal))
			pres := preCommitsOf(t, c, 3)
			_, err := c.SendPreCommits(t.Context(), "b-1", pres[:1])
			require.NoError(t, err)
			journal.mu.Lock()
			whole := journal.entries[key]
			journal.entries[key] = []byte(`{"State": 7, "Opening": 7, "Next": "newer"}`)
			journal.mu.Unlock()

			c = dial(t, node, withJournal(journal)) // which remembers nothing
			for round := range 2 {
				sent, err := c.SendPreCommits(t.Context(), "b-2", pres)
				require.NoError(t, err)
				for i, s := range sent {
					if i > 0 || key != "precommit/s-t01000-1/f1" && key != "message/b-1/1" {
						require.Nil(t, s.Fault, "%d, round %d: %v", i, round, s.Fault)
						continue
					}
					require.Equal(t, jobs.Transient, s.Fault.Class)
					require.Contains(t, s.Fault.Text, "cannot be read")
				}
				require.NoError(t, c.Tend(t.Context()))
				advance(t, node, 8)
			}
			var meanings []jobs.Meaning
			for _, r := range pres {
				meanings = append(meanings, r.Meaning)
			}
			known, err := c.Messages(t.Context(), meanings)
			require.NoError(t, err)
			require.Equal(t, jobs.MessageConfirmed, known[1].State)
			require.Equal(t, jobs.MessageConfirmed, known[2].State)
			all, err := chain.Ledger{Shared: journal}.All(t.Context())
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(all), 2)
			if whole == nil {
				require.Equal(t, jobs.MessageConfirmed, known[0].State)
				return
			}
			require.ErrorContains(t, known[0].Unknown, "cannot be read")

			// It is mended, or lpseal was upgraded.
			journal.mu.Lock()
			journal.entries[key] = whole
			journal.mu.Unlock()
			require.NoError(t, c.Tend(t.Context()))
			advance(t, node, 1)
			require.Equal(t, jobs.MessageConfirmed, message(t, c, pres[0].Meaning).State)
			requireOnce(t, journal)
			require.EqualValues(t, 2, used(t, node, controlKey))
		})
	}
}
