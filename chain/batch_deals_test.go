package chain_test

import (
	"bytes"
	"regexp"
	"testing"

	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/jobs"
)

// besideDeals starts a node, pre-commits n sectors without data on it, and makes the deals and allocations that the pieces of more sectors are to speak of.
func besideDeals(t *testing.T, n int, promise func(*devnet.Node), config ...func(*devnet.Node, *chain.Config)) (*devnet.Node, *chain.Client, []jobs.CommitRequest) {
	t.Helper()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)), func(cfg *chain.Config) {
		for _, change := range config {
			change(node, cfg)
		}
	})
	commits := preCommitted(t, node, c, n)
	promise(node)
	advance(t, node, 2)
	return node, c, commits
}

// allocated gives the piece with an allocation, which one sector may claim.
func allocated(t *testing.T, p *jobs.Piece) func(*devnet.Node) {
	return func(node *devnet.Node) { p.Allocation = allocate(t, node, *p) }
}

// A notification that is refused on chain, for its deal started while the message waited, fails the whole batch. That condemns no other member: sent
// again, the one that is to blame stays behind with its reason, and the others land.
func TestBatchWhoseNotificationIsRefused(t *testing.T) {
	t.Parallel()
	p := dealPiece
	node, c, commits := besideDeals(t, 2, func(node *devnet.Node) {
		p.Notify = []jobs.Notification{publish(t, node, p, func(d *market.DealProposal) {
			d.StartEpoch = node.Head().Height + 20
			d.EndEpoch = d.StartEpoch + 300*day
		})}
	})
	late := withPiece(t, c, 10, p)
	advance(t, node, 13)
	commits = []jobs.CommitRequest{commits[0], late, commits[1]}
	sent, err := c.SendCommits(t.Context(), "b-1", commits, nil)
	require.NoError(t, err)
	requireTogether(t, sent)
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{DropPending: true}))
	advance(t, node, 10)
	require.NoError(t, c.Tend(t.Context()), "pushes it again, after the deal's start")
	advance(t, node, 8)
	for _, r := range commits {
		m := message(t, c, r.Meaning)
		require.Equal(t, jobs.MessageFailed, m.State)
		require.Equal(t, jobs.Transient, m.Fault.Class, "%s", m.Fault.Text)
	}
	sent, err = c.SendCommits(t.Context(), "b-2", commits, nil)
	require.NoError(t, err)
	require.Equal(t, jobs.Rejected, sent[1].Fault.Class)
	require.Contains(t, sent[1].Fault.Text, "a deal that started")
	requireTogether(t, []jobs.Sent{sent[0], sent[2]})
	advance(t, node, 8)
	for _, i := range []int{0, 2} {
		require.Equal(t, jobs.MessageConfirmed, message(t, c, commits[i].Meaning).State)
	}
}

// Two members that are good alone and bad together, such as two that claim one allocation, keep nobody else back.
func TestBatchOfConflictingMembers(t *testing.T) {
	t.Parallel()
	p := dealPiece
	node, c, commits := besideDeals(t, 1, allocated(t, &p))
	a, b := withPiece(t, c, 10, p), withPiece(t, c, 11, p)
	advance(t, node, 15)
	commits = []jobs.CommitRequest{commits[0], a, b}
	sent, err := c.SendCommits(t.Context(), "b-1", commits, nil)
	require.NoError(t, err)
	requireTogether(t, sent[:2])
	require.NotNil(t, sent[2].Fault)
}

// So it is where the node does not name the one that it refuses: the batch does not meet again for ever.
func TestBatchOfConflictingMembersThatNobodyNames(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][]int{"far apart": {1, 0, 2}, "side by side": {0, 1, 2}, "first": {1, 2, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := dealPiece
			node, c, all := besideDeals(t, 1, allocated(t, &p), func(node *devnet.Node, c *chain.Config) { c.API = namelessProxy(t, node) })
			all = append(all, withPiece(t, c, 10, p), withPiece(t, c, 11, p))
			advance(t, node, 15)
			var commits []jobs.CommitRequest
			for _, i := range order {
				commits = append(commits, all[i])
			}
			sent, err := c.SendCommits(t.Context(), "b-1", commits, nil)
			require.NoError(t, err)
			refused := 0
			for i, s := range sent {
				if s.Fault != nil {
					refused++
					require.Equal(t, jobs.Transient, s.Fault.Class)
					require.Contains(t, s.Fault.Text, "not alone")
					require.Equal(t, all[2].Meaning, commits[i].Meaning, "the later of the two")
				}
			}
			require.Equal(t, 1, refused)
			// Alone it is told what is wrong with it.
			advance(t, node, 8)
			sent, err = c.SendCommits(t.Context(), "b-2", all[2:], nil)
			require.NoError(t, err)
			require.Equal(t, jobs.Rejected, sent[0].Fault.Class)
		})
	}
}

// namelessProxy stands before a node whose refusals name no sector.
func namelessProxy(t *testing.T, node *devnet.Node) string {
	t.Helper()
	names := regexp.MustCompile(`sector \d+`)
	return altered(t, node, func(_, answer []byte) []byte {
		if !bytes.Contains(answer, []byte("message execution failed")) {
			return answer
		}
		return names.ReplaceAll(answer, []byte("a sector"))
	})
}

// A message lands without the sectors whose allocations were lost meanwhile: its result tells which and why, by codes that mean something else when a message
// fails as a whole.
func TestAllocationsLostOnTheWay(t *testing.T) {
	t.Parallel()
	p, over := dealPiece, dealPiece
	node, c, commits := besideDeals(t, 1, func(node *devnet.Node) {
		p.Allocation = allocate(t, node, p)
		over.Allocation = allocate(t, node, over, func(a *verifreg.Allocation) { a.Expiration = node.Head().Height + 10 })
	})
	commits = append(commits, withPiece(t, c, 10, p), withPiece(t, c, 11, p), withPiece(t, c, 12, over))
	advance(t, node, 15)
	require.NoError(t, chain.SendUnchecked(c, t.Context(), "b-1", commits))
	advance(t, node, 8)
	require.NoError(t, c.Tend(t.Context()))
	for i, state := range []jobs.MessageState{jobs.MessageConfirmed, jobs.MessageConfirmed, jobs.MessageFailed, jobs.MessageFailed} {
		m := message(t, c, commits[i].Meaning)
		require.Equal(t, state, m.State, "member %d", i)
		if state == jobs.MessageFailed {
			require.Equal(t, jobs.Rejected, m.Fault.Class, m.Fault.Text)
			require.Contains(t, m.Fault.Text, "an allocation of the sector cannot be claimed")
		}
	}
}
