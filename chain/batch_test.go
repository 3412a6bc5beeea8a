package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/jobs"
)

// preCommitsOf are requests for as many CC sectors, numbered from 1.
func preCommitsOf(t testing.TB, c *chain.Client, n int) []jobs.PreCommitRequest {
	t.Helper()
	rs := make([]jobs.PreCommitRequest, n)
	for i := range rs {
		rs[i] = preCommitOf(t, c, abi.SectorNumber(i+1))
	}
	return rs
}

// commitsOf are proofs of pre-committed sectors.
func commitsOf(pres []jobs.PreCommitRequest) []jobs.CommitRequest {
	rs := make([]jobs.CommitRequest, len(pres))
	for i, r := range pres {
		rs[i] = commitOf(r.Seal.ID)
	}
	return rs
}

// preCommitted lands a batch of pre-commitments and waits for the seed.
func preCommitted(t *testing.T, node *devnet.Node, c *chain.Client, n int) []jobs.CommitRequest {
	t.Helper()
	pres := preCommitsOf(t, c, n)
	sent, err := c.SendPreCommits(t.Context(), "b-pre", pres)
	require.NoError(t, err)
	requireTogether(t, sent)
	advance(t, node, 15)
	return commitsOf(pres)
}

// requireTogether wants all members in one message, and gives its name.
func requireTogether(t testing.TB, sent []jobs.Sent) string {
	t.Helper()
	for i, s := range sent {
		require.Nil(t, s.Fault, "member %d", i)
		require.NotEmpty(t, s.Message)
		require.Equal(t, sent[0].Message, s.Message, "member %d", i)
	}
	return sent[0].Message
}

// A batch goes in one message, which stands for each of its members.
func TestBatch(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	pres := preCommitsOf(t, c, 10)
	sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
	require.NoError(t, err)
	name := requireTogether(t, sent)
	again, err := c.SendPreCommits(t.Context(), "b-1", pres)
	require.NoError(t, err)
	require.Equal(t, sent, again)
	other, err := c.SendPreCommits(t.Context(), "b-2", pres[3:5])
	require.NoError(t, err)
	require.Equal(t, sent[3:5], other, "a member is not sent again in another batch")

	advance(t, node, 15)
	for _, r := range pres {
		require.Equal(t, jobs.Message{CID: name, State: jobs.MessageConfirmed}, message(t, c, r.Meaning))
	}
	commits := commitsOf(pres)
	sent, err = c.SendCommits(t.Context(), "b-3", commits, nil)
	require.NoError(t, err)
	name = requireTogether(t, sent)
	advance(t, node, 8)
	for _, r := range commits {
		require.Equal(t, jobs.Message{CID: name, State: jobs.MessageConfirmed}, message(t, c, r.Meaning))
		on, err := c.OnChain(t.Context(), r.Seal.ID)
		require.NoError(t, err)
		require.NotNil(t, on.Sector)
	}
	require.EqualValues(t, 2, used(t, node, controlKey))
	require.EqualValues(t, 1, c.Calls()["StateMinerPreCommitDepositForPower"], "equal sectors have equal deposits")
}

// A batch in which one sector fails lands with exit code 0: the member's own code counts.
func TestBatchMemberFails(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	commits := preCommitted(t, node, c, 3)
	bad := slices.Clone(commits)
	bad[1].Proof = make([]byte, 192)
	require.NoError(t, chain.SendUnchecked(c, t.Context(), "b-1", bad))
	var name string
	advance(t, node, 8)
	for i, r := range commits {
		m := message(t, c, r.Meaning)
		name = m.CID
		if i == 1 {
			require.Equal(t, jobs.MessageFailed, m.State)
			require.Equal(t, jobs.Input, m.Fault.Class)
		} else {
			require.Equal(t, jobs.MessageConfirmed, m.State)
		}
		on, err := c.OnChain(t.Context(), r.Seal.ID)
		require.NoError(t, err)
		require.Equal(t, i != 1, on.Sector != nil, "sector %s", r.Seal.ID)
	}
	// It is sent again alone; the others have their message still.
	again, err := c.SendCommits(t.Context(), "b-1", commits, nil)
	require.NoError(t, err)
	require.Equal(t, []jobs.Sent{{Message: name}, again[1], {Message: name}}, again)
	require.NotContains(t, []string{"", name}, again[1].Message)
	advance(t, node, 8)
	require.Equal(t, jobs.Message{CID: again[1].Message, State: jobs.MessageConfirmed}, message(t, c, commits[1].Meaning))
	require.Equal(t, jobs.Message{CID: name, State: jobs.MessageConfirmed}, message(t, c, commits[0].Meaning))
}

// A whole batch that fails on chain for one of its members condemns none of the others.
func TestBatchFailsWhole(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	pres := preCommitsOf(t, c, 4)
	_, err := c.SendPreCommits(t.Context(), "b-1", pres)
	require.NoError(t, err)
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{DropPending: true}))
	// Another program uses one of the numbers while the message is lost.
	foreign := dial(t, node, withJournal(openJournal(t)), shared, func(c *chain.Config) { c.Senders = append(c.Senders, ownerKey) })
	thief := pres[2]
	thief.Seal.CommR = commR(t, 99)
	_, err = sendPreCommit(t.Context(), foreign, thief)
	require.NoError(t, err)
	advance(t, node, 10)
	require.NoError(t, c.Tend(t.Context()), "pushes ours again, which must fail now")
	advance(t, node, 8)
	for _, r := range pres {
		m := message(t, c, r.Meaning)
		require.Equal(t, jobs.MessageFailed, m.State)
		require.Equal(t, jobs.Transient, m.Fault.Class, "the receipt does not tell whose fault it was")
	}
	sent, err := c.SendPreCommits(t.Context(), "b-2", pres)
	require.NoError(t, err)
	require.Equal(t, jobs.Rejected, sent[2].Fault.Class)
	require.Contains(t, sent[2].Fault.Text, "CommR")
	good := append(slices.Clone(sent[:2]), sent[3])
	name := requireTogether(t, good)
	advance(t, node, 8)
	require.Equal(t, jobs.Message{CID: name, State: jobs.MessageConfirmed}, message(t, c, pres[3].Meaning))
}

// A batch that does not fit into one message goes in as few as hold it.
func TestBatchInSeveralMessages(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	pres := preCommitsOf(t, c, 300)
	sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
	require.NoError(t, err)
	first, second := requireTogether(t, sent[:256]), requireTogether(t, sent[256:])
	require.NotEqual(t, first, second)
	again, err := c.SendPreCommits(t.Context(), "b-1", pres)
	require.NoError(t, err)
	require.Equal(t, sent, again)
	advance(t, node, 8)
	require.EqualValues(t, 2, used(t, node, controlKey))
	require.Equal(t, jobs.Message{CID: second, State: jobs.MessageConfirmed}, message(t, c, pres[299].Meaning))
}

// One bad member is found in few estimates, gets its own reason, and the others go in one message.
func TestBadMembersAreTakenOut(t *testing.T) {
	t.Parallel()
	const members = 64
	for name, tc := range map[string]struct {
		spoil     func(r *jobs.PreCommitRequest)
		bad       []int
		class     jobs.FaultClass
		text      string
		estimates uint64 // at most
	}{
		"its number is named": {
			func(r *jobs.PreCommitRequest) { r.Seal.CommR = commR(t, 99) }, []int{17}, jobs.Rejected, "CommR", 1,
		},
		"its ticket is named": {
			func(r *jobs.PreCommitRequest) { r.TicketEpoch -= 4000 }, []int{0, 31, 63}, jobs.Deadline, "too old", 2,
		},
		"found by bisection": {
			func(r *jobs.PreCommitRequest) { r.Seal.Proof = abi.RegisteredSealProof_StackedDrg32GiBV1_1 }, []int{41}, jobs.Rejected, "seal proof", 1 + 7 + 1,
		},
		"two found by bisection": {
			func(r *jobs.PreCommitRequest) { r.Seal.Proof = abi.RegisteredSealProof_StackedDrg32GiBV1_1 }, []int{0, 63}, jobs.Rejected, "seal proof", 2*(1+7) + 1,
		},
		"all of them": {
			func(r *jobs.PreCommitRequest) { r.TicketEpoch -= 4000 }, numbers(members), jobs.Deadline, "too old", 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := startNode(t)
			c := dial(t, node, withJournal(openJournal(t)))
			pres := preCommitsOf(t, c, members)
			for _, i := range tc.bad {
				if tc.text == "CommR" { // the number is used on chain
					_, err := sendPreCommit(t.Context(), dial(t, node, withJournal(openJournal(t)), shared), pres[i])
					require.NoError(t, err)
					advance(t, node, 2)
				}
				tc.spoil(&pres[i])
			}
			before := c.Calls()["GasEstimateMessageGas"]
			sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
			require.NoError(t, err)
			require.LessOrEqual(t, c.Calls()["GasEstimateMessageGas"]-before, tc.estimates)
			var good []jobs.Sent
			for i, s := range sent {
				if !slices.Contains(tc.bad, i) {
					good = append(good, s)
					continue
				}
				require.NotNil(t, s.Fault, "member %d", i)
				require.Equal(t, tc.class, s.Fault.Class)
				require.Contains(t, s.Fault.Text, tc.text)
				require.Empty(t, s.Message)
				require.Equal(t, jobs.MessageNone, message(t, c, pres[i].Meaning).State)
			}
			if len(good) > 0 {
				requireTogether(t, good)
			}
		})
	}
}

func numbers(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// Bad proofs would not fail the message, and cost gas: they are found before anything is signed.
func TestBadProofsAreTakenOut(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	commits := preCommitted(t, node, c, 8)
	for _, i := range []int{0, 5} {
		commits[i].Proof = make([]byte, 192)
	}
	sent, err := c.SendCommits(t.Context(), "b-1", commits, nil)
	require.NoError(t, err)
	for _, i := range []int{0, 5} {
		require.Equal(t, jobs.Input, sent[i].Fault.Class)
		require.Contains(t, sent[i].Fault.Text, fmt.Sprintf("sector %d", i+1))
	}
	requireTogether(t, append(slices.Clone(sent[1:5]), sent[6:]...))
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, commits[7].Meaning).State)
	require.Equal(t, jobs.MessageNone, message(t, c, commits[5].Meaning).State)
}

// Overlapping batches in two processes: a member that another batch is about to send is left to it, until nothing came of that.
func TestMemberOfAnotherBatch(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	journal := openJournal(t)
	dying := dial(t, node, withJournal(diesUnsigned{journal}))
	pres := preCommitsOf(t, dying, 4)
	_, err := dying.SendPreCommits(t.Context(), "b-1", pres[:3])
	require.ErrorContains(t, err, "crashed", "after the nonce was reserved")

	c := dial(t, node, withJournal(journal))
	sent, err := c.SendPreCommits(t.Context(), "b-2", pres[1:])
	require.NoError(t, err)
	for _, s := range sent[:2] {
		require.Equal(t, jobs.Transient, s.Fault.Class)
		require.Contains(t, s.Fault.Text, "b-1")
	}
	require.NotEmpty(t, sent[2].Message)

	advance(t, node, 10)
	sent, err = c.SendPreCommits(t.Context(), "b-2", pres[1:])
	require.NoError(t, err, "the other batch is given up")
	require.Equal(t, sent[0], sent[1])
	require.NotEqual(t, sent[0], sent[2])
	require.NoError(t, c.Tend(t.Context()))
	advance(t, node, 8)
	for _, r := range pres[1:] {
		require.Equal(t, jobs.MessageConfirmed, message(t, c, r.Meaning).State)
	}
	_, err = dial(t, node, withJournal(journal)).SendPreCommits(t.Context(), "b-1", pres[:1])
	require.NoError(t, err, "with fewer members")
	advance(t, node, 8)
	require.Equal(t, jobs.MessageConfirmed, message(t, c, pres[0].Meaning).State)
	require.EqualValues(t, 4, used(t, node, controlKey), "three messages and the filler of the nonce that was given up")
}

// aggregator notes what it is asked to aggregate.
type aggregator struct{ asked [][]abi.SectorNumber }

func (a *aggregator) Aggregate(_ context.Context, seals []jobs.Seal, snarks [][]byte) ([]byte, error) {
	var numbers []abi.SectorNumber
	for i, s := range seals {
		numbers = append(numbers, s.ID.Number)
		if !bytes.Equal(snarks[i], goodProof) {
			return nil, errors.New("a bad proof came this far")
		}
	}
	a.asked = append(a.asked, numbers)
	return []byte("an aggregate"), nil
}

// An aggregate is made of good proofs alone, where there are enough of them and the configuration allows it. The embedded node takes none: the proofs go
// one by one.
func TestAggregateIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		sectors int
		bad     []int
		change  func(*chain.Config)
		asked   [][]abi.SectorNumber
	}{
		"enough":      {5, nil, func(*chain.Config) {}, [][]abi.SectorNumber{{1, 2, 3, 4, 5}}},
		"one is bad":  {5, []int{1}, func(*chain.Config) {}, [][]abi.SectorNumber{{1, 3, 4, 5}}},
		"too few":     {5, []int{1, 2}, func(*chain.Config) {}, nil},
		"not allowed": {5, nil, func(c *chain.Config) { c.NeverAggregate = true }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := startNode(t)
			c := dial(t, node, withJournal(newMemory()), tc.change)
			commits := preCommitted(t, node, c, tc.sectors)
			for _, i := range tc.bad {
				commits[i].Proof = make([]byte, 192)
			}
			var agg aggregator
			sent, err := c.SendCommits(t.Context(), "b-1", commits, &agg)
			require.NoError(t, err)
			require.Equal(t, tc.asked, agg.asked)
			var good []jobs.Sent
			for i, s := range sent {
				if slices.Contains(tc.bad, i) {
					require.Equal(t, jobs.Input, s.Fault.Class)
				} else {
					good = append(good, s)
				}
			}
			requireTogether(t, good)
		})
	}
}

// An aggregate that the node finds dearer than the plain proofs is not sent.
func TestAggregateIsDearer(t *testing.T) {
	t.Parallel()
	node := startNode(t, func(c *devnet.Config) {
		c.VerifyAggregate = func(context.Context, []devnet.SealInfo, []byte) error { return nil }
	})
	estimated := 0
	gasLimit := regexp.MustCompile(`"GasLimit":\d+`)
	api := altered(t, node, func(asked, answer []byte) []byte {
		if bytes.Contains(asked, []byte(`"Filecoin.GasEstimateMessageGas"`)) && bytes.Contains(asked, []byte(`"Method":34`)) {
			if estimated++; estimated == 2 { // after that of the plain proofs
				return gasLimit.ReplaceAll(answer, []byte(`"GasLimit":9000000000`))
			}
		}
		return answer
	})
	journal := newMemory()
	c := dial(t, node, withJournal(journal), func(c *chain.Config) { c.API = api })
	commits := preCommitted(t, node, c, 8)
	var agg aggregator
	sent, err := c.SendCommits(t.Context(), "b-1", commits, &agg)
	require.NoError(t, err)
	require.Len(t, agg.asked, 1)
	require.Equal(t, 2, estimated)
	all, err := chain.Ledger{Shared: journal}.Of(t.Context(), commits[0].Meaning)
	require.NoError(t, err)
	require.False(t, all[0].Aggregate)
	require.Equal(t, requireTogether(t, sent), all[0].CID)
	require.Less(t, all[0].GasLimit, int64(9_000_000_000))
	advance(t, node, 8)
	for _, r := range commits {
		require.Equal(t, jobs.MessageConfirmed, message(t, c, r.Meaning).State)
	}
}

// TestAggregateLands: where the node takes aggregates and finds one cheaper, one proof commits all.
func TestAggregateLands(t *testing.T) {
	t.Parallel()
	node := startNode(t, func(c *devnet.Config) {
		c.VerifyAggregate = func(_ context.Context, seals []devnet.SealInfo, aggregate []byte) error {
			if len(seals) != 8 || string(aggregate) != "an aggregate" {
				return errors.New("not ours")
			}
			return nil
		}
	})
	journal := newMemory()
	c := dial(t, node, withJournal(journal))
	commits := preCommitted(t, node, c, 8)
	var agg aggregator
	sent, err := c.SendCommits(t.Context(), "b-1", commits, &agg)
	require.NoError(t, err)
	require.Len(t, agg.asked, 1)
	requireTogether(t, sent)
	advance(t, node, 8)
	for _, r := range commits {
		require.Equal(t, jobs.MessageConfirmed, message(t, c, r.Meaning).State)
		on, err := c.OnChain(t.Context(), r.Seal.ID)
		require.NoError(t, err)
		require.NotNil(t, on.Sector, "%s", r.Seal.ID)
	}
	name, err := cid.Decode(sent[0].Message)
	require.NoError(t, err)
	msg, err := rawAPI(t, node).ChainGetMessage(t.Context(), name)
	require.NoError(t, err)
	var params miner18.ProveCommitSectors3Params
	require.NoError(t, params.UnmarshalCBOR(bytes.NewReader(msg.Params)))
	require.Equal(t, []byte("an aggregate"), params.AggregateProof)
	require.Empty(t, params.SectorProofs)

	all, err := chain.Ledger{Shared: journal}.All(t.Context())
	require.NoError(t, err)
	require.Greater(t, len(all), 1)
	for _, m := range all {
		require.Equal(t, m.CID == sent[0].Message, m.Aggregate, "%s %s: operators see which message carries an aggregate", m.Method, m.CID)
	}
}
