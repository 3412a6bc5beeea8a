package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
)

// lasting is a file that outlives the pipeline.
type lasting struct {
	name   string
	path   string // where its bytes are now
	size   int64  // bytes to take, from the start of path
	digest string
}

// Store copies what lasts to a storage path: the home path itself if it can store,
// which costs nothing; else a storage path of this host; else one of another host,
// uploaded to its file service. A path that already has part of the sector, and room for
// the rest, comes first, so that a second run ends where the first began; then the most free
// space decides. Nothing is declared before the depot's own digests equal the home's.
func (h *Host) Store(ctx context.Context, r *jobs.Record, report func(jobs.Progress)) (_ *jobs.Stored, err error) {
	defer blame(&err, "store", r.ID)
	home, err := h.home(r)
	if err != nil {
		return nil, err
	}
	all, err := h.lasting(ctx, r, home)
	if err != nil {
		return nil, err
	}
	to, id, err := h.chooseDepot(ctx, r, all)
	if err != nil {
		return nil, err
	}
	var total, before uint64
	digests := map[string]string{}
	for _, f := range all {
		total += uint64(f.size)
		digests[f.name] = f.digest
	}
	for _, f := range all {
		err := to.send(ctx, r, f, func(done int64) {
			if report != nil {
				report(jobs.Progress{Step: "copy " + f.name, Done: before + uint64(done), Total: total})
			}
		})
		if err != nil {
			return nil, err
		}
		before += uint64(f.size)
		h.crashAt(jobs.Store, crash.MidWork)
	}
	if err := to.place(ctx, r, digests); err != nil {
		return nil, err
	}
	h.crashAt(jobs.Store, crash.AfterRename)
	if err := h.forsake(r.ID, id); err != nil {
		return nil, err
	}
	return &jobs.Stored{Path: id, Digests: digests}, nil
}

// lasting lists what is to be stored, verified.
func (h *Host) lasting(ctx context.Context, r *jobs.Record, home *root) ([]lasting, error) {
	names := append(jobs.LastingFiles(r.Proof), jobs.SealedFile)
	m, err := h.checked(ctx, r, home, names)
	if err != nil {
		return nil, err
	}
	out := make([]lasting, 0, len(names)+1)
	for _, name := range names {
		path := home.file(r.ID, name)
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		out = append(out, lasting{name, path, info.Size(), m.Digests[name]})
	}
	if !r.KeepUnsealed {
		return out, nil
	}
	// The first row of tree-d is the data, fr32-padded: no other unsealed file is
	// made before (reference: sealing pipeline §6).
	if err := h.treeD(ctx, r, home); err != nil {
		return nil, err
	}
	f, err := os.Open(home.file(r.ID, jobs.TreeDFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := int64(r.SectorSize())
	digest, err := digestOf(ctx, io.LimitReader(f, size))
	return append(out, lasting{jobs.UnsealedFile, f.Name(), size, digest}), err
}

// treeD checks the data tree; a bad one is made again by tree_d, not by tree_rc.
func (h *Host) treeD(ctx context.Context, r *jobs.Record, home *root) error {
	_, err := h.checked(ctx, r, home, []string{jobs.TreeDFile})
	var f *jobs.Fault
	if errors.As(err, &f) && f.Class == jobs.Input && f.From == "" {
		from := *f
		from.From = jobs.TreeD
		return &from
	}
	return err
}

// localDepot is a storage path of this host.
type localDepot struct {
	*Host
	p *root
}

func (d localDepot) send(ctx context.Context, r *jobs.Record, f lasting, report func(int64)) error {
	final := d.p.file(r.ID, f.name)
	if final == f.path {
		return nil // stored where it was sealed
	}
	if digest, _, err := d.hash(ctx, final); err == nil && digest == f.digest {
		return nil
	}
	src, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := d.disk.open(d.p.arrival(r.ID, f.name, f.digest), 0)
	if err != nil {
		return err
	}
	return errors.Join(d.disk.fill(ctx, dst, src, f.size, report), dst.Close())
}

func (d localDepot) place(ctx context.Context, r *jobs.Record, digests map[string]string) error {
	return d.Host.place(ctx, d.p, r.ID, digests)
}

func (d localDepot) holds(ctx context.Context, r *jobs.Record) (map[string]string, error) {
	m, err := readManifest(d.p.receipt(r.ID))
	if err != nil {
		return nil, err
	}
	return d.whole(ctx, m, d.p, r.ID)
}

// place verifies every file of a set and only then moves those that arrived under
// their names. What an older replica of the number left there is moved aside, not
// deleted: this is a long-term path.
func (h *Host) place(ctx context.Context, p *root, id jobs.SectorID, digests map[string]string) error {
	var move []string
	placed := map[string]stamp{}
	for _, name := range slices.Sorted(maps.Keys(digests)) {
		got, s, err := h.hash(ctx, p.file(id, name))
		if err == nil && got == digests[name] {
			placed[name] = s
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if placed[name], err = h.arrived(ctx, p.arrival(id, name, digests[name]), digests[name]); err != nil {
			return err
		}
		move = append(move, name)
	}
	for _, name := range move {
		final := p.file(id, name)
		if err := h.aside(p, id, name); err != nil {
			return err
		}
		if err := h.disk.mkdir(filepath.Dir(final)); err != nil {
			return err
		}
		if err := h.disk.rename(p.arrival(id, name, digests[name]), final); err != nil {
			return err
		}
		h.crashAt(jobs.Store, crash.MidWork)
	}
	_, err := h.amend(ctx, p, id, p.receipt(id), func(m *manifest) {
		*m = manifest{jobs.Manifest{Digests: digests}, placed}
	})
	if err != nil {
		return err
	}
	leavings, err := p.arrivals(id)
	if err != nil {
		return err
	}
	for _, path := range leavings {
		if err := h.disk.removeAll(path); err != nil {
			return err
		}
	}
	return nil
}

// arrived reads a file back from its disk. One that differs is removed, so that the
// next run brings it again from the start.
func (h *Host) arrived(ctx context.Context, path, want string) (stamp, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return stamp{}, jobs.Failf(jobs.Transient, "%s has not arrived", path)
	}
	if err != nil {
		return stamp{}, err
	}
	dropPageCache(f)
	_ = f.Close() // only read
	got, s, err := h.hash(ctx, path)
	if err != nil || got == want {
		return s, err
	}
	if err := h.disk.removeAll(path); err != nil {
		return stamp{}, err
	}
	return stamp{}, jobs.Failf(jobs.Transient, "%s arrived with SHA-256 %s, not %s; it is copied again (if this repeats, look at disk, memory and network)", path, got, want)
}

// aside moves a placed file of another replica out of the way.
func (h *Host) aside(p *root, id jobs.SectorID, name string) error {
	final := p.file(id, name)
	if _, err := os.Lstat(final); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	to := filepath.Join(p.dir, supersededDir, id.String()+"."+name+"."+unique())
	h.Log.Warn("a stored file of an older replica is moved aside; delete it when you are sure", "sector", id, "file", final, "to", to)
	return h.disk.rename(final, to)
}

// whole gives the digests of those files of a manifest that are as it says.
func (h *Host) whole(ctx context.Context, m manifest, p *root, id jobs.SectorID) (map[string]string, error) {
	out := map[string]string{}
	for name, digest := range m.Digests {
		_, err := h.check(ctx, m, name, p.file(id, name))
		var fault *jobs.Fault
		switch {
		case err == nil:
			out[name] = digest
		case errors.Is(err, fs.ErrNotExist), errors.As(err, &fault) && fault.Class == jobs.Input:
		default:
			return nil, err
		}
	}
	return out, nil
}

// checkStored makes sure that the stored copy is whole before the home copy goes.
func (h *Host) checkStored(ctx context.Context, r *jobs.Record) error {
	d, err := h.depot(ctx, r.Stored.Path)
	if err != nil {
		return err
	}
	have, err := d.holds(ctx, r)
	if err != nil {
		return err
	}
	for name, want := range r.Stored.Digests {
		if have[name] != want {
			return jobs.Failf(jobs.Rejected, "%s on storage path %s is gone or differs from what was stored; nothing is removed from home path %s: mend the storage path or run store again", name, r.Stored.Path, r.Home)
		}
	}
	return nil
}

// Stored gives the absolute path of a stored file on this host, for unsealing.
func (h *Host) Stored(r *jobs.Record, name string) (string, error) {
	if r.Stored == nil || r.Stored.Digests[name] == "" {
		return "", missing("%s has no stored file %q", r.ID, name)
	}
	p, err := h.served(r.Stored.Path)
	if err != nil {
		return "", err
	}
	if p == nil {
		return "", h.notHere(r.Stored.Path)
	}
	return p.file(r.ID, name), nil
}
