package chain_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/jobs"
)

// memory is a journal that forgets nothing and costs nothing.
type memory struct {
	mu      sync.Mutex
	entries map[string][]byte
}

func newMemory() *memory { return &memory{entries: map[string][]byte{}} }

func (m *memory) Get(_ context.Context, keys ...string) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([][]byte, len(keys))
	for i, k := range keys {
		out[i] = m.entries[k]
	}
	return out, nil
}

func (m *memory) Swap(_ context.Context, key string, old, next []byte) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, ok := m.entries[key]
	if ok != (old != nil) || !bytes.Equal(now, old) {
		return false, nil
	}
	m.entries[key] = bytes.Clone(next)
	return true, nil
}

func (m *memory) Delete(_ context.Context, key string, old []byte) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, ok := m.entries[key]
	if !ok || !bytes.Equal(now, old) {
		return false, nil
	}
	delete(m.entries, key)
	return true, nil
}

func (m *memory) List(_ context.Context, prefix string) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string][]byte{}
	for k, v := range m.entries {
		if strings.HasPrefix(k, prefix) {
			out[k] = v
		}
	}
	return out, nil
}

// arm makes the process die after as many steps.
func (c *crash) arm(steps int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps = steps
}

// mend lets what crashed run again.
func (c *crash) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps, c.dead = 1<<20, false
}

func (c *crash) died() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// wanter is what once needs of a test.
type wanter interface {
	require.TestingT
	Helper()
}

// requireOnce wants every sector in at most one message that lives or did its work, and in none that landed in vain.
func requireOnce(t wanter, j chain.Journal) {
	t.Helper()
	all, err := chain.Ledger{Shared: j}.All(context.Background())
	require.NoError(t, err)
	carried := map[string]string{}
	for _, m := range all {
		require.NotEqual(t, jobs.MessageFailed, m.State, "%s landed in vain", m.Key)
		if m.CID == "" || m.State == jobs.MessageDropped {
			continue
		}
		for _, s := range m.Members {
			require.Empty(t, carried[s.For], "%s is in %s, too", s.For, m.Key)
			carried[s.For] = m.Key
		}
	}
}

// landedMessages counts the messages and fillers that the journal knows to have landed.
func landedMessages(t *testing.T, j chain.Journal) (n uint64) {
	t.Helper()
	all, err := chain.Ledger{Shared: j}.All(t.Context())
	require.NoError(t, err)
	for _, m := range all {
		if m.State == jobs.MessageConfirmed {
			n++
		}
	}
	return n
}

// modes are the two ways of getting a nonce.
var modes = map[string]struct {
	mode   func(*chain.Config)
	sender address.Address
}{
	"own nonces": {func(*chain.Config) {}, controlKey},
	"shared key": {func(c *chain.Config) { shared(c); c.Senders = []address.Address{ownerKey} }, ownerKey},
}

// attempt is one call for a batch: which of the sectors it has.
type attempt struct {
	batch   string
	members []int
}

// A process that dies after any call or journal write of a batch, and so before the next one, leaves something that the next ones finish, whether they repeat the batch, a part
// of it, or have its sectors in other batches: each sector lands once, in one message (design rule 13, issue: crash matrix).
func TestCrashBetweenAnyTwoSteps(t *testing.T) {
	t.Parallel()
	for name, m := range modes {
		for what, next := range map[string][]attempt{
			"repeated": {{"b-1", []int{0, 1, 2}}},
			"in part":  {{"b-1", []int{2, 0}}, {"b-2", []int{1}}},
			"in other": {{"b-3", []int{1, 2}}, {"b-2", []int{0}}},
			"anew":     {{"b-1", []int{3}}, {"b-2", []int{0, 1, 2}}}, // of the batch nothing is left but its name
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				steps := 0
				for crashAndGoOn(t, steps, m.mode, m.sender, next) {
					steps++
				}
				require.Greater(t, steps, 14, "steps of one sending")
			})
		}
	}
}

// crashAndGoOn tells whether the process died, so that there may be a later step to die at.
func crashAndGoOn(t *testing.T, steps int, mode func(*chain.Config), sender address.Address, next []attempt) bool {
	t.Helper()
	node := startNode(t)
	journal := newMemory()
	crash := &crash{steps: 1 << 20, after: true}
	dying := dial(t, node, withJournal(crashingJournal{journal, crash}), mode, func(c *chain.Config) { c.API = crashingProxy(t, node, crash) })
	pres := preCommitsOf(t, dying, 4)
	crash.arm(steps)
	_, err := dying.SendPreCommits(t.Context(), "b-1", pres[:3])
	require.Equal(t, crash.died(), err != nil, "%v", err)
	requireOnce(t, journal)

	if steps%2 == 1 {
		advance(t, node, 1) // what was pushed may have landed before anybody looks
	}
	c := dial(t, node, withJournal(journal), mode)
	for round := 0; ; round++ {
		require.Less(t, round, 40, "step %d", steps)
		waits := false
		for _, a := range next {
			var rs []jobs.PreCommitRequest
			for _, i := range a.members {
				rs = append(rs, pres[i])
			}
			sent, err := c.SendPreCommits(t.Context(), a.batch, rs)
			require.NoError(t, err, "step %d", steps)
			for _, s := range sent {
				if waits = waits || s.Fault != nil; s.Fault != nil {
					require.Equal(t, jobs.Transient, s.Fault.Class, "step %d: %s", steps, s.Fault.Text)
				}
			}
			requireOnce(t, journal)
		}
		if !waits {
			break
		}
		advance(t, node, 1)
	}
	for range 3 {
		require.NoError(t, c.Tend(t.Context()))
		advance(t, node, 9)
	}
	for _, a := range next {
		for _, i := range a.members {
			require.Equal(t, jobs.MessageConfirmed, message(t, c, pres[i].Meaning).State, "step %d", steps)
			on, err := c.OnChain(t.Context(), pres[i].Seal.ID)
			require.NoError(t, err)
			require.NotNil(t, on.PreCommit, "step %d", steps)
		}
	}
	requireOnce(t, journal)
	require.Equal(t, landedMessages(t, journal), used(t, node, sender), "the journal knows every message, step %d", steps)
	return crash.died()
}

// Random batches that overlap, sent by processes that die anywhere, by several at a time, with the shared journal lost now and then: every sector is
// pre-committed by one message.
func TestOverlappingBatches(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	number := 0
	rapid.Check(t, func(rt *rapid.T) {
		const sectors = 5
		shared, disk := newMemory(), newMemory()
		journal := chain.Mirror(shared, disk)
		c := dial(t, node, withJournal(journal))
		pres := preCommitsOf(t, c, number+sectors)[number:]
		number += sectors
		send := func(c *chain.Client, a attempt) error {
			var rs []jobs.PreCommitRequest
			for _, i := range a.members {
				rs = append(rs, pres[i])
			}
			_, err := c.SendPreCommits(t.Context(), a.batch, rs)
			return err
		}
		attempts := rapid.Custom(func(t *rapid.T) attempt {
			return attempt{
				fmt.Sprintf("b-%d-%d", number, rapid.IntRange(1, 2).Draw(t, "batch")),
				rapid.SliceOfNDistinct(rapid.IntRange(0, sectors-1), 1, sectors, rapid.ID).Draw(t, "members"),
			}
		})
		for range rapid.IntRange(1, 6).Draw(rt, "rounds") {
			switch rapid.SampledFrom([]string{"crash", "crash", "together", "epochs", "lose", "tend"}).Draw(rt, "act") {
			case "crash":
				crash := &crash{after: rapid.Bool().Draw(rt, "after"), steps: 1 << 20}
				dying := dial(t, node, withJournal(chain.Mirror(crashingJournal{shared, crash}, crashingJournal{disk, crash})), func(c *chain.Config) { c.API = crashingProxy(t, node, crash) })
				crash.arm(rapid.IntRange(0, 40).Draw(rt, "steps"))
				_ = send(dying, attempts.Draw(rt, "batch"))
			case "together":
				both := []attempt{attempts.Draw(rt, "one"), attempts.Draw(rt, "other")}
				var wg sync.WaitGroup
				for _, a := range both {
					wg.Go(func() { require.NoError(t, send(c, a)) })
				}
				wg.Wait()
			case "epochs":
				advance(t, node, rapid.IntRange(1, 12).Draw(rt, "epochs"))
			case "lose":
				shared.mu.Lock()
				clear(shared.entries)
				shared.mu.Unlock()
			case "tend":
				require.NoError(rt, c.Tend(t.Context()))
			}
			requireOnce(rt, disk)
		}
		all := attempt{fmt.Sprintf("b-%d-last", number), []int{0, 1, 2, 3, 4}}
		for range 3 {
			require.NoError(rt, send(c, all))
			requireOnce(rt, disk)
			advance(t, node, 11)
			require.NoError(rt, c.Tend(t.Context()))
		}
		advance(t, node, 8)
		for _, r := range pres {
			require.Equal(rt, jobs.MessageConfirmed, message(t, c, r.Meaning).State)
		}
		requireOnce(rt, disk)
	})
}
