package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/jobs"
)

// Uploaded data is owned by the records that name it as a source. Its last owner removes it
// when it needs it no more, in finalize or recover_abandon. What an owner reads where it lies
// (sectors add --in-place) is outside of pieces/ and never touched.

// A piece is brought before its record exists, and for that while nothing shows that it is
// wanted but the time at which it was brought: bringing is how long that is believed, and
// clockSkew how far this host's clock may be from the one that dated the record.
const (
	bringing  = 24 * time.Hour
	clockSkew = time.Minute
)

// brought finds uploaded data and notes that somebody wants it for a record yet to be made.
func (h *Host) brought(ctx context.Context, p *root, digest string) (source string, ok bool, err error) {
	lock, err := filelock.Wait(ctx, p.piecesLock(), filelock.Exclusive)
	if err != nil {
		return "", false, err
	}
	defer filelock.Release(lock)
	source, ok = p.piece(digest)
	if ok {
		now := h.Clock.Now()
		err = os.Chtimes(source, now, now)
	}
	return source, ok, err
}

// piecesLock keeps the moment of bringing apart from that of removing.
func (p *root) piecesLock() string { return filepath.Join(p.dir, locksDir, "pieces") }

// uploaded gives the path of this host in whose pieces/ a source lies, nil if it is none of
// ours to remove.
func (h *Host) uploaded(source string) *root {
	if !sha256Hex.MatchString(filepath.Base(source)) {
		return nil
	}
	for _, p := range h.roots {
		if filepath.Dir(source) == filepath.Join(p.dir, piecesDir) {
			return p
		}
	}
	return nil
}

// releasePieces removes the uploaded data that only this sector needed.
func (h *Host) releasePieces(ctx context.Context, r *jobs.Record, stage jobs.Stage) error {
	for _, piece := range r.Pieces {
		p := h.uploaded(piece.Source)
		if p == nil || h.Wanted == nil {
			continue
		}
		if err := h.releasePiece(ctx, r, p, piece.Source, stage); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) releasePiece(ctx context.Context, r *jobs.Record, p *root, source string, stage jobs.Stage) error {
	lock, err := filelock.Wait(ctx, p.piecesLock(), filelock.Exclusive)
	if err != nil {
		return err
	}
	defer filelock.Release(lock)
	info, err := os.Lstat(source)
	if errors.Is(err, fs.ErrNotExist) {
		return h.discard(p, r.ID, stage) // what an earlier run left in the trash
	}
	if err != nil {
		return err
	}
	again := info.ModTime().After(r.Created.Add(clockSkew)) && h.Clock.Now().Sub(info.ModTime()) < bringing
	if again {
		return nil // for a sector that comes after this one, and will remove it
	}
	wanted, err := h.Wanted(ctx, r.ID, func(other *jobs.Record) bool {
		return needs(other, source) && h.root(other.Home) != nil // elsewhere it is another file
	})
	if err != nil {
		return jobs.Failf(jobs.Transient, "is %s still needed: %w", source, err)
	}
	if wanted {
		return nil
	}
	return h.discard(p, r.ID, stage, source)
}

// needs says whether a record may yet read a source: tree_d can be made again until the
// sector is committed.
func needs(r *jobs.Record, source string) bool {
	if r.Outcome != jobs.Open || r.Activation != 0 || r.Abandoned {
		return false
	}
	for _, piece := range r.Pieces {
		if piece.Source == source {
			return true
		}
	}
	return false
}
