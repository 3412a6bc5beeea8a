package chain_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/jobs"
)

// damaged is what nobody can parse.
func damaged([]byte) []byte { return []byte(`{"State": 7, "Opening": 7, "Next": "newer"}`) }

// newer is what an lpseal with one more field wrote: no older one must take it for what it seems to be, nor cut it down.
func newer(whole []byte) []byte {
	if whole == nil {
		return []byte(`{"Novel":1}`)
	}
	return bytes.Replace(whole, []byte(`{`), []byte(`{"Novel":1,`), 1)
}

// What the journal holds and nobody can parse, such as what a newer lpseal wrote, stops nothing else: what is known of other messages is known, the other
// members of a batch are sent, and whoever depends on it waits and is not sent again. It is named in the log, left as it is, and never forgotten.
func TestUnreadableEntriesStopNothingElse(t *testing.T) {
	t.Parallel()
	type unreadable struct {
		key  string
		made func(whole []byte) []byte
	}
	for name, u := range map[string]unreadable{
		"a claim":              {"precommit/s-t01000-1/f1", damaged},
		"a newer claim":        {"precommit/s-t01000-1/f1", newer},
		"its message":          {"message/b-1/1", damaged},
		"its newer message":    {"message/b-1/1", newer},
		"the batch's next one": {"message/b-2/1", damaged},
		"a newer next one":     {"message/b-2/1", newer},
		"another sender":       {"sender/f" + ownerKey.String()[1:], damaged},
		"another newer sender": {"sender/f" + ownerKey.String()[1:], newer},
		"no sender":            {"sender/nobody", newer},
		"what was forgotten":   {"forgotten", newer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := u.key
			node := startNode(t)
			journal := newMemory()
			c := dial(t, node, withJournal(journal))
			pres := preCommitsOf(t, c, 3)
			_, err := c.SendPreCommits(t.Context(), "b-1", pres[:1])
			require.NoError(t, err)
			journal.mu.Lock()
			whole := journal.entries[key]
			unread := u.made(whole)
			journal.entries[key] = unread
			journal.mu.Unlock()

			var log bytes.Buffer
			c = dial(t, node, withJournal(journal), func(c *chain.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) }) // which remembers nothing
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
			require.Equal(t, string(unread), get(t, journal, key), "it is not written over")
			if key != "message/b-2/1" && key != "forgotten" { // of which nobody is in want
				require.Equal(t, 1, strings.Count(log.String(), "meaning="+key), "named once: %s", log.String())
			}
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

// What cannot be read is not forgotten, however old it seems, nor is what it may be about.
func TestUnreadableEntriesAreNotForgotten(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"claim": "precommit/s-t01000-1/f1", "message": "message/b-1/1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := startNode(t)
			journal := newMemory()
			c := dial(t, node, withJournal(journal))
			pres := preCommitsOf(t, c, 1)
			_, err := c.SendPreCommits(t.Context(), "b-1", pres)
			require.NoError(t, err)
			advance(t, node, 8)
			require.NoError(t, c.Tend(t.Context()))
			journal.age(t, 100_000)
			journal.entries[key] = newer(journal.entries[key])
			_, err = c.Forget(t.Context(), left(1))
			require.NoError(t, err)
			require.Contains(t, journal.keys(), key)
			require.Contains(t, journal.keys(), "precommit/s-t01000-1/f1", "the claim on it stays, too")
		})
	}
}

// A journal file with a line of more than this lpseal knows is not opened: what it wrote anew would lack it.
func TestANewerJournalFileIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "messages")
	require.NoError(t, os.WriteFile(path, []byte(`{"Key":"a/1","Value":1,"Until":7}`+"\n"), 0o600))
	_, err := chain.OpenFileJournal(path)
	require.ErrorContains(t, err, "line 1 is damaged, or a newer lpseal wrote it")
	_, err = chain.ReadFileJournal(path)
	require.ErrorContains(t, err, "line 1 is damaged, or a newer lpseal wrote it")
}
