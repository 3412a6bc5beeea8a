package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/handover"
	"github.com/lpseal/lpseal/chain/handover/handovertest"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/jobs"
)

// A sector is not committed before the miner that must prove it sees its files; once
// somebody attached the path there, it goes on by itself.
func TestCommitWaitsForTheHandover(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	miner := handovertest.StartLotusMiner(t, 1000)
	store := c.path("h1", "store", files.PathOptions{CanStore: true})
	paths := []string{c.path("h1", "seal", files.PathOptions{CanSeal: true}), store}
	c.worker(settings{
		host: "h1", instance: "main", lanes: sealing + ", {class: gpu, gpu: a, width: 1}", paths: paths,
		more: "handover: {to: lotus-miner, api: \"" + miner.APIInfo(handovertest.Admin) + "\"}",
	})
	c.scheduler("s1")
	c.alive(2)
	id, err := jobs.ParseSectorID(strings.TrimSpace(c.lpseal("sectors", "pledge")))
	require.NoError(t, err)
	c.until("store to be tried and c2 to be done", func() bool {
		r := c.record(id)
		return r.Stage(jobs.Store).Faults > 0 && r.Stage(jobs.C2).State == jobs.Done
	})
	c.until("explain to say what is to be done", func() bool { // between two tries
		why := c.lpseal("sectors", "explain", id.String())
		return strings.Contains(why, "lotus-miner t01000 knows no path") && strings.Contains(why, "lotus-miner storage attach DIR")
	})
	r := c.record(id)
	require.Equal(t, jobs.Idle, r.Stage(jobs.Commit).State)
	require.Nil(t, r.Stored)

	require.NoError(t, miner.Attach(store))
	c.until("the sector to be committed", func() bool { return c.record(id).Outcome == jobs.Committed })
	r = c.record(id)
	require.Equal(t, "lotus-miner t01000", r.Stored.DeclaredTo)
	for _, kind := range []handover.FileType{handover.Sealed, handover.Cache} {
		holds, primary := miner.Holds(r.Stored.Path, id, kind)
		require.True(t, holds && primary, kind)
	}
}
