package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
)

// Bind makes the cache folder belong to m. What another seal left is moved to trash
// first, all but tree-d: the data tree is bound to no ticket. The stage's own lock
// covers it: nothing but tree_d runs beside sdr.
func (h *Host) Bind(ctx context.Context, r *jobs.Record, m jobs.Manifest) (_ jobs.Manifest, err error) {
	defer blame(&err, "bind cache of", r.ID)
	p, err := h.home(r)
	if err != nil {
		return m, err
	}
	if err := h.disk.mkdir(p.cache(r.ID)); err != nil {
		return m, err
	}
	have, err := readManifest(p.manifest(r.ID))
	if err != nil {
		return m, err
	}
	if have.ReplicaID == m.ReplicaID && have.Proof == m.Proof {
		return have.Manifest, nil
	}
	if err := h.clear(ctx, r, p); err != nil {
		return m, err
	}
	have, err = h.amend(ctx, p, r.ID, p.manifest(r.ID), func(now *manifest) {
		now.ReplicaID, now.Proof = m.ReplicaID, m.Proof
	})
	return have.Manifest, err
}

// Wipe removes what an older fence or ticket left in the home path: everything but
// tree-d. The caller holds the sector's lock exclusively.
func (h *Host) Wipe(ctx context.Context, r *jobs.Record) (err error) {
	defer blame(&err, "wipe", r.ID)
	p, err := h.home(r)
	if err != nil {
		return err
	}
	return h.clear(ctx, r, p)
}

// clear empties a cache folder for another seal. It is unbound first, so that a
// folder of which half is gone never passes for the seal it was.
func (h *Host) clear(ctx context.Context, r *jobs.Record, p *root) error {
	if r.Stored != nil && r.Stored.Path == p.meta.ID {
		return jobs.Failf(jobs.Rejected, "the sector is stored on its home path %s: its files there are not wiped", p.dir)
	}
	entries, err := os.ReadDir(p.cache(r.ID))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		_, err := h.amend(ctx, p, r.ID, p.manifest(r.ID), func(m *manifest) {
			tree, had := m.Digests[jobs.TreeDFile]
			*m = manifest{jobs.Manifest{Digests: map[string]string{}}, map[string]stamp{jobs.TreeDFile: m.Stamps[jobs.TreeDFile]}}
			if had {
				m.Digests[jobs.TreeDFile] = tree
			}
		})
		if err != nil {
			return err
		}
	}
	old := []string{p.file(r.ID, jobs.SealedFile)}
	for _, e := range entries {
		// Prefixes: a tree-d in the making and a manifest being replaced have suffixes.
		if name := e.Name(); !strings.HasPrefix(name, jobs.TreeDFile) && !strings.HasPrefix(name, ManifestFile) {
			old = append(old, filepath.Join(p.cache(r.ID), name))
		}
	}
	return h.discard(p, r.ID, jobs.RecoverWipe, old...)
}

// Seal fsyncs finished files and writes their SHA-256 into the manifest.
func (h *Host) Seal(ctx context.Context, r *jobs.Record, names ...string) (_ map[string]string, err error) {
	defer blame(&err, "seal files of", r.ID)
	p, err := h.home(r)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(p.manifest(r.ID))
	if err != nil {
		return nil, err
	}
	if err := bound(r, m, names); err != nil {
		return nil, err
	}
	digests, stamps := map[string]string{}, map[string]stamp{}
	for _, name := range names {
		if digests[name], stamps[name], err = h.settle(ctx, p.file(r.ID, name)); err != nil {
			return nil, err
		}
	}
	_, err = h.amend(ctx, p, r.ID, p.manifest(r.ID), func(m *manifest) {
		for name, digest := range digests {
			m.record(name, digest, stamps[name])
		}
	})
	return digests, err
}

// settle makes a file that somebody else wrote durable, and hashes it.
func (h *Host) settle(ctx context.Context, path string) (string, stamp, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", stamp{}, fmt.Errorf("the prover reported success without writing %s", path)
	}
	if err != nil {
		return "", stamp{}, err
	}
	if err := errors.Join(h.disk.sync(f), f.Close()); err != nil {
		return "", stamp{}, err
	}
	if err := h.disk.syncDir(filepath.Dir(path)); err != nil {
		return "", stamp{}, err
	}
	return h.hash(ctx, path)
}

// bound says whether the manifest is of the record's seal. tree-d belongs to every
// seal of its data.
func bound(r *jobs.Record, m manifest, names []string) error {
	if !slices.ContainsFunc(names, func(n string) bool { return n != jobs.TreeDFile }) {
		return nil
	}
	want, err := r.Seal().ReplicaID()
	if err != nil {
		return err
	}
	switch m.ReplicaID {
	case hex.EncodeToString(want[:]):
		return nil
	case "":
		return missing("the cache folder has no finished files of this ticket")
	}
	return jobs.Failf(jobs.Input, "the cache folder belongs to replica %s, not to %x", m.ReplicaID, want)
}

// CheckSealed compares the files a stage reads with the manifest.
func (h *Host) CheckSealed(ctx context.Context, r *jobs.Record, names ...string) (err error) {
	defer blame(&err, "check files of", r.ID)
	p, err := h.home(r)
	if err != nil {
		return err
	}
	_, err = h.checked(ctx, r, p, names)
	return err
}

// checked is CheckSealed on a path; it returns the manifest that holds.
func (h *Host) checked(ctx context.Context, r *jobs.Record, p *root, names []string) (manifest, error) {
	m, err := readManifest(p.manifest(r.ID))
	if err != nil {
		return m, err
	}
	if err := bound(r, m, names); err != nil {
		return m, err
	}
	fresh := map[string]stamp{}
	for _, name := range names {
		s, err := h.check(ctx, m, name, p.file(r.ID, name))
		if err != nil {
			return m, err
		}
		if s != m.Stamps[name] {
			fresh[name] = s
		}
	}
	if len(fresh) == 0 {
		return m, nil
	}
	return h.amend(ctx, p, r.ID, p.manifest(r.ID), func(m *manifest) {
		for name, s := range fresh {
			m.Stamps[name] = s
		}
	})
}

// Started says whether the cache folder holds a finished layer of the record's
// ticket. Provers give a layer its full size last, or its name: size is enough to
// say that hours were spent.
func (h *Host) Started(_ context.Context, r *jobs.Record) (_ bool, err error) {
	defer blame(&err, "look for layers of", r.ID)
	p, err := h.home(r)
	if err != nil || r.Ticket.Value == nil {
		return false, err
	}
	m, err := readManifest(p.manifest(r.ID))
	if err != nil {
		return false, err
	}
	layers := jobs.LayerFiles(r.Proof)
	if bound(r, m, layers) != nil {
		return false, nil // layers of another ticket do not count
	}
	for _, name := range layers {
		info, err := os.Stat(p.file(r.ID, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || uint64(info.Size()) == r.SectorSize() {
			return err == nil, err
		}
	}
	return false, nil
}

// LoadC1 reads C1's output from the home path, wherever it is, and checks it
// against the record.
func (h *Host) LoadC1(ctx context.Context, r *jobs.Record) (_ []byte, err error) {
	defer blame(&err, "load c1 output of", r.ID)
	if r.C1Digest == "" {
		return nil, errors.New("the record has no digest of it")
	}
	p, err := h.served(r.Home)
	if err != nil {
		return nil, err
	}
	var b []byte
	if p != nil {
		b, err = os.ReadFile(p.file(r.ID, jobs.C1File))
	} else {
		b, err = h.fetchC1(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(sumOf(b)); got != r.C1Digest {
		return nil, jobs.Failf(jobs.Input, "%s on path %s has SHA-256 %s, but the record says %s; c1 makes it again", jobs.C1File, r.Home, got, r.C1Digest)
	}
	return b, nil
}

func sumOf(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

// SaveC1 writes C1's output beside the files it was made from.
func (h *Host) SaveC1(ctx context.Context, r *jobs.Record, c1 []byte) (digest string, err error) {
	defer blame(&err, "save c1 output of", r.ID)
	p, err := h.home(r)
	if err != nil {
		return "", err
	}
	path := p.file(r.ID, jobs.C1File)
	if err := h.disk.write(path, c1); err != nil {
		return "", err
	}
	digest = hex.EncodeToString(sumOf(c1))
	_, err = h.amend(ctx, p, r.ID, p.manifest(r.ID), func(m *manifest) {
		m.record(jobs.C1File, digest, stamp{}) // just written: hashed when it is read
	})
	h.crashAt(jobs.C1, crash.AfterRename)
	return digest, err
}
