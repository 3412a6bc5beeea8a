package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// nobody else is in the pipeline.
func nobody(context.Context, jobs.SectorID, func(*jobs.Record) bool) (bool, error) { return false, nil }

// withPiece uploads a piece for the sector before its record is dated.
func withPiece(given func(*testing.T, *Host, *jobs.Record)) func(*testing.T, *Host, *jobs.Record) {
	return func(t *testing.T, h *Host, r *jobs.Record) {
		given(t, h, r)
		data := filepath.Join(t.TempDir(), "data")
		require.NoError(t, os.WriteFile(data, []byte("data"), 0o644))
		source, err := h.UploadPiece(context.Background(), r.Home, data, nil)
		require.NoError(t, err)
		r.Pieces = []jobs.Piece{piece(source, 4)}
		r.Created = time.Now()
	}
}

// lastOwner ends a sector whose piece nobody else wants. The piece lies on the path as it is
// now, which may be a copy of the one it was brought to.
func lastOwner(h *Host, r *jobs.Record, end func() error) error {
	h.Wanted = nobody
	r.Pieces[0].Source = filepath.Join(h.root(r.Home).dir, piecesDir, filepath.Base(r.Pieces[0].Source))
	if err := end(); err != nil {
		return err
	}
	if _, err := os.Stat(r.Pieces[0].Source); err == nil {
		return errors.New("the piece is still there")
	}
	return nil
}

// Uploaded data goes with its last owner, and no other file does.
func TestPiecesGoWithTheirLastOwner(t *testing.T) {
	t.Parallel()
	other := jobs.SectorID{Miner: 1000, Number: 7}
	for name, c := range map[string]struct {
		change func(h *Host, r *jobs.Record) // of the world before the sector ends
		others []*jobs.Record                // in the pipeline; those with a piece get this one
		kept   bool
	}{
		"the only owner":                      {},
		"another sector will read it":         {others: []*jobs.Record{{ID: other, Pieces: []jobs.Piece{{}}}}, kept: true},
		"another sector has other data":       {others: []*jobs.Record{{ID: other}}},
		"another sector is committed":         {others: []*jobs.Record{{ID: other, Pieces: []jobs.Piece{{}}, Activation: 9}}},
		"another sector is abandoned":         {others: []*jobs.Record{{ID: other, Pieces: []jobs.Piece{{}}, Abandoned: true}}},
		"another host has a file of its name": {others: []*jobs.Record{{ID: other, Pieces: []jobs.Piece{{}}, Home: "elsewhere"}}},
		"it was brought again since": {kept: true, change: func(_ *Host, r *jobs.Record) {
			r.Created = time.Now().Add(-time.Hour)
		}},
		"it was brought again, and nobody came for it": {change: func(h *Host, r *jobs.Record) {
			r.Created = time.Now().Add(-30 * 24 * time.Hour)
			old := time.Now().Add(-25 * time.Hour)
			require.NoError(t, os.Chtimes(r.Pieces[0].Source, old, old))
		}},
		"it is read where it lies": {kept: true, change: func(h *Host, r *jobs.Record) {
			mine := filepath.Join(filepath.Dir(filepath.Dir(h.roots[0].dir)), filepath.Base(r.Pieces[0].Source))
			require.NoError(t, os.Rename(r.Pieces[0].Source, mine))
			r.Pieces[0].Source = mine
		}},
		"it has a name of its own": {kept: true, change: func(h *Host, r *jobs.Record) {
			mine := filepath.Join(h.roots[0].dir, piecesDir, "my-data")
			require.NoError(t, os.Rename(r.Pieces[0].Source, mine))
			r.Pieces[0].Source = mine
		}},
		"nobody can be asked": {kept: true, change: func(h *Host, _ *jobs.Record) { h.Wanted = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "nvme", "seal")
			h, r := openHostAt(t, dir)
			withPiece(sealSectorOf)(t, h, r)
			h.Wanted = func(_ context.Context, but jobs.SectorID, fits func(*jobs.Record) bool) (bool, error) {
				require.Equal(t, r.ID, but)
				for _, o := range c.others {
					o := o.Clone()
					for i := range o.Pieces {
						o.Pieces[i] = r.Pieces[0]
					}
					if o.Home == "" {
						o.Home = r.Home
					}
					if fits(o) {
						return true, nil
					}
				}
				return false, nil
			}
			if c.change != nil {
				c.change(h, r)
			}
			require.NoError(t, h.Abandon(context.Background(), r))
			_, err := os.Stat(r.Pieces[0].Source)
			require.Equal(t, c.kept, err == nil)
		})
	}
}

// Without an answer nothing is removed, and the stage comes again.
func TestPiecesStayWhileNobodyAnswers(t *testing.T) {
	t.Parallel()
	h, r := openHostAt(t, t.TempDir())
	withPiece(sealSectorOf)(t, h, r)
	h.Wanted = func(context.Context, jobs.SectorID, func(*jobs.Record) bool) (bool, error) {
		return false, errors.New("redis is down")
	}
	requireFault(t, h.Abandon(context.Background(), r), jobs.Transient)
	require.FileExists(t, r.Pieces[0].Source)
	h.Wanted = nobody
	require.NoError(t, h.Abandon(context.Background(), r))
	require.NoFileExists(t, r.Pieces[0].Source)
}

// A piece that is there already is brought by noting it.
func TestBringingAPieceAgainKeepsIt(t *testing.T) {
	t.Parallel()
	h, r := openHostAt(t, t.TempDir())
	withPiece(sealSectorOf)(t, h, r)
	source := r.Pieces[0].Source
	settle(t, source)
	r.Created = time.Now().Add(-30 * time.Minute)
	data := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.WriteFile(data, []byte("data"), 0o644))
	again, err := h.UploadPiece(context.Background(), r.Home, data, nil)
	require.NoError(t, err)
	require.Equal(t, source, again)
	h.Wanted = nobody
	require.NoError(t, h.Abandon(context.Background(), r))
	require.FileExists(t, source, "the record of who brought it again is still to come")
}

func sealSectorOf(t *testing.T, h *Host, r *jobs.Record) { sealSector(t, h, r) }

// openHostAt is a host with one path for everything, and a sector there.
func openHostAt(t *testing.T, dir string) (*Host, *jobs.Record) {
	home := newPath(t, dir, PathOptions{CanSeal: true, CanStore: true})
	return openHost(t, dir), newRecord(t, home)
}
