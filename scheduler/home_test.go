package scheduler_test

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/scheduler"
)

// The data of a sector was brought to a path before the sector existed: space on it is reserved
// first, and nobody else chooses another home.
func TestAddOnANamedPath(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	small := host("h2", "r1")
	small.Paths[0].Capacity = jobs.SealingSpace(abi.RegisteredSealProof_StackedDrg2KiBV1_1) * 3 / 2
	p.join(small)
	home := small.Paths[0].ID
	req := scheduler.Request{Miner: miner, Pieces: []jobs.Piece{piece(t, "a")}, Home: home}

	made, err := p.Add(p.ctx, req, "ann")
	require.NoError(t, err)
	require.Equal(t, home, p.record(made[0].ID).Home)
	held, err := p.store.Reservations(p.ctx, home)
	require.NoError(t, err)
	require.Equal(t, map[jobs.SectorID]uint64{made[0].ID: jobs.SealingSpace(abi.RegisteredSealProof_StackedDrg2KiBV1_1)}, held)
	require.Equal(t, jobs.Committed, p.driveHome(made[0].ID).Outcome)

	_, err = p.Add(p.ctx, req, "ann") // given back by then
	require.NoError(t, err)
	made, err = p.Add(p.ctx, req, "ann")
	require.ErrorIs(t, err, sectors.ErrNoSpace)
	require.Empty(t, made)
	req.Home = "elsewhere"
	_, err = p.Add(p.ctx, req, "ann")
	require.ErrorContains(t, err, "no live worker serves path elsewhere")
}
