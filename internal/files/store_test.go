package files

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// twoPaths is a host with a sealing path and a storage path, and a whole sector.
func twoPaths(t *testing.T) (h *Host, home, store *root, r *jobs.Record) {
	t.Helper()
	dir := t.TempDir()
	home1 := newPath(t, filepath.Join(dir, "seal"), PathOptions{CanSeal: true})
	newPath(t, filepath.Join(dir, "store"), PathOptions{CanStore: true})
	h = openHost(t, filepath.Join(dir, "seal"), filepath.Join(dir, "store"))
	r = newRecord(t, home1)
	r.KeepUnsealed = true
	sealSector(t, h, r)
	return h, h.roots[0], h.roots[1], r
}

func TestStoreLaysFilesOutAsLotusDoes(t *testing.T) {
	t.Parallel()
	h, _, store, r := twoPaths(t)
	var last jobs.Progress
	got, err := h.Store(context.Background(), r, func(p jobs.Progress) {
		require.GreaterOrEqual(t, p.Done, last.Done)
		last = p
	})
	require.NoError(t, err)
	require.Equal(t, last.Total, last.Done)
	require.Equal(t, store.meta.ID, got.Path)
	want := map[string]string{}
	for _, name := range lastingNames() {
		want[name] = sha(content(r, name))
	}
	data := content(r, jobs.TreeDFile)[:2048]
	want[jobs.UnsealedFile] = sha(data)
	require.Equal(t, want, got.Digests)
	files := tree(t, store.dir)
	require.Equal(t, string(content(r, jobs.SealedFile)), files["sealed/s-t01000-42"])
	require.Equal(t, string(data), files["unsealed/s-t01000-42"])
	for _, name := range jobs.LastingFiles(testProof) {
		require.Equal(t, string(content(r, name)), files["cache/s-t01000-42/"+name])
	}
	require.Len(t, sectorFiles(t, store), len(want)+1, "and the receipt, nothing else")
}

// A store that is repeated because nobody could be told of it reads no sector again: at
// 32 GiB every try would take minutes.
func TestARepeatedStoreReadsNothingAgain(t *testing.T) {
	t.Parallel()
	h, home, store, r := twoPaths(t)
	again := func() {
		t.Helper()
		h = openHost(t, home.dir, store.dir) // a process that remembers nothing
		_, err := h.Store(t.Context(), r, nil)
		require.NoError(t, err)
	}
	again()
	sealed := store.file(r.ID, jobs.SealedFile)
	hourAgo := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(sealed, hourAgo, hourAgo)) // settled
	again()

	f, err := os.OpenFile(sealed, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("unseen"), 0)
	require.NoError(t, errors.Join(err, f.Close()))
	require.NoError(t, os.Chtimes(sealed, hourAgo, hourAgo))
	again()
	b, err := os.ReadFile(sealed)
	require.NoError(t, err)
	require.Equal(t, "unseen", string(b[:6]))

	require.NoError(t, os.Chtimes(sealed, time.Time{}, time.Now().Add(-time.Minute)))
	again()
	b, err = os.ReadFile(sealed)
	require.NoError(t, err)
	require.Equal(t, content(r, jobs.SealedFile), b, "a file that was touched is read, and mended")
}

func TestStoreChoosesThePath(t *testing.T) {
	t.Parallel()
	type given struct {
		meta func(*Meta)
		free uint64
	}
	takes := func(m *Meta) { m.CanStore = true }
	for name, c := range map[string]struct {
		home  given
		paths map[string]given
		want  string // "home", a path, or empty for Busy
	}{
		"the most free space":       {given{nil, 1 << 40}, map[string]given{"a": {takes, 1 << 20}, "b": {takes, 1 << 30}, "c": {takes, 1 << 25}}, "b"},
		"home if it can store":      {given{takes, 1 << 10}, map[string]given{"a": {takes, 1 << 40}}, "home"},
		"none has room":             {given{nil, 1 << 40}, map[string]given{"a": {takes, 100}}, ""},
		"none stores":               {given{nil, 1 << 40}, map[string]given{"a": {func(*Meta) {}, 1 << 40}}, ""},
		"another miner's path":      {given{nil, 1 << 40}, map[string]given{"a": {func(m *Meta) { m.CanStore, m.AllowMiners = true, []string{"f02000"} }, 1 << 40}}, ""},
		"our miner's path":          {given{nil, 1 << 40}, map[string]given{"a": {func(m *Meta) { m.CanStore, m.AllowMiners = true, []string{"f01000"} }, 1 << 40}}, "a"},
		"a path closed to us":       {given{nil, 1 << 40}, map[string]given{"a": {func(m *Meta) { m.CanStore, m.DenyMiners = true, []string{"t01000"} }, 1 << 40}}, ""},
		"a path closed to sealed":   {given{nil, 1 << 40}, map[string]given{"a": {func(m *Meta) { m.CanStore, m.DenyTypes = true, []string{"sealed"} }, 1 << 40}}, ""},
		"a path for unsealed alone": {given{nil, 1 << 40}, map[string]given{"a": {func(m *Meta) { m.CanStore, m.AllowTypes = true, []string{"unsealed"} }, 1 << 40}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			free := map[string]uint64{}
			add := func(sub string, g given, o PathOptions) jobs.Path {
				p := newPath(t, filepath.Join(dir, sub), o)
				if g.meta != nil {
					edit(t, filepath.Join(dir, sub), g.meta)
				}
				free[filepath.Join(dir, sub)] = g.free
				return p
			}
			home := add("home", c.home, PathOptions{CanSeal: true})
			dirs := []string{filepath.Join(dir, "home")}
			for sub, g := range c.paths {
				add(sub, g, PathOptions{CanSeal: true})
				dirs = append(dirs, filepath.Join(dir, sub))
			}
			h, err := open(Options{Host: "h1", Paths: dirs}, func(dir string) (fileSystem, error) {
				return fileSystem{free: free[dir], total: 1 << 41}, nil
			})
			require.NoError(t, err)
			r := newRecord(t, home)
			if free[dirs[0]] < 1<<20 {
				free[dirs[0]] = 1 << 20 // sealing has room; storing is what is asked
			}
			sealSector(t, h, r)
			free[dirs[0]] = c.home.free
			got, err := h.Store(context.Background(), r, nil)
			if c.want == "" {
				requireFault(t, err, jobs.Busy)
				return
			}
			require.NoError(t, err)
			require.Equal(t, filepath.Join(dir, c.want), h.root(got.Path).dir)
		})
	}
}

// edit changes a path's sectorstore.json as an operator would.
func edit(t *testing.T, dir string, change func(*Meta)) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, MetaFile))
	require.NoError(t, err)
	var m Meta
	require.NoError(t, json.Unmarshal(b, &m))
	change(&m)
	b, err = json.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, MetaFile), b, 0o644))
}

func TestStoreGoesOnWhereItBegan(t *testing.T) {
	t.Parallel()
	h, _, first, r := twoPaths(t)
	digest := sha(content(r, jobs.SealedFile))
	require.NoError(t, os.WriteFile(first.arrival(r.ID, jobs.SealedFile, digest), content(r, jobs.SealedFile)[:100], 0o644))
	// Another path now has more space than the one that an earlier run chose.
	dir := t.TempDir()
	newPath(t, dir, PathOptions{CanStore: true})
	second, err := openRoot(dir, func(string) (fileSystem, error) { return fileSystem{free: 1 << 60}, nil })
	require.NoError(t, err)
	h.roots = append(h.roots, second)
	got, err := h.Store(context.Background(), r, nil)
	require.NoError(t, err)
	require.Equal(t, first.meta.ID, got.Path)
	require.Empty(t, sectorFiles(t, second))
}

// TestStoreLeavesAPathThatRanFull: of sectors that began at a time on the path with the most
// space, those that found none in the end go elsewhere, and take what they had brought away.
func TestStoreLeavesAPathThatRanFull(t *testing.T) {
	t.Parallel()
	h, _, first, r := twoPaths(t)
	half := first.arrival(r.ID, jobs.SealedFile, sha(content(r, jobs.SealedFile)))
	require.NoError(t, os.WriteFile(half, content(r, jobs.SealedFile)[:100], 0o644))
	first.stat = func(string) (fileSystem, error) { return fileSystem{free: 10, total: 1 << 40}, nil }
	_, err := h.Store(t.Context(), r, nil)
	require.ErrorContains(t, err, "free space or attach one")
	requireFault(t, err, jobs.Busy)
	require.FileExists(t, half)

	dir := t.TempDir()
	newPath(t, dir, PathOptions{CanStore: true})
	second, err := openRoot(dir, statFS)
	require.NoError(t, err)
	h.roots = append(h.roots, second)
	got, err := h.Store(t.Context(), r, nil)
	require.NoError(t, err)
	require.Equal(t, second.meta.ID, got.Path)
	require.Empty(t, sectorFiles(t, first))

	second.stat = first.stat
	_, err = h.Store(t.Context(), r, nil)
	require.NoError(t, err, "what is placed needs no room")
}

func TestStoreClearsUpAfterAnOlderReplica(t *testing.T) {
	t.Parallel()
	h, _, store, r := twoPaths(t)
	half := store.arrival(r.ID, jobs.SealedFile, sha([]byte("an older replica")))
	neighbour := store.arrival(jobs.SectorID{Miner: 1000, Number: 421}, jobs.SealedFile, "aa")
	for _, path := range []string{half, neighbour} {
		require.NoError(t, os.WriteFile(path, []byte("half"), 0o644))
	}
	_, err := h.Store(context.Background(), r, nil)
	require.NoError(t, err)
	require.NoFileExists(t, half)
	require.FileExists(t, neighbour)
}

func TestStoreDoesNotBelieveWhatArrivedWrong(t *testing.T) {
	t.Parallel()
	h, _, store, r := twoPaths(t)
	digest := sha(content(r, jobs.SealedFile))
	arrival := store.arrival(r.ID, jobs.SealedFile, digest)
	require.NoError(t, os.WriteFile(arrival, make([]byte, 2048), 0o644)) // zeros of the right size
	_, err := h.Store(context.Background(), r, nil)
	requireFault(t, err, jobs.Transient)
	require.NoFileExists(t, store.file(r.ID, jobs.SealedFile))
	require.NoFileExists(t, store.file(r.ID, jobs.PAuxFile), "a part of a sector is not placed")
	_, err = h.Store(context.Background(), r, nil)
	require.NoError(t, err, "the next run brings it again")
}

func TestStoreNamesTheStageThatMakesABadInput(t *testing.T) {
	t.Parallel()
	h, home, _, r := twoPaths(t)
	require.NoError(t, os.WriteFile(home.file(r.ID, jobs.TreeDFile), make([]byte, 4064), 0o644))
	_, err := h.Store(context.Background(), r, nil)
	require.Equal(t, jobs.TreeD, requireFault(t, err, jobs.Input).From)
}

func TestAReplacedReplicaIsMovedAsideNotDeleted(t *testing.T) {
	t.Parallel()
	h, _, store, r := twoPaths(t)
	ctx := context.Background()
	_, err := h.Store(ctx, r, nil)
	require.NoError(t, err)
	old := content(r, jobs.SealedFile)
	r.Ticket.Value = make([]byte, 32)
	sealSector(t, h, r)
	_, err = h.Store(ctx, r, nil)
	require.NoError(t, err)
	require.Equal(t, string(content(r, jobs.SealedFile)), tree(t, store.dir)["sealed/s-t01000-42"])
	var kept bool
	for _, b := range tree(t, filepath.Join(store.dir, supersededDir)) {
		kept = kept || b == string(old)
	}
	require.True(t, kept)
}

func TestFinalizeKeepsTheHomeCopyUnlessTheStoredOneIsWhole(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	damage := map[string]func(t *testing.T, path string){
		"gone":      func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
		"different": func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, make([]byte, 2048), 0o644)) },
	}
	for name, spoil := range damage {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, home, store, r := twoPaths(t)
			var err error
			r.Stored, err = h.Store(ctx, r, nil)
			require.NoError(t, err)
			spoil(t, store.file(r.ID, jobs.SealedFile))
			before := tree(t, home.dir)
			requireFault(t, h.Finalize(ctx, r), jobs.Rejected)
			require.Equal(t, before, tree(t, home.dir))
		})
	}
	t.Run("whole", func(t *testing.T) {
		t.Parallel()
		h, home, store, r := twoPaths(t)
		require.Error(t, h.Finalize(ctx, r), "not stored yet")
		var err error
		r.Stored, err = h.Store(ctx, r, nil)
		require.NoError(t, err)
		before := tree(t, store.dir)
		require.NoError(t, h.Finalize(ctx, r))
		require.Empty(t, sectorFiles(t, home))
		require.Equal(t, before, tree(t, store.dir))
	})
}

// Home and storage path are one: only scratch goes, whoever asks, and what other
// software keeps there stays.
func TestStoredFilesOutliveEverything(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, remove := range map[string]func(*Host, *jobs.Record) error{
		"drop layers": func(h *Host, r *jobs.Record) error { return h.DropLayers(ctx, r) },
		"finalize":    func(h *Host, r *jobs.Record) error { return h.Finalize(ctx, r) },
		"abandon":     func(h *Host, r *jobs.Record) error { return h.Abandon(ctx, r) },
		"wipe":        func(h *Host, r *jobs.Record) error { return h.Wipe(ctx, r) },
		"bind to a new ticket": func(h *Host, r *jobs.Record) error {
			_, err := h.Bind(ctx, r, jobs.Manifest{ReplicaID: "ff", Proof: r.Proof})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := newRecord(t, newPath(t, dir, PathOptions{CanSeal: true, CanStore: true}))
			h := openHost(t, dir)
			p := h.roots[0]
			sealSector(t, h, r)
			r.KeepUnsealed = true
			var err error
			r.Stored, err = h.Store(ctx, r, nil)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(p.file(r.ID, "somebody-elses"), []byte("x"), 0o644))
			want := map[string]string{}
			before := tree(t, dir)
			for _, path := range []string{"sealed/s-t01000-42", "unsealed/s-t01000-42", "cache/s-t01000-42/somebody-elses", "receipts/s-t01000-42.json"} {
				want[path] = before[path]
			}
			for _, f := range jobs.LastingFiles(testProof) {
				want["cache/s-t01000-42/"+f] = before["cache/s-t01000-42/"+f]
			}
			err = remove(h, r)
			if name == "wipe" || name == "bind to a new ticket" {
				requireFault(t, err, jobs.Rejected)
				require.Equal(t, before, tree(t, dir))
				return
			}
			require.NoError(t, err)
			got := tree(t, dir)
			for path, b := range want {
				require.Equal(t, b, got[path], path)
			}
			for _, layer := range jobs.LayerFiles(testProof) {
				require.NotContains(t, got, "cache/s-t01000-42/"+layer)
			}
			if name != "drop layers" {
				require.Len(t, sectorFiles(t, p), len(want))
			}
		})
	}
}

// TestAFullDiskCanBeFreed: what removes files needs no block for it; ext4 makes no folder on a
// full disk, and moves a file.
func TestAFullDiskCanBeFreed(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(*Host, *jobs.Record) error{
		"drop layers": func(h *Host, r *jobs.Record) error { return h.DropLayers(t.Context(), r) },
		"finalize":    func(h *Host, r *jobs.Record) error { return h.Finalize(t.Context(), r) },
		"abandon":     func(h *Host, r *jobs.Record) error { return h.Abandon(t.Context(), r) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, home, _, r := twoPaths(t)
			var err error
			r.Stored, err = h.Store(t.Context(), r, nil)
			require.NoError(t, err)
			h.disk.before = func(c change) error {
				switch c.op {
				case "mkdir", "open", "write":
					return &os.PathError{Op: c.op, Path: c.path, Err: syscall.ENOSPC}
				}
				return nil
			}
			require.NoError(t, remove(h, r))
			for _, layer := range jobs.LayerFiles(testProof) {
				require.NoFileExists(t, home.file(r.ID, layer))
			}
			require.Empty(t, tree(t, filepath.Join(home.dir, trashDir)))
		})
	}
}

// TestAFolderOfAnyName: brackets mean something to a shell, and nothing to a path.
func TestAFolderOfAnyName(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "disk[1]*")
	r := newRecord(t, newPath(t, dir, PathOptions{CanSeal: true}))
	h := openHost(t, dir)
	sealSector(t, h, r)
	arrival := h.roots[0].arrival(r.ID, jobs.SealedFile, "aa")
	require.NoError(t, os.WriteFile(arrival, []byte("half"), 0o644))
	require.NoError(t, h.Abandon(t.Context(), r))
	require.Empty(t, sectorFiles(t, h.roots[0]))
	require.Empty(t, tree(t, filepath.Join(dir, trashDir)))
}

// TestAbandonWithoutFiles: a sector is removed whatever became of its files.
func TestAbandonWithoutFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRecord(t, newPath(t, dir, PathOptions{CanSeal: true, CanStore: true}))
	h := openHost(t, dir)
	sealSector(t, h, r)
	var err error
	r.Stored, err = h.Store(t.Context(), r, nil)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(h.roots[0].cache(r.ID)))
	require.NoError(t, h.Abandon(t.Context(), r))
}

func TestAbandonOfASectorNeverPlaced(t *testing.T) {
	t.Parallel()
	h, _, _, r := twoPaths(t)
	r.Home = ""
	require.NoError(t, h.Abandon(context.Background(), r))
}

func TestStoredPath(t *testing.T) {
	t.Parallel()
	h, _, store, r := twoPaths(t)
	_, err := h.Stored(r, jobs.SealedFile)
	require.Error(t, err)
	r.Stored = &jobs.Stored{Path: store.meta.ID, Digests: map[string]string{jobs.SealedFile: "aa"}}
	path, err := h.Stored(r, jobs.SealedFile)
	require.NoError(t, err)
	require.Equal(t, store.file(r.ID, jobs.SealedFile), path)
	r.Stored.Path = "elsewhere"
	_, err = h.Stored(r, jobs.SealedFile)
	requireFault(t, err, jobs.Busy)
}
