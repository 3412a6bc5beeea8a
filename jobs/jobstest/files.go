package jobstest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/lpseal/lpseal/jobs"
)

// Files is a [jobs.Files] in one folder that all hosts see. A path id is a folder
// of it, "store" the storage path. It keeps no locks and fsyncs nothing.
type Files struct {
	Dir  string
	Hook Hook
}

var _ jobs.Files = (*Files)(nil)

const (
	storePath = "store"
	manifest  = "manifest.json"
)

func (f *Files) folders(r *jobs.Record) jobs.Folders {
	home := filepath.Join(f.Dir, r.Home)
	return jobs.Folders{Cache: filepath.Join(home, "cache", r.ID.String()), Sealed: filepath.Join(home, "sealed", r.ID.String())}
}

func (f *Files) file(r *jobs.Record, name string) string {
	if name == jobs.SealedFile {
		return f.folders(r).Sealed
	}
	return filepath.Join(f.folders(r).Cache, name)
}

// Home makes the sector's folders.
func (f *Files) Home(ctx context.Context, r *jobs.Record) (jobs.Folders, error) {
	if err := f.Hook.call(ctx, "Home"); err != nil {
		return jobs.Folders{}, err
	}
	h := f.folders(r)
	return h, errors.Join(os.MkdirAll(h.Cache, 0o755), os.MkdirAll(filepath.Dir(h.Sealed), 0o755))
}

func (f *Files) manifest(r *jobs.Record) (m jobs.Manifest, err error) {
	b, err := os.ReadFile(f.file(r, manifest))
	if errors.Is(err, fs.ErrNotExist) {
		return jobs.Manifest{}, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err
}

func (f *Files) setManifest(r *jobs.Record, m jobs.Manifest) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	// As the real one: whole or not at all, for who writes it may be killed.
	temp, err := os.CreateTemp(filepath.Dir(f.file(r, manifest)), "manifest-")
	if err != nil {
		return err
	}
	_, err = temp.Write(b)
	return errors.Join(err, temp.Close(), os.Rename(temp.Name(), f.file(r, manifest)))
}

// Bind wipes layers of another manifest.
func (f *Files) Bind(ctx context.Context, r *jobs.Record, m jobs.Manifest) (jobs.Manifest, error) {
	if err := f.Hook.call(ctx, "Bind"); err != nil {
		return m, err
	}
	old, err := f.manifest(r)
	if err != nil {
		return m, err
	}
	m.Digests = old.Digests
	if old.ReplicaID != m.ReplicaID {
		for _, name := range jobs.LayerFiles(r.Proof) {
			delete(m.Digests, name)
			if err := os.Remove(f.file(r, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return m, err
			}
		}
	}
	return m, f.setManifest(r, m)
}

// Seal writes digests into the manifest.
func (f *Files) Seal(ctx context.Context, r *jobs.Record, names ...string) (map[string]string, error) {
	if err := f.Hook.call(ctx, "Seal"); err != nil {
		return nil, err
	}
	m, err := f.manifest(r)
	if err != nil {
		return nil, err
	}
	if m.Digests == nil {
		m.Digests = map[string]string{}
	}
	for _, name := range names {
		if m.Digests[name], err = digest(f.file(r, name)); err != nil {
			return nil, err
		}
	}
	return m.Digests, f.setManifest(r, m)
}

// CheckSealed compares digests with the manifest.
func (f *Files) CheckSealed(ctx context.Context, r *jobs.Record, names ...string) error {
	if err := f.Hook.call(ctx, "CheckSealed"); err != nil {
		return err
	}
	m, err := f.manifest(r)
	if err != nil {
		return err
	}
	for _, name := range names {
		got, err := digest(f.file(r, name))
		if errors.Is(err, fs.ErrNotExist) {
			return &jobs.Fault{Class: jobs.Input, Text: fmt.Sprintf("%s of %s is missing", name, r.ID), Missing: true}
		}
		if err != nil || got != m.Digests[name] {
			return jobs.Failf(jobs.Input, "%s of %s differs from its digest", name, r.ID)
		}
	}
	return nil
}

// Started looks for a first layer in the manifest of the record's ticket.
func (f *Files) Started(ctx context.Context, r *jobs.Record) (bool, error) {
	if err := f.Hook.call(ctx, "Started"); err != nil {
		return false, err
	}
	m, err := f.manifest(r)
	if err != nil {
		return false, err
	}
	replica, err := r.Seal().ReplicaID()
	_, layer := m.Digests[jobs.LayerFiles(r.Proof)[0]]
	return layer && m.ReplicaID == hex.EncodeToString(replica[:]), err
}

// SaveC1 writes the C1 output.
func (f *Files) SaveC1(ctx context.Context, r *jobs.Record, c1 []byte) (string, error) {
	if err := f.Hook.call(ctx, "SaveC1"); err != nil {
		return "", err
	}
	sum := sha256.Sum256(c1)
	return hex.EncodeToString(sum[:]), os.WriteFile(f.file(r, jobs.C1File), c1, 0o644)
}

// LoadC1 reads it and compares it with the record.
func (f *Files) LoadC1(ctx context.Context, r *jobs.Record) ([]byte, error) {
	if err := f.Hook.call(ctx, "LoadC1"); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(f.file(r, jobs.C1File))
	if err != nil {
		return nil, &jobs.Fault{Class: jobs.Input, Text: err.Error(), Missing: true}
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != r.C1Digest {
		return nil, jobs.Failf(jobs.Input, "the C1 output of %s differs from its digest", r.ID)
	}
	return b, nil
}

// Store copies what lasts to the storage path.
func (f *Files) Store(ctx context.Context, r *jobs.Record, report func(jobs.Progress)) (*jobs.Stored, error) {
	if err := f.Hook.call(ctx, "Store"); err != nil {
		return nil, err
	}
	to := filepath.Join(f.Dir, storePath, r.ID.String())
	if err := os.MkdirAll(to, 0o755); err != nil {
		return nil, err
	}
	out := &jobs.Stored{Path: storePath, Digests: map[string]string{}}
	for _, name := range append(jobs.LastingFiles(r.Proof), jobs.SealedFile) {
		b, err := os.ReadFile(f.file(r, name))
		if err != nil {
			return nil, &jobs.Fault{Class: jobs.Input, Text: err.Error(), Missing: true}
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o644); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		out.Digests[name] = hex.EncodeToString(sum[:])
		report(jobs.Progress{Step: "copy " + name, Done: uint64(len(b))})
	}
	return out, nil
}

// DropLayers removes the released files.
func (f *Files) DropLayers(ctx context.Context, r *jobs.Record) error {
	if err := f.Hook.call(ctx, "DropLayers"); err != nil {
		return err
	}
	for _, name := range jobs.ReleasedFiles(r.Proof) {
		if err := os.RemoveAll(f.file(r, name)); err != nil {
			return err
		}
	}
	return nil
}

// Finalize removes the scratch.
func (f *Files) Finalize(ctx context.Context, r *jobs.Record) error {
	if err := f.Hook.call(ctx, "Finalize"); err != nil {
		return err
	}
	return f.clear(r)
}

// Wipe removes everything but tree-d.
func (f *Files) Wipe(ctx context.Context, r *jobs.Record) error {
	if err := f.Hook.call(ctx, "Wipe"); err != nil {
		return err
	}
	kept, err := os.ReadFile(f.file(r, jobs.TreeDFile))
	had := err == nil
	m, err := f.manifest(r)
	if err = errors.Join(err, f.clear(r)); err != nil || !had {
		return err
	}
	if err := os.MkdirAll(f.folders(r).Cache, 0o755); err != nil {
		return err
	}
	m = jobs.Manifest{Digests: map[string]string{jobs.TreeDFile: m.Digests[jobs.TreeDFile]}}
	return errors.Join(os.WriteFile(f.file(r, jobs.TreeDFile), kept, 0o644), f.setManifest(r, m))
}

// Locate finds the record's own home, if it holds anything.
func (f *Files) Locate(ctx context.Context, r *jobs.Record) ([]jobs.Location, error) {
	if err := f.Hook.call(ctx, "Locate"); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(f.folders(r).Cache)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return []jobs.Location{}, nil
	}
	at := jobs.Location{Path: r.Home}
	for _, e := range entries {
		at.Files = append(at.Files, e.Name())
	}
	slices.Sort(at.Files)
	return []jobs.Location{at}, err
}

// Abandon removes the sector's scratch.
func (f *Files) Abandon(ctx context.Context, r *jobs.Record) error {
	if err := f.Hook.call(ctx, "Abandon"); err != nil {
		return err
	}
	return f.clear(r)
}

func (f *Files) clear(r *jobs.Record) error {
	h := f.folders(r)
	return errors.Join(os.RemoveAll(h.Cache), os.RemoveAll(h.Sealed))
}

func digest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
