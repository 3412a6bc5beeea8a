package chain

import (
	"bytes"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// A batch's results are read per member: one bad sector neither hides nor fails the others.
func TestBatchReturn(t *testing.T) {
	t.Parallel()
	encode := func(r batch.BatchReturn) []byte {
		var buf bytes.Buffer
		require.NoError(t, r.MarshalCBOR(&buf))
		return buf.Bytes()
	}
	e := &entry{Method: proveCommit3, State: jobs.MessageConfirmed, Members: make([]jobs.Meaning, 3)}
	require.NoError(t, e.readBatch(encode(batch.BatchReturn{SuccessCount: 2, FailCodes: []batch.FailCode{{Idx: 1, Code: exitcode.ErrIllegalArgument}}})))
	require.Equal(t, jobs.MessageConfirmed, e.fact(0).State)
	require.Equal(t, jobs.MessageFailed, e.fact(1).State)
	require.Equal(t, jobs.Input, e.fact(1).Fault.Class)
	require.Equal(t, jobs.MessageConfirmed, e.fact(2).State)
	require.Nil(t, e.fact(2).Fault)
	require.True(t, e.effective(0))
	require.False(t, e.effective(1), "this member may be sent again")

	require.ErrorContains(t, e.readBatch(encode(batch.BatchReturn{SuccessCount: 1})), "1 results for 3 sectors")
	require.Error(t, e.readBatch([]byte{0xff}))
}

// A receipt has no text: a pre-commit that was refused after its ticket's window was refused for that.
func TestLatePreCommit(t *testing.T) {
	t.Parallel()
	e := &entry{
		Method: preCommitBatch2, State: jobs.MessageFailed, Exit: exitcode.ErrIllegalArgument,
		Members: make([]jobs.Meaning, 1), Ticket: -800, Height: 2981,
	}
	require.Equal(t, jobs.Rejected, e.fact(0).Fault.Class, "3,780 epochs old")
	e.Height++
	require.Equal(t, jobs.Deadline, e.fact(0).Fault.Class)
}

// Answers that come late do not hide newer ones.
func TestSectorCacheOrder(t *testing.T) {
	t.Parallel()
	var (
		cache sectorCache
		id    = jobs.SectorID{Miner: 1000, Number: 1}
	)
	committed := jobs.OnChain{Sector: &jobs.OnChainSector{Activation: 20}}
	cache.put(id, knownSector{height: 20, OnChain: committed})
	cache.put(id, knownSector{height: 19})
	k, _ := cache.get(id)
	require.Equal(t, committed, k.OnChain)
	cache.forget(id, 21)
	cache.put(id, knownSector{height: 20, OnChain: committed})
	k, _ = cache.get(id)
	require.Equal(t, jobs.OnChain{}, k.OnChain)
}

// A process that runs for years remembers the sectors of today.
func TestSectorCacheIsBounded(t *testing.T) {
	t.Parallel()
	var cache sectorCache
	for n := range abi.SectorNumber(20 * fewSectors) {
		cache.put(jobs.SectorID{Miner: 1000, Number: n}, knownSector{height: abi.ChainEpoch(n / 10)})
	}
	require.Less(t, len(cache.known), 3*fewSectors)
	_, ok := cache.get(jobs.SectorID{Miner: 1000, Number: 20*fewSectors - 1})
	require.True(t, ok)
	_, ok = cache.get(jobs.SectorID{Miner: 1000, Number: 20*fewSectors - 10*lookAgain})
	require.True(t, ok, "what was read of late stays")
}
