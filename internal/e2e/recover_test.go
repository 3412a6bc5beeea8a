package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/scheduler"
)

// seal adds a sector that will go through the stage: a recovery stage is wanted only
// once something has gone wrong.
func (c *cluster) seal(row *jobs.Row) jobs.SectorID {
	c.t.Helper()
	id, err := jobs.ParseSectorID(strings.TrimSpace(c.lpseal("sectors", "add", "--in-place", c.data("piece", 1000))))
	require.NoError(c.t, err)
	if row.Recovery {
		c.interrupt(id)
		mishaps[row.Stage](c, id)
	}
	return id
}

// mishaps bring about what each recovery stage is for, on a held sector that has
// layers and no message.
var mishaps = map[jobs.Stage]func(*cluster, jobs.SectorID){
	jobs.RecoverWipe: func(c *cluster, id jobs.SectorID) {
		c.order(id, jobs.RolledBack{To: jobs.SDR, ByOrder: true, Why: "bad layers"})
		c.lpseal("sectors", "release", id.String())
	},
	jobs.RecoverLocate: func(c *cluster, id jobs.SectorID) {
		c.moveAway(id)
		c.lpseal("sectors", "release", id.String())
	},
	jobs.RecoverAbandon: func(c *cluster, id jobs.SectorID) {
		c.lpseal("sectors", "remove", "--yes", id.String())
	},
}

// interrupt holds a sector once it has layers.
func (c *cluster) interrupt(id jobs.SectorID) {
	c.until("sdr to begin", func() bool { return c.record(id).Stage(jobs.SDR).Claim > 0 })
	c.order(id, jobs.Held{Hold: jobs.Hold{Reason: "interrupted"}})
	c.until("what runs to end", func() bool {
		r := c.record(id)
		for _, sr := range r.Stages {
			if sr.State == jobs.Running {
				return false
			}
		}
		return r.Stage(jobs.SDR).State == jobs.Done
	})
}

// order is an operator's order, without the time that a command takes to start.
func (c *cluster) order(id jobs.SectorID, e jobs.Event) {
	c.t.Helper()
	op, err := scheduler.New(scheduler.Options{Store: c.store, Queues: c.queues, Chain: struct{ jobs.Chain }{}, Name: "e2e"})
	require.NoError(c.t, err)
	require.NoError(c.t, op.Order(c.t.Context(), id, e, "e2e"))
}

// moveAway moves the sector's files to the host's other sealing path, as somebody
// might who tidies up.
func (c *cluster) moveAway(id jobs.SectorID) {
	c.t.Helper()
	from, to := filepath.Join(c.dir, "h1", "seal"), filepath.Join(c.dir, "h1", "seal2")
	if _, err := os.Stat(filepath.Join(from, "cache", id.String())); err != nil {
		from, to = to, from
	}
	require.NoError(c.t, os.Rename(filepath.Join(from, "cache", id.String()), filepath.Join(to, "cache", id.String())))
	err := os.Rename(filepath.Join(from, "sealed", id.String()), filepath.Join(to, "sealed", id.String()))
	if !errors.Is(err, fs.ErrNotExist) { // tree_rc has not written it yet
		require.NoError(c.t, err)
	}
}
