package chain_test

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/jobs"
)

var epochs = regexp.MustCompile(`"(Height|At|OpenedAt|SignedAt|PushedAt)":(-?\d+)`)

// age makes the entries as old as if they had been written n epochs earlier.
func (m *memory) age(t *testing.T, n int) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, value := range m.entries {
		m.entries[key] = epochs.ReplaceAllFunc(value, func(found []byte) []byte {
			part := epochs.FindSubmatch(found)
			at, err := strconv.Atoi(string(part[2]))
			require.NoError(t, err)
			return []byte(`"` + string(part[1]) + `":` + strconv.Itoa(at-n))
		})
	}
}

func (m *memory) keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.entries))
}

// left gives the sectors that have left the pipeline, by their numbers.
func left(numbers ...int) func(context.Context, []jobs.SectorID) (map[jobs.SectorID]bool, error) {
	return func(_ context.Context, ids []jobs.SectorID) (map[jobs.SectorID]bool, error) {
		out := map[jobs.SectorID]bool{}
		for _, id := range ids {
			out[id] = slices.Contains(numbers, int(id.Number))
		}
		return out, nil
	}
}

// What is settled for long is forgotten once all sectors of the message have left the pipeline, by Redis and by the disk, and is not sent again then, wherever
// the forgetting was cut off.
func TestForget(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	const month = 100_000
	for steps, died := 0, true; died; steps++ {
		shared, disk := newMemory(), newMemory()
		c := dial(t, node, withJournal(chain.Mirror(shared, disk)))
		pres := preCommitsOf(t, c, 3*(steps+1))[3*steps:]
		_, err := c.SendPreCommits(t.Context(), "b-1", pres)
		require.NoError(t, err)
		advance(t, node, 8)
		for _, r := range pres {
			require.Equal(t, jobs.MessageConfirmed, message(t, c, r.Meaning).State)
		}
		all := []int{3*steps + 1, 3*steps + 2, 3*steps + 3}
		n, err := c.Forget(t.Context(), left(all...))
		require.NoError(t, err)
		require.Zero(t, n, "a handler that froze may still wake up")

		shared.age(t, month)
		disk.age(t, month)
		n, err = c.Forget(t.Context(), left(all[1:]...))
		require.NoError(t, err)
		require.Equal(t, 2, n, "the claims of those that left")
		require.Len(t, shared.keys(), 4, "message, claim, sender, and what was forgotten")
		known, err := c.Messages(t.Context(), []jobs.Meaning{pres[0].Meaning})
		require.NoError(t, err)
		require.Equal(t, jobs.MessageConfirmed, known[0].State)

		crash := &crash{steps: 1 << 20, after: steps%2 == 0}
		dying := dial(t, node, withJournal(chain.Mirror(crashingJournal{shared, crash}, crashingJournal{disk, crash})))
		crash.arm(steps / 2)
		_, err = dying.Forget(t.Context(), left(all...))
		require.Equal(t, crash.died(), err != nil)
		died = crash.died()
		require.NotContains(t, disk.keys(), "message/b-1/2")
		for _, key := range disk.keys() {
			require.Contains(t, shared.keys(), key, "a copy that stayed alone would be put back")
		}
		_, err = c.Forget(t.Context(), left(all...))
		require.NoError(t, err)
		for _, j := range []*memory{shared, disk} {
			require.Len(t, j.keys(), 2, "%v", j.keys())
		}

		before := used(t, node, controlKey)
		sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
		require.NoError(t, err)
		require.Equal(t, make([]jobs.Sent, 3), sent, "the chain has them, and no message of ours is known")
		advance(t, node, 2)
		require.Equal(t, before, used(t, node, controlKey))
	}
}

// A disk's copy of what Redis forgot is no message that Redis lost.
func TestForgottenMessagesAreNotListed(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	shared, disk := newMemory(), newMemory()
	c := dial(t, node, withJournal(chain.Mirror(shared, disk)))
	pres := preCommitsOf(t, c, 2)
	for i, batch := range []string{"b-1", "b-2"} {
		_, err := c.SendPreCommits(t.Context(), batch, pres[i:i+1])
		require.NoError(t, err)
	}
	advance(t, node, 8)
	require.NoError(t, c.Tend(t.Context()))
	other := dial(t, node, withJournal(shared)) // of another host
	shared.age(t, 100_000)
	disk.age(t, 100_000)
	list := func() (keys []string) {
		all, err := chain.Ledger{Shared: shared, Disks: []chain.Journal{disk}}.All(t.Context())
		require.NoError(t, err)
		for _, m := range all {
			keys = append(keys, m.Key)
		}
		return keys
	}
	_, err := shared.Delete(t.Context(), "message/b-2/1", shared.entries["message/b-2/1"])
	require.NoError(t, err)
	require.Equal(t, []string{"message/b-2/1", "message/b-1/1"}, list(), "the disk has what Redis lost")
	n, err := other.Forget(t.Context(), left(1, 2))
	require.NoError(t, err)
	require.Equal(t, 3, n, "message and claims")
	require.Empty(t, list())
}
