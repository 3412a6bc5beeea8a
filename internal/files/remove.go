package files

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
)

// discard moves files and folders of a sector to the path's trash, each by one
// rename, and then empties the sector's trash, an earlier run's leavings included. It
// makes no folder there: on a full disk none can be made, and this is what frees it.
func (h *Host) discard(p *root, id jobs.SectorID, stage jobs.Stage, old ...string) error {
	trash, mine := filepath.Join(p.dir, trashDir), id.String()+"."
	run := mine + unique()
	for i, path := range old {
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		// Numbered: the cache folder and the sealed file have the same base name.
		if err := h.disk.rename(path, filepath.Join(trash, fmt.Sprintf("%s.%d-%s", run, i, filepath.Base(path)))); err != nil {
			return err
		}
		h.crashAt(stage, crash.MidWork)
	}
	thrown, err := beginning(trash, mine)
	if err != nil {
		return err
	}
	for _, path := range thrown {
		if err := h.disk.removeAll(path); err != nil {
			return err
		}
	}
	return nil
}

func unique() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// DropLayers removes the layer files, and what else goes with them. Their digests stay in the manifest: they say
// what was there.
func (h *Host) DropLayers(_ context.Context, r *jobs.Record) (err error) {
	defer blame(&err, "drop layers of", r.ID)
	p, err := h.home(r)
	if err != nil {
		return err
	}
	var old []string
	for _, name := range jobs.ReleasedFiles(r.Proof) {
		old = append(old, p.file(r.ID, name))
	}
	return h.discard(p, r.ID, jobs.DropLayers, old...)
}

// Finalize removes all scratch of a sector whose lasting files were stored: it looks
// at them once more before the only other copy goes. Uploaded data that no other sector
// needs goes too. The caller holds the sector's
// lock exclusively.
func (h *Host) Finalize(ctx context.Context, r *jobs.Record) (err error) {
	defer blame(&err, "finalize", r.ID)
	p, err := h.home(r)
	if err != nil {
		return err
	}
	if r.Stored == nil {
		return errors.New("the record names no stored files")
	}
	if err := h.checkStored(ctx, r); err != nil {
		return err
	}
	if err := h.removeScratch(r, p, jobs.Finalize); err != nil {
		return err
	}
	return h.releasePieces(ctx, r, jobs.Finalize)
}

// Abandon removes a dead sector's files from its home path, and uploaded data that no
// other sector needs; stored files stay. The
// caller holds the sector's lock exclusively.
func (h *Host) Abandon(ctx context.Context, r *jobs.Record) (err error) {
	defer blame(&err, "abandon", r.ID)
	if r.Home == "" {
		return nil // never placed
	}
	p, err := h.home(r)
	if err != nil {
		return err
	}
	if err := h.removeScratch(r, p, jobs.RecoverAbandon); err != nil {
		return err
	}
	return h.releasePieces(ctx, r, jobs.RecoverAbandon)
}

// removeScratch removes what the pipeline left on the home path. Where the sector
// was stored on that very path only the files that no proof needs go.
func (h *Host) removeScratch(r *jobs.Record, p *root, stage jobs.Stage) error {
	if r.Stored == nil || r.Stored.Path != p.meta.ID {
		old := []string{p.cache(r.ID), p.file(r.ID, jobs.SealedFile), p.file(r.ID, jobs.UnsealedFile), p.receipt(r.ID)}
		arrivals, err := p.arrivals(r.ID)
		if err != nil {
			return err
		}
		return h.discard(p, r.ID, stage, append(old, arrivals...)...)
	}
	entries, err := os.ReadDir(p.cache(r.ID))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var old []string
	for _, e := range entries {
		if scratch(e.Name()) {
			old = append(old, filepath.Join(p.cache(r.ID), e.Name()))
		}
	}
	return h.discard(p, r.ID, stage, old...)
}

// scratch says whether a cache file is needed only while the sector is sealed. It
// is a list of what may go and not of what stays: other software keeps files in a
// stored sector's folder too.
func scratch(name string) bool {
	for _, prefix := range []string{
		"sc-02-data-layer-", "sc-02-data-tree-c", jobs.TreeDFile, jobs.C1File, ManifestFile,
		jobs.SyntheticFile,
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.HasSuffix(name, ".tmp")
}
