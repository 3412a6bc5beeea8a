package files

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/lpseal/lpseal/jobs"
)

// depot is where finished sectors are put: a storage path of this host, or one of
// another host through its file service.
type depot interface {
	// send brings a file to the depot, going on where an earlier run left off.
	send(ctx context.Context, r *jobs.Record, f lasting, report func(done int64)) error
	// place puts what was sent under the names that lotus looks for, once the depot
	// itself has found every file whole. Digests are by file name.
	place(ctx context.Context, r *jobs.Record, digests map[string]string) error
	// holds gives what the depot has placed: digests by file name.
	holds(ctx context.Context, r *jobs.Record) (map[string]string, error)
}

// chooseDepot picks the storage path and gives its id.
func (h *Host) chooseDepot(ctx context.Context, r *jobs.Record, all []lasting) (depot, string, error) {
	names := make([]string, len(all))
	var need uint64
	for i, f := range all {
		names[i] = f.name
		need += uint64(f.size)
	}
	type choice struct {
		p    *root
		rank int // lower first
		free uint64
	}
	var choices []choice
	for _, p := range h.roots {
		if !p.accepts(r.ID, names) {
			continue
		}
		if err := p.there(); err != nil {
			h.Log.Error("a storage path cannot be read", "path", p.dir, "err", err)
			continue
		}
		fsys, err := p.stat(p.dir)
		if err != nil {
			h.Log.Error("a storage path cannot be read", "path", p.dir, "err", err)
			continue
		}
		begun, err := p.begun(r.ID)
		if err != nil {
			return nil, "", err
		}
		switch {
		case begun && fsys.free >= p.lacks(r.ID, all):
			choices = append(choices, choice{p, 0, fsys.free})
		case p.meta.ID == r.Home:
			choices = append(choices, choice{p, 1, fsys.free})
		case fsys.free >= need:
			choices = append(choices, choice{p, 2, fsys.free})
		}
	}
	if len(choices) > 0 {
		best := slices.MinFunc(choices, func(a, b choice) int {
			return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.free, a.free))
		})
		h.recall(best.p, r.ID)
		return localDepot{h, best.p}, best.p.meta.ID, nil
	}
	return h.chooseRemote(ctx, r, all, need)
}

// recall learns from the receipt what an earlier run placed, so that a run that has
// only the declaration left to make does not read whole sectors again.
func (h *Host) recall(p *root, id jobs.SectorID) {
	m, err := readManifest(p.receipt(id))
	if err != nil {
		return // none yet, or a damaged one: everything is read
	}
	for name, digest := range m.Digests {
		if info, err := os.Stat(p.file(id, name)); err == nil && stampOf(info) == m.Stamps[name] {
			h.hashes.learn(info, digest)
		}
	}
}

// begun says whether an earlier run chose the path.
func (p *root) begun(id jobs.SectorID) (bool, error) {
	arrivals, err := p.arrivals(id)
	if err != nil || len(arrivals) > 0 {
		return len(arrivals) > 0, err
	}
	_, err = os.Stat(p.receipt(id))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// lacks is how many bytes of a sector have yet to come to the path.
func (p *root) lacks(id jobs.SectorID, all []lasting) (n uint64) {
	for _, f := range all {
		var have int64
		for _, path := range []string{p.file(id, f.name), p.arrival(id, f.name, f.digest)} {
			if info, err := os.Stat(path); err == nil {
				have = max(have, info.Size())
			}
		}
		n += uint64(f.size - min(have, f.size))
	}
	return n
}

// forsake removes what earlier runs brought to paths of this host that had no room for all
// of it.
func (h *Host) forsake(id jobs.SectorID, stored string) error {
	for _, p := range h.roots {
		if p.meta.ID == stored {
			continue
		}
		arrivals, err := p.arrivals(id)
		if err != nil {
			return err
		}
		for _, path := range arrivals {
			if err := h.disk.removeAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}
