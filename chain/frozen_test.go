package chain_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/jobs"
)

// frozen stops a process before one of its steps, until it is let go.
type frozen struct {
	mu      sync.Mutex
	steps   int // left before the stop
	reached chan struct{}
	thaw    chan struct{}
}

func (f *frozen) step(do func()) error {
	f.mu.Lock()
	f.steps--
	stop := f.steps == -1
	f.mu.Unlock()
	if stop {
		close(f.reached)
		<-f.thaw
	}
	do()
	return nil
}

func freezeAfter(steps int) *frozen {
	return &frozen{steps: steps, reached: make(chan struct{}), thaw: make(chan struct{})}
}

func (f *frozen) arm(steps int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps = steps
}

type freezingJournal struct {
	chain.Journal
	frozen *frozen
}

func (j freezingJournal) Swap(ctx context.Context, key string, old, next []byte) (ok bool, err error) {
	_ = j.frozen.step(func() { ok, err = j.Journal.Swap(ctx, key, old, next) })
	return ok, err
}

// reserving are the writes of three pre-commits before their message is signed: the message,
// three claims, the nonce.
const reserving = 5

// frozenBeforeSigning starts a process that sends three pre-commits and freezes before its
// signature is written. Woken up, it signs, and has ended when wake returns.
func frozenBeforeSigning(t *testing.T, node *devnet.Node, journal chain.Journal) (pres []jobs.PreCommitRequest, wake func()) {
	t.Helper()
	f := freezeAfter(reserving)
	c := dial(t, node, withJournal(freezingJournal{journal, f}))
	pres = preCommitsOf(t, c, 3)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := c.SendPreCommits(t.Context(), "b-1", pres)
		assert.NoError(t, err)
	}()
	<-f.reached
	return pres, sync.OnceFunc(func() {
		close(f.thaw)
		<-ended
	})
}

// A process that freezes before any of its calls and journal writes, and so after the one before, and wakes up when its sectors were sent in other batches or by a newer fence,
// sends none of them again; neither if it found them in the message of a process that died.
func TestFrozenSender(t *testing.T) {
	t.Parallel()
	for what, thawed := range map[string]func(*testing.T, *devnet.Node, *chain.Client, []jobs.PreCommitRequest) []jobs.PreCommitRequest{
		"others": func(t *testing.T, node *devnet.Node, c *chain.Client, pres []jobs.PreCommitRequest) []jobs.PreCommitRequest {
			advance(t, node, 10) // it is given up
			_, err := c.SendPreCommits(t.Context(), "b-2", pres[1:])
			require.NoError(t, err)
			return pres
		},
		"twin": func(t *testing.T, _ *devnet.Node, c *chain.Client, pres []jobs.PreCommitRequest) []jobs.PreCommitRequest {
			_, err := c.SendPreCommits(t.Context(), "b-1", pres[:2])
			require.NoError(t, err)
			return pres
		},
		"newer fence": func(t *testing.T, node *devnet.Node, c *chain.Client, pres []jobs.PreCommitRequest) []jobs.PreCommitRequest {
			newer := slices.Clone(pres)
			newer[1].Meaning.Fence++
			for range 12 { // a message of the older fence may be on its way: then it does the work
				if sent, err := c.SendPreCommits(t.Context(), "b-2", newer[1:2]); err == nil && sent[0].Fault == nil {
					break
				}
				advance(t, node, 1)
			}
			return newer
		},
	} {
		for _, crashed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, crashed=%v", what, crashed), func(t *testing.T) {
				t.Parallel()
				for steps := 0; freezeAndGoOn(t, steps, crashed, thawed); steps++ {
					require.Less(t, steps, 60)
				}
			})
		}
	}
}

// freezeAndGoOn tells whether the process froze, so that there may be a later step to freeze at.
func freezeAndGoOn(t *testing.T, steps int, crashed bool,
	meanwhile func(*testing.T, *devnet.Node, *chain.Client, []jobs.PreCommitRequest) []jobs.PreCommitRequest,
) bool {
	t.Helper()
	node := startNode(t)
	journal := newMemory()
	f := freezeAfter(1 << 20)
	freezing := dial(t, node, withJournal(freezingJournal{journal, f}), func(c *chain.Config) { c.API = proxy(t, node, f.step) })
	c := dial(t, node, withJournal(journal))
	pres := preCommitsOf(t, c, 3)
	if crashed {
		atSigning := &crash{steps: reserving}
		_, err := dial(t, node, withJournal(crashingJournal{journal, atSigning})).SendPreCommits(t.Context(), "b-1", pres)
		require.ErrorContains(t, err, "crashed")
	}
	f.arm(steps)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = freezing.SendPreCommits(t.Context(), "b-1", pres) // whether or not it comes to anything
	}()
	froze := true
	select {
	case <-f.reached:
	case <-ended:
		froze = false
	}
	want := meanwhile(t, node, c, pres)
	requireOnce(t, journal)
	if froze {
		close(f.thaw)
	}
	<-ended
	requireOnce(t, journal)
	for n := 0; n < 3 || n < 40 && !allThere(t, c, want); n++ {
		_, err := c.SendPreCommits(t.Context(), "b-3", want)
		require.NoError(t, err)
		requireOnce(t, journal)
		advance(t, node, 6)
		require.NoError(t, c.Tend(t.Context()))
	}
	require.True(t, allThere(t, c, want), "step %d", steps)
	requireOnce(t, journal)
	return froze
}

// Two deliveries of one batch, of which the first froze before its signature was written: the second freezes in turn, anywhere, the first signs, and the second
// wakes up to what it knew before.
func TestFrozenTwins(t *testing.T) {
	t.Parallel()
	for steps, froze := 0, true; froze; steps++ {
		node := startNode(t)
		journal := newMemory()
		first := freezeAfter(reserving)
		second := freezeAfter(1 << 20)
		a := dial(t, node, withJournal(freezingJournal{journal, first}))
		b := dial(t, node, withJournal(freezingJournal{journal, second}), func(c *chain.Config) { c.API = proxy(t, node, second.step) })
		pres := preCommitsOf(t, a, 3)
		deliver := func(c *chain.Client) chan struct{} {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, err := c.SendPreCommits(t.Context(), "b-1", pres)
				assert.NoError(t, err)
			}()
			return ended
		}
		aEnded := deliver(a)
		<-first.reached
		second.arm(steps)
		bEnded := deliver(b)
		select {
		case <-second.reached:
		case <-bEnded:
			froze = false
		}
		close(first.thaw)
		<-aEnded
		close(second.thaw)
		<-bEnded
		requireOnce(t, journal)
		advance(t, node, 2)
		require.EqualValues(t, 1, used(t, node, controlKey), "step %d", steps)
	}
}

func allThere(t *testing.T, c *chain.Client, rs []jobs.PreCommitRequest) bool {
	t.Helper()
	for _, r := range rs {
		on, err := c.OnChain(t.Context(), r.Seal.ID)
		require.NoError(t, err)
		if on.PreCommit == nil {
			return false
		}
	}
	return true
}

// A process that froze before its signature was written wakes up when another message has used its nonce, and that was settled: its message can never land, and
// whoever asks is told so in the end, so that the sectors are sent anew.
func TestSignedAfterItsNonceWasUsed(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	journal := newMemory()
	pres, wake := frozenBeforeSigning(t, node, journal)
	c := dial(t, node, withJournal(journal))
	transfer(t, node, devnet.Secp256k1Key("control"), 0)
	advance(t, node, 40) // the base fee sinks
	require.EqualValues(t, 1, used(t, node, controlKey))
	require.NoError(t, c.Tend(t.Context()), "settles nonce 0")
	wake()
	for range 3 {
		_, err := c.SendPreCommits(t.Context(), "b-1", pres)
		require.NoError(t, err)
		advance(t, node, 8)
		require.NoError(t, c.Tend(t.Context()))
		message(t, c, pres[0].Meaning)
	}
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pres[0].Meaning).State)
	require.True(t, allThere(t, c, pres))
	requireOnce(t, journal)
	require.EqualValues(t, 2, used(t, node, controlKey))
}

// written does something once a journal wrote a key.
type written struct {
	chain.Journal
	prefix string
	do     func()
}

func (w written) Swap(ctx context.Context, key string, old, next []byte) (bool, error) {
	ok, err := w.Journal.Swap(ctx, key, old, next)
	if ok && strings.HasPrefix(key, w.prefix) {
		w.do()
	}
	return ok, err
}

// A process that froze before its signature was written wakes up when its nonce has just been given to a filler, and signs: the message keeps the nonce.
func TestSignedWhileItsNonceIsFilled(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	journal := newMemory()
	pres, wake := frozenBeforeSigning(t, node, journal)
	advance(t, node, 10)
	require.NoError(t, dial(t, node, withJournal(written{journal, "sender/", wake})).Tend(t.Context()))
	wake()
	c := dial(t, node, withJournal(journal))
	for range 2 {
		advance(t, node, 10)
		require.NoError(t, c.Tend(t.Context()))
	}
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pres[0].Meaning).State)
	requireOnce(t, journal)
	require.EqualValues(t, 1, used(t, node, controlKey))
	fillers, err := journal.List(t.Context(), "fill/")
	require.NoError(t, err)
	require.Empty(t, fillers)
}
