package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"

	"github.com/lpseal/lpseal/jobs"
)

// MetaFile describes a path; lotus and Curio read and write the same file.
const MetaFile = "sectorstore.json"

// The folders of a path.
const (
	cacheDir      = "cache"
	sealedDir     = "sealed"
	unsealedDir   = "unsealed"
	locksDir      = "locks"
	receiptsDir   = "receipts"
	fetchingDir   = "fetching"
	supersededDir = "superseded"
	trashDir      = "trash"
	piecesDir     = "pieces"
)

// Meta is a path's sectorstore.json.
type Meta struct {
	ID         string // uuid
	Weight     uint64 // relative share of new sectors; lotus' default is 10
	CanSeal    bool
	CanStore   bool
	MaxStorage uint64 // bytes; 0 is the whole file system
	// The rest is honoured when a storage path is chosen and otherwise kept.
	Groups      []string
	AllowTo     []string
	AllowTypes  []string // of "unsealed", "sealed", "cache"
	DenyTypes   []string
	AllowMiners []string // addresses
	DenyMiners  []string
}

// PathOptions says what a new path is for.
type PathOptions struct {
	CanSeal  bool
	CanStore bool
	Capacity uint64 // bytes lpseal may fill; 0 is the whole file system
	Weight   uint64 // 0 is 10, lotus' default
}

// Init makes a folder a path: it writes sectorstore.json with a fresh id. A folder
// that has one is refused: its id is what records know it by.
func Init(dir string, o PathOptions) (jobs.Path, error) { return initPath(disk{}, dir, o) }

func initPath(d disk, dir string, o PathOptions) (jobs.Path, error) {
	if !o.CanSeal && !o.CanStore {
		return jobs.Path{}, fmt.Errorf("path %s: say whether it is for sealing, for storage or for both", dir)
	}
	name := filepath.Join(dir, MetaFile)
	if _, err := os.Stat(name); err == nil {
		return jobs.Path{}, fmt.Errorf("path %s: is a path already (%s exists); add it to worker.paths as it is", dir, name)
	}
	if o.Weight == 0 {
		o.Weight = 10
	}
	meta := Meta{ID: uuid.NewString(), Weight: o.Weight, CanSeal: o.CanSeal, CanStore: o.CanStore, MaxStorage: o.Capacity}
	b, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return jobs.Path{}, err
	}
	if err := d.mkdir(dir); err != nil {
		return jobs.Path{}, unusable(dir, err)
	}
	if o.CanSeal {
		if err := refuseNetwork(dir, statFS); err != nil {
			return jobs.Path{}, err
		}
	}
	if err := d.write(name, append(b, '\n')); err != nil {
		return jobs.Path{}, unusable(dir, err)
	}
	return OpenPath(dir)
}

// OpenPath reads a path that Init, lotus or Curio made, and checks that this
// process may use it.
func OpenPath(dir string) (jobs.Path, error) {
	p, err := openRoot(dir, statFS)
	if err != nil {
		return jobs.Path{}, err
	}
	return p.describe()
}

// root is an open path of this host.
type root struct {
	dir  string // absolute
	meta Meta
	stat func(dir string) (fileSystem, error)
}

func openRoot(dir string, stat func(string) (fileSystem, error)) (*root, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	meta, err := readMeta(dir)
	if err != nil {
		return nil, err
	}
	p := &root{dir: dir, meta: meta, stat: stat}
	if p.meta.CanSeal {
		if err := refuseNetwork(dir, stat); err != nil {
			return nil, err
		}
	}
	for _, sub := range []string{cacheDir, sealedDir, unsealedDir, locksDir, receiptsDir, fetchingDir, supersededDir, trashDir, piecesDir} {
		// Not made durable: a folder that a power cut takes is made at the next start.
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, unusable(dir, err)
		}
	}
	return p, p.probe()
}

// readMeta reads what the folder says of itself. One that says nothing may be the mount
// point of a disk that is away: to make that one a path would fill another disk.
func readMeta(dir string) (m Meta, err error) {
	b, err := os.ReadFile(filepath.Join(dir, MetaFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("path %s: has no %s; mount its disk, or make a new path with: lpseal storage attach --init --seal %s (or --store, or both)", dir, MetaFile, dir)
	}
	if err != nil {
		return m, unusable(dir, err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("path %s: %s: %w", dir, MetaFile, err)
	}
	if _, err := uuid.Parse(m.ID); err != nil {
		return m, fmt.Errorf("path %s: %s: id %q is not a uuid", dir, MetaFile, m.ID)
	}
	return m, nil
}

// there says whether the folder still is the path that was opened. Where a disk drops out,
// its mount point is left, an empty folder of another disk: what is written there is hidden
// when the disk comes back, and what is not found there is not lost, so nothing is made again.
func (p *root) there() error {
	m, err := readMeta(p.dir)
	if err == nil && m.ID != p.meta.ID {
		err = fmt.Errorf("path %s: has id %s now, not %s: another disk is mounted there", p.dir, m.ID, p.meta.ID)
	}
	if err != nil {
		return jobs.Failf(jobs.Busy, "the disk is away: %w", err)
	}
	return nil
}

// probe finds out before a sector does whether the folder may be written.
func (p *root) probe() error {
	f, err := os.CreateTemp(filepath.Join(p.dir, locksDir), ".probe-*")
	if err != nil {
		return unusable(p.dir, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// unusable tells an operator what to do about a folder.
func unusable(dir string, err error) error {
	return Classify(err, "path "+dir)
}

// refuseNetwork refuses to seal on a network file system: layers are written at
// gigabytes per second with random reads beside them, and flock, which keeps two
// children apart, is not dependable there (design rule 9).
func refuseNetwork(dir string, stat func(string) (fileSystem, error)) error {
	fsys, err := stat(dir)
	if err != nil {
		return unusable(dir, err)
	}
	if fsys.network != "" {
		return fmt.Errorf("path %s: sealing on %s is refused; seal on a local disk and use this folder for storage only (CanSeal false in %s)",
			dir, fsys.network, MetaFile)
	}
	return nil
}

func (p *root) describe() (jobs.Path, error) {
	if err := p.there(); err != nil {
		return jobs.Path{}, err
	}
	fsys, err := p.stat(p.dir)
	if err != nil {
		return jobs.Path{}, unusable(p.dir, err)
	}
	capacity := fsys.total
	if p.meta.CanSeal {
		written, err := p.written()
		if err != nil {
			return jobs.Path{}, unusable(p.dir, err)
		}
		capacity = min(capacity, fsys.free+written)
	}
	if p.meta.MaxStorage != 0 {
		capacity = min(capacity, p.meta.MaxStorage)
	}
	return jobs.Path{ID: p.meta.ID, Dir: p.dir, CanSeal: p.meta.CanSeal, CanStore: p.meta.CanStore, Capacity: capacity, Free: fsys.free, Weight: p.meta.Weight}, nil
}

// accepts says whether the path's owner lets it store files of a miner.
func (p *root) accepts(id jobs.SectorID, names []string) bool {
	m := p.meta
	ours := func(s string) bool {
		a, err := address.NewFromString(s)
		if err != nil {
			return false
		}
		actor, err := address.IDFromAddress(a)
		return err == nil && actor == uint64(id.Miner)
	}
	if slices.ContainsFunc(m.DenyMiners, ours) || len(m.AllowMiners) > 0 && !slices.ContainsFunc(m.AllowMiners, ours) {
		return false
	}
	for _, name := range names {
		t := fileType(name)
		if slices.Contains(m.DenyTypes, t) || len(m.AllowTypes) > 0 && !slices.Contains(m.AllowTypes, t) {
			return false
		}
	}
	return m.CanStore
}

// fileType is lotus' word for the folder a file belongs to.
func fileType(name string) string {
	switch name {
	case jobs.SealedFile:
		return sealedDir
	case jobs.UnsealedFile:
		return unsealedDir
	}
	return cacheDir
}

func (p *root) cache(id jobs.SectorID) string { return filepath.Join(p.dir, cacheDir, id.String()) }

// file is where lotus and rust-fil-proofs look for a sector's file.
func (p *root) file(id jobs.SectorID, name string) string {
	switch t := fileType(name); t {
	case cacheDir:
		return filepath.Join(p.cache(id), name)
	default:
		return filepath.Join(p.dir, t, id.String())
	}
}

func (p *root) lock(id jobs.SectorID, suffix string) string {
	return filepath.Join(p.dir, locksDir, id.String()+suffix)
}

// arrival is where a file grows before it is whole. The digest in its name keeps
// two replicas of one sector number apart.
func (p *root) arrival(id jobs.SectorID, name, digest string) string {
	return filepath.Join(p.dir, fetchingDir, fmt.Sprintf("%s.%s.%.16s", id, name, digest))
}

// arrivals are all files of a sector that grow or grew on the path.
func (p *root) arrivals(id jobs.SectorID) ([]string, error) {
	return beginning(filepath.Join(p.dir, fetchingDir), id.String()+".")
}

// beginning lists what has a name that begins so in a folder. A pattern of filepath.Glob
// would hold the path's own name, which may be any.
func beginning(dir, prefix string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// arriving is how many bytes the sector's arrivals have.
func (p *root) arriving(id jobs.SectorID) (n uint64, err error) {
	arrivals, err := p.arrivals(id)
	for _, path := range arrivals {
		if info, err := os.Stat(path); err == nil {
			n += uint64(info.Size())
		}
	}
	return n, err
}

// knownFiles is the closed set of names that a request may ask for, from the file
// names of every sector shape.
var knownFiles = func() map[string]bool {
	known := map[string]bool{
		jobs.SealedFile: true, jobs.UnsealedFile: true, jobs.C1File: true, jobs.TreeDFile: true, jobs.SyntheticFile: true,
	}
	for _, proof := range []abi.RegisteredSealProof{
		abi.RegisteredSealProof_StackedDrg2KiBV1_1, abi.RegisteredSealProof_StackedDrg32GiBV1_1, abi.RegisteredSealProof_StackedDrg64GiBV1_1,
	} {
		for _, names := range [][]string{jobs.LayerFiles(proof), jobs.TreeCFiles(proof), jobs.LastingFiles(proof)} {
			for _, name := range names {
				known[name] = true
			}
		}
	}
	return known
}()
