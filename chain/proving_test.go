package chain_test

import (
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// committed puts sectors on chain and gives the epoch at which the first was.
func committed(t *testing.T, node *devnet.Node, c *chain.Client, numbers ...abi.SectorNumber) abi.ChainEpoch {
	t.Helper()
	for _, n := range numbers {
		_, err := sendPreCommit(t.Context(), c, preCommitOf(t, c, n))
		require.NoError(t, err)
	}
	advance(t, node, 20)
	for _, n := range numbers {
		_, err := sendCommit(t.Context(), c, commitOf(jobs.SectorID{Miner: minerID, Number: n}))
		require.NoError(t, err)
	}
	advance(t, node, 8)
	on, err := c.OnChain(t.Context(), jobs.SectorID{Miner: minerID, Number: numbers[0]})
	require.NoError(t, err)
	require.NotNil(t, on.Sector)
	return on.Sector.Activation
}

// The embedded node makes no WindowPoSt: the test says what became of each sector. What an
// operator is told is what the chain's partitions hold once the deadline has closed.
func TestProving(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	at := committed(t, node, c, 1)
	id := jobs.SectorID{Miner: minerID, Number: 1}
	api := rawAPI(t, node)
	miner, err := address.NewIDAddress(uint64(minerID))
	require.NoError(t, err)
	place, err := api.StateSectorPartition(t.Context(), miner, 1, lotus.EmptyTSK)
	require.NoError(t, err)

	// It may be proven as soon as its deadline opens, and is asked about when it has closed.
	require.NoError(t, node.SetSector(id, devnet.Proven))
	advance(t, node, 8)
	v, err := c.Proving(t.Context(), id, at)
	require.NoError(t, err)
	require.Equal(t, jobs.ProvingDue, v.State)
	require.Equal(t, place.Deadline, v.Deadline)
	require.Zero(t, c.Calls()["StateMinerPartitions"])
	period, err := api.StateMinerProvingDeadline(t.Context(), miner, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Zero(t, (v.Closes-period.PeriodStart-abi.ChainEpoch(place.Deadline+1)*60)%2880, "the end of that deadline")
	require.Greater(t, v.Closes, at+60, "never the deadline that is open, nor the next")
	require.LessOrEqual(t, v.Closes, at+2880+60)

	advance(t, node, int(v.Closes-node.Head().Height)+4)
	v, err = c.Proving(t.Context(), id, at)
	require.NoError(t, err)
	require.Equal(t, jobs.ProvingDue, v.State, "not before confidence")
	for status, want := range map[devnet.SectorStatus]jobs.ProvingState{
		devnet.Unproven: jobs.ProvingUnproven, devnet.Faulty: jobs.ProvingFaulty, devnet.Recovering: jobs.ProvingFaulty,
		devnet.Terminated: jobs.ProvingTerminated, devnet.Proven: jobs.ProvingDone,
	} {
		require.NoError(t, node.SetSector(id, status))
		advance(t, node, 60) // an answer stands for half an hour
		v, err = c.Proving(t.Context(), id, at)
		require.NoError(t, err)
		require.Equal(t, want, v.State, status)

		record := &jobs.Record{ID: id, Activation: at, Home: "p1", Stages: map[jobs.Stage]jobs.StageRecord{}}
		for _, row := range jobs.Stages {
			if !row.Recovery {
				record.Stages[row.Stage] = jobs.StageRecord{State: jobs.Done, Fence: 1}
			}
		}
		facts := &jobs.Facts{Now: time.Unix(0, 0), Proving: &v, Network: jobs.Network{Name: "localnet", BlockDelay: time.Second}}
		policy := jobs.DefaultPolicy()
		_, why := jobs.Decide(record, facts, &policy)
		require.Contains(t, why.Text, string(want), "what sectors explain prints")
	}

	v, err = c.Proving(t.Context(), jobs.SectorID{Miner: minerID, Number: 999}, at)
	require.NoError(t, err)
	require.Equal(t, jobs.ProvingTerminated, v.State, "in no partition any more")
}

// A node that has not come to where the sector was committed finds it in no deadline: that is no alarm.
func TestProvingOnANodeBehind(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node)
	id := jobs.SectorID{Miner: minerID, Number: 1}
	at := node.Head().Height - 5
	_, err := c.Proving(t.Context(), id, at)
	requireClass(t, jobs.Transient, err)
	require.ErrorContains(t, err, "sync")
	advance(t, node, 1)
	v, err := c.Proving(t.Context(), id, at)
	require.NoError(t, err)
	require.Equal(t, jobs.ProvingTerminated, v.State)
}

// Watching costs a call for each sector once, and then calls by deadline.
func TestProvingCostsCallsByDeadline(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	var numbers []abi.SectorNumber
	for n := range abi.SectorNumber(6) {
		numbers = append(numbers, n+1)
	}
	at := committed(t, node, c, numbers...)
	watch := func() (due, closes int) {
		t.Helper()
		for _, n := range numbers {
			v, err := c.Proving(t.Context(), jobs.SectorID{Miner: minerID, Number: n}, at)
			require.NoError(t, err)
			if v.State == jobs.ProvingDue {
				due++
			}
			closes = max(closes, int(v.Closes))
		}
		return due, closes
	}
	due, closes := watch()
	require.Equal(t, len(numbers), due)
	for range 5 {
		advance(t, node, 1)
		watch()
	}
	calls := c.Calls()
	require.EqualValues(t, len(numbers), calls["StateSectorPartition"])
	require.EqualValues(t, 1, calls["StateMinerProvingDeadline"])
	require.Zero(t, calls["StateMinerPartitions"], "nothing has closed")

	advance(t, node, closes-int(node.Head().Height)+10)
	due, _ = watch()
	require.Zero(t, due)
	deadlines := c.Calls()["StateMinerPartitions"]
	for range 20 {
		advance(t, node, 1)
		watch()
	}
	require.Equal(t, deadlines, c.Calls()["StateMinerPartitions"], "an answer stands for half an hour")
	require.EqualValues(t, len(numbers)/2, deadlines, "two sectors are a partition here")
	require.EqualValues(t, len(numbers), c.Calls()["StateSectorPartition"])
}

// A deadline is looked at for an older sector that was missed just before it closes for a new
// one: that answer says nothing of the new one yet.
func TestProvingIsNotJudgedByAnEarlierAnswer(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(openJournal(t)))
	ask := func(n abi.SectorNumber, at abi.ChainEpoch) jobs.Proving {
		t.Helper()
		v, err := c.Proving(t.Context(), jobs.SectorID{Miner: minerID, Number: n}, at)
		require.NoError(t, err)
		return v
	}
	settle := func(height abi.ChainEpoch) { advance(t, node, int(height+5-node.Head().Height)) }
	old := committed(t, node, c, 1)
	settle(ask(1, old).Closes + 10)
	require.Equal(t, jobs.ProvingUnproven, ask(1, old).State)
	fresh := committed(t, node, c, 2)
	first := ask(2, fresh)
	require.Equal(t, ask(1, old).Deadline, first.Deadline, "they share a partition")

	settle(first.Closes - 7)
	require.NoError(t, node.SetSector(jobs.SectorID{Miner: minerID, Number: 2}, devnet.Proven)) // just in time
	settle(first.Closes - 2)
	require.Equal(t, jobs.ProvingUnproven, ask(1, old).State)
	require.Equal(t, jobs.ProvingDue, ask(2, fresh).State)
	settle(first.Closes)
	require.Equal(t, jobs.ProvingDone, ask(2, fresh).State)
}
