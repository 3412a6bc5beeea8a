package cli

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// TestBatchesAreListedAndFlushed takes a sector that waits for company through the two
// commands.
func TestBatchesAreListedAndFlushed(t *testing.T) {
	t.Parallel()
	b := newBridge(t, "policy.precommit_batch.wait=2h", "policy.precommit_batch.slack=0s")
	run := b.prints
	require.Contains(t, run("batches", "list"), "no sector waits")
	require.Contains(t, run("batches", "flush"), "nothing waits")

	head := b.node.Head().Height
	r := &jobs.Record{
		ID: jobs.SectorID{Miner: 1000, Number: 7}, Version: 1, Created: time.Now(), Proof: abi.RegisteredSealProof_StackedDrg2KiBV1_1,
		Home: "path", Ticket: jobs.Randomness{Epoch: head - 900, Value: make([]byte, 32), At: head}, Stages: map[jobs.Stage]jobs.StageRecord{},
	}
	var err error
	r.CommD, err = jobs.CommD(r.Proof, nil)
	require.NoError(t, err)
	for _, s := range []jobs.Stage{jobs.TreeD, jobs.SDR, jobs.TreeRC, jobs.Store} {
		r.Stages[s] = jobs.StageRecord{State: jobs.Done, Fence: 1, Attempt: 1, Since: time.Now()}
	}
	require.NoError(t, b.store.Create(t.Context(), r, "test"))
	require.NoError(t, b.store.Join(t.Context(), jobs.Worker{Host: "h1", Instance: "gpu", Run: "r", Lanes: []jobs.Lane{{Class: jobs.ClassGPU, GPU: "a", Width: 1, Prover: jobs.NativeProver}}}, time.Hour))
	group := r.GroupOf(jobs.PreCommit)
	_, err = b.store.Wait(t.Context(), group, r.ID, time.Now().Add(time.Hour))
	require.NoError(t, err)

	var l batchList
	require.NoError(t, json.Unmarshal([]byte(run("batches", "list", "--json")), &l))
	require.Len(t, l.Pending, 1)
	require.Equal(t, group.String(), l.Pending[0].Group)
	require.Equal(t, jobs.MaxBatch, l.Pending[0].Max)
	require.Contains(t, run("batches", "list"), group.String())

	name := run("batches", "flush", group.String())
	require.Regexp(t, `^b-\d{8}-\d{6}-[a-z0-9]+\n$`, name)
	require.NoError(t, json.Unmarshal([]byte(run("batches", "list", "--json")), &l))
	require.Empty(t, l.Pending)
	require.Len(t, l.Open, 1)
	require.Equal(t, jobs.BatchFlush, l.Open[0].Cause)
	require.Equal(t, []jobs.SectorID{r.ID}, l.Open[0].Sectors)

	code, _, errs := b.run("batches", "flush", "sdr/t01000/5")
	require.Equal(t, 2, code)
	require.Contains(t, errs, "batches list names them")
}
