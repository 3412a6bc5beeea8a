package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

func TestInitWritesWhatLotusReads(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "path")
	p, err := Init(dir, PathOptions{CanSeal: true, CanStore: true, Capacity: 12345, Weight: 7})
	require.Equal(t, dir, p.Dir)
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join(dir, "sectorstore.json"))
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(b, &got))
	require.Equal(t, map[string]any{
		"ID": p.ID, "Weight": 7.0, "CanSeal": true, "CanStore": true, "MaxStorage": 12345.0,
		"Groups": nil, "AllowTo": nil, "AllowTypes": nil, "DenyTypes": nil, "AllowMiners": nil, "DenyMiners": nil,
	}, got)
	require.EqualValues(t, 12345, p.Capacity)
	require.NotZero(t, p.Free)
	require.EqualValues(t, 7, p.Weight)
	_, err = Init(dir, PathOptions{CanSeal: true})
	require.ErrorContains(t, err, "already")
	_, err = Init(t.TempDir(), PathOptions{})
	require.ErrorContains(t, err, "for sealing")
}

func TestOpenPathAdoptsLotusPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lotus := `{"ID":"7e2a0d12-6a3b-4a57-8b5e-0a8a8e6f7c11","Weight":10,"CanSeal":false,"CanStore":true,"MaxStorage":0,"Groups":[],"AllowTo":[],"AllowTypes":null,"DenyTypes":null,"SomethingNew":1}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, MetaFile), []byte(lotus), 0o644))
	p, err := OpenPath(dir)
	require.NoError(t, err)
	require.Equal(t, "7e2a0d12-6a3b-4a57-8b5e-0a8a8e6f7c11", p.ID)
	require.True(t, p.CanStore)
	require.False(t, p.CanSeal)
	require.NotZero(t, p.Capacity, "MaxStorage 0 is the whole file system")
	b, err := os.ReadFile(filepath.Join(dir, MetaFile))
	require.NoError(t, err)
	require.Equal(t, lotus, string(b), "another program's file is left as it is")
}

func TestPathsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := OpenPath(dir)
	require.ErrorContains(t, err, "lpseal storage attach")
	for _, bad := range []string{"{", `{"ID":"../../etc"}`, `{}`} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, MetaFile), []byte(bad), 0o644))
		_, err = OpenPath(dir)
		require.ErrorContains(t, err, dir, bad)
	}

	sealing, storing := filepath.Join(dir, "seal"), filepath.Join(dir, "store")
	newPath(t, sealing, PathOptions{CanSeal: true})
	newPath(t, storing, PathOptions{CanStore: true})
	for _, kind := range []string{"NFS", "CIFS", "FUSE"} {
		mounted := func(string) (fileSystem, error) { return fileSystem{1 << 40, 1 << 40, kind}, nil }
		_, err = open(Options{Host: "h1", Paths: []string{sealing}}, mounted)
		require.ErrorContains(t, err, "sealing on "+kind+" is refused")
		require.ErrorContains(t, err, sealing)
		require.ErrorContains(t, err, "CanSeal false", "the remedy is named")
		_, err = open(Options{Host: "h1", Paths: []string{storing}}, mounted)
		require.NoError(t, err, "storing there is fine")
	}

	twin := filepath.Join(dir, "twin")
	require.NoError(t, os.CopyFS(twin, os.DirFS(sealing)))
	_, err = Open(Options{Host: "h1", Paths: []string{sealing, twin}})
	require.ErrorContains(t, err, "same id")
	_, err = Open(Options{Host: "H 1"})
	require.ErrorContains(t, err, "host id")
	_, err = Open(Options{Host: "h1", Secret: []byte("short")})
	require.ErrorContains(t, err, "secret")
}

// The permission check runs in a process of its own, which gives up root first where
// it has it.
func TestAFolderWithoutPermission(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	newPath(t, dir, PathOptions{CanSeal: true})
	require.NoError(t, os.Chmod(filepath.Join(dir, locksDir), 0o500))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, locksDir), 0o700) })
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), openPathEnv+"="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "path "+dir)
	require.Contains(t, string(out), "chown")
}

// openPathEnv makes the test binary open a path as an ordinary user and print the
// error.
const openPathEnv = "LPSEAL_TEST_OPEN_PATH"

func openPathAsUser(dir string) {
	if os.Geteuid() == 0 {
		if err := syscall.Setuid(65534); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	_, err := OpenPath(dir)
	fmt.Println(err)
}

func TestADiskThatFillsUp(t *testing.T) {
	t.Parallel()
	h, p, r := onePath(t)
	require.Len(t, h.Paths(), 1)
	p.stat = func(string) (fileSystem, error) { return fileSystem{free: 1000, total: 1 << 40}, nil }
	next := *r
	next.ID.Number++
	_, err := h.Home(context.Background(), &next)
	requireFault(t, err, jobs.Busy)
	require.ErrorContains(t, err, p.dir)
	// What the sector has already is not asked for again.
	need := jobs.SealingSpace(abi.RegisteredSealProof_StackedDrg2KiBV1_1)
	p.stat = func(string) (fileSystem, error) { return fileSystem{free: need - p.used(r.ID), total: 1 << 40}, nil }
	_, err = h.Home(context.Background(), r)
	require.NoError(t, err)
	_, err = h.Home(context.Background(), &next)
	requireFault(t, err, jobs.Busy)
	p.stat = func(string) (fileSystem, error) { return fileSystem{}, syscall.EIO }
	require.Empty(t, h.Paths(), "a disk that dropped out is not offered")
}

func TestHomeIsAPathThatSeals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRecord(t, newPath(t, dir, PathOptions{CanStore: true}))
	_, err := openHost(t, dir).Home(context.Background(), r)
	requireFault(t, err, jobs.Busy)
	r.Home = "elsewhere"
	_, err = openHost(t, dir).Home(context.Background(), r)
	requireFault(t, err, jobs.Busy)
}

func TestClassify(t *testing.T) {
	t.Parallel()
	at := func(err error) error { return &fs.PathError{Op: "write", Path: "/mnt/nvme0/x", Err: err} }
	for _, c := range []struct {
		err     error
		class   jobs.FaultClass
		missing bool
		text    string
	}{
		{at(syscall.ENOSPC), jobs.Busy, false, "free space"},
		{at(syscall.ENOENT), jobs.Input, true, "/mnt/nvme0/x"},
		{jobs.Failf(jobs.Data, "as it was"), jobs.Data, false, "as it was"},
		{at(syscall.EINVAL), jobs.Bug, false, "invalid argument"},
	} {
		f, ok := jobs.Classify(context.Background(), Classify(c.err, "store s-t01000-42"))
		require.True(t, ok)
		require.Equal(t, c.class, f.Class, "%v", c.err)
		require.Equal(t, c.missing, f.Missing, "%v", c.err)
		require.Contains(t, f.Text, c.text)
		require.Contains(t, f.Text, "store s-t01000-42")
	}
	require.NoError(t, Classify(nil, "x"))
	_, ok := jobs.Classify(context.Background(), Classify(context.Canceled, "x"))
	require.False(t, ok)
}

func TestLocks(t *testing.T) {
	t.Parallel()
	h, p, r := onePath(t)
	other := openHost(t, p.dir) // as another process: flock belongs to the open file
	sdr, err := h.Lock(r, jobs.SDR, false)
	require.NoError(t, err)
	tree, err := other.Lock(r, jobs.TreeD, false)
	require.NoError(t, err, "stages run beside each other")
	_, err = other.Lock(r, jobs.SDR, false)
	requireFault(t, err, jobs.Busy)
	require.ErrorContains(t, err, "s-t01000-42.sdr")
	_, err = other.Lock(r, jobs.RecoverWipe, true)
	requireFault(t, err, jobs.Busy)
	neighbour := *r
	neighbour.ID.Number = 421
	free, err := other.Lock(&neighbour, jobs.RecoverWipe, true)
	require.NoError(t, err)
	free.Unlock()

	// A refused lock holds nothing, not even in part.
	tree.Unlock()
	_, err = other.Lock(r, jobs.SDR, false)
	requireFault(t, err, jobs.Busy)
	sdr.Unlock()
	wipe := lockSoon(t, other, r, jobs.RecoverWipe, true)
	_, err = h.Lock(r, jobs.SDR, false)
	requireFault(t, err, jobs.Busy)
	wipe.Unlock()
	require.FileExists(t, p.lock(r.ID, ""), "lock files stay: another may be about to open one")

	away := *r
	away.Home = "elsewhere"
	_, err = h.Lock(&away, jobs.SDR, false)
	requireFault(t, err, jobs.Busy)
	c2, err := h.Lock(&away, jobs.C2, false)
	require.NoError(t, err, "c2 runs on any host")
	_, err = other.Lock(&away, jobs.C2, false)
	requireFault(t, err, jobs.Busy)
	c2.Unlock()
	bare, err := openHost(t).Lock(&away, jobs.C2, false)
	require.NoError(t, err)
	require.Empty(t, bare.Files())
}

// A child that inherited the lock holds it after the parent let go, and the kernel
// frees it when the child is gone, however it ended.
func TestAChildInheritsTheLock(t *testing.T) {
	t.Parallel()
	h, p, r := onePath(t)
	l, err := h.Lock(r, jobs.SDR, false)
	require.NoError(t, err)
	cmd := exec.Command("cat")
	cmd.ExtraFiles = l.Files()
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	l.Unlock()
	_, err = openHost(t, p.dir).Lock(r, jobs.SDR, false)
	requireFault(t, err, jobs.Busy)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	_ = in.Close()
	lockSoon(t, h, r, jobs.SDR, false).Unlock()
}

// lockSoon takes a lock that everybody let go of: a child that another test is just
// forking may have it until it execs.
func lockSoon(t *testing.T, h *Host, r *jobs.Record, stage jobs.Stage, exclusive bool) (l *Lock) {
	t.Helper()
	require.Eventually(t, func() (free bool) {
		var err error
		l, err = h.Lock(r, stage, exclusive)
		return err == nil
	}, 10*time.Second, time.Millisecond)
	return l
}

func TestDigestOfStopsWhenCalledOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := digestOf(ctx, bytes.NewReader(make([]byte, 10)))
	require.ErrorIs(t, err, context.Canceled)
	_, err = digestOf(context.Background(), errReader{})
	require.ErrorIs(t, err, syscall.EIO)
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.Join(syscall.EIO) }

// Two sectors of the room for one must never be promised: what a sector has written is
// lost to the free space, and its promise stands until it is finalized.
func TestCapacityIsWhatMayBePromised(t *testing.T) {
	t.Parallel()
	const kib = 1 << 10
	for name, c := range map[string]struct {
		fs         fileSystem
		maxStorage uint64
		purpose    PathOptions
		sealing    bool // a sector that is being sealed has files on the path
		stored     bool // so has one that was finalized
		want       uint64
	}{
		"an empty disk":                     {fileSystem{free: 90 * kib, total: 100 * kib}, 0, PathOptions{CanSeal: true}, false, false, 90 * kib},
		"others fill the disk":              {fileSystem{free: 30 * kib, total: 100 * kib}, 0, PathOptions{CanSeal: true}, false, false, 30 * kib},
		"a sector has written of its own":   {fileSystem{free: 30 * kib, total: 100 * kib}, 0, PathOptions{CanSeal: true}, true, false, 34 * kib},
		"a stored sector gives no room":     {fileSystem{free: 30 * kib, total: 100 * kib}, 0, PathOptions{CanSeal: true, CanStore: true}, false, true, 30 * kib},
		"both":                              {fileSystem{free: 30 * kib, total: 100 * kib}, 0, PathOptions{CanSeal: true, CanStore: true}, true, true, 34 * kib},
		"a bound below what is free":        {fileSystem{free: 90 * kib, total: 100 * kib}, 20 * kib, PathOptions{CanSeal: true}, true, false, 20 * kib},
		"a bound above what is free":        {fileSystem{free: 30 * kib, total: 100 * kib}, 50 * kib, PathOptions{CanSeal: true}, false, false, 30 * kib},
		"storage only: nothing is promised": {fileSystem{free: 30 * kib, total: 100 * kib}, 0, PathOptions{CanStore: true}, false, true, 100 * kib},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c.purpose.Capacity = c.maxStorage
			newPath(t, dir, c.purpose)
			h, err := open(Options{Host: "h1", Paths: []string{dir}}, func(string) (fileSystem, error) { return c.fs, nil })
			require.NoError(t, err)
			put := func(number abi.SectorNumber, names ...string) {
				id := jobs.SectorID{Miner: 1000, Number: number}
				require.NoError(t, os.MkdirAll(h.roots[0].cache(id), 0o755))
				for _, name := range names {
					require.NoError(t, os.WriteFile(h.roots[0].file(id, name), make([]byte, 2*kib), 0o644))
				}
			}
			if c.sealing {
				put(1, jobs.TreeDFile, jobs.SealedFile)
				require.NoError(t, os.WriteFile(h.roots[0].manifest(jobs.SectorID{Miner: 1000, Number: 1}), nil, 0o644))
			}
			if c.stored {
				put(2, jobs.PAuxFile, jobs.SealedFile)
			}
			require.Equal(t, c.want, h.Paths()[0].Capacity)
			require.Equal(t, c.fs.free, h.Paths()[0].Free)
		})
	}
}

// A process that serves one sector opens its path though another's disk is away.
func TestAPartialHost(t *testing.T) {
	t.Parallel()
	whole, home, store, r := twoPaths(t)
	require.NoError(t, os.Remove(filepath.Join(store.dir, MetaFile)))
	o := whole.Options
	_, err := Open(o)
	require.ErrorContains(t, err, "path "+store.dir+": has no sectorstore.json")
	o.Partial = true
	h, err := Open(o)
	require.NoError(t, err)
	_, err = h.Home(t.Context(), r)
	require.NoError(t, err)

	require.NoError(t, os.Remove(filepath.Join(home.dir, MetaFile)))
	h, err = Open(o)
	require.NoError(t, err)
	_, err = h.Home(t.Context(), r)
	requireFault(t, err, jobs.Busy)
	require.ErrorContains(t, err, "one of those that it cannot open: path "+home.dir+": has no sectorstore.json")
	r.Stages[jobs.TreeD] = jobs.StageRecord{State: jobs.Done}
	_, err = h.Locate(t.Context(), r)
	requireFault(t, err, jobs.Transient) // and not "found nowhere", which makes them again
}

// A proof is made on a host that serves another path, whose disk is away.
func TestLockWhereADiskIsAway(t *testing.T) {
	t.Parallel()
	h, home, _, r := twoPaths(t)
	require.NoError(t, os.Remove(filepath.Join(home.dir, MetaFile)))
	r.Home = uuid.NewString() // of another host
	l, err := h.Lock(r, jobs.C2, false)
	require.NoError(t, err)
	l.Unlock()
}

// A disk drops out under a running worker: its mount point is left, empty. Nothing is
// written there, and nothing that was on the disk counts as lost.
func TestADiskThatIsAway(t *testing.T) {
	t.Parallel()
	away := func(t *testing.T, p *root) {
		require.NoError(t, os.Rename(p.dir, p.dir+".disk"))
		require.NoError(t, os.Mkdir(p.dir, 0o755))
		t.Cleanup(func() {
			left, err := os.ReadDir(p.dir)
			require.NoError(t, err)
			require.Empty(t, left, "nothing was written to the mount point")
		})
	}
	t.Run("home", func(t *testing.T) {
		t.Parallel()
		h, home, store, r := twoPaths(t)
		away(t, home)
		ids := func() (out []string) {
			for _, p := range h.Paths() {
				out = append(out, p.ID)
			}
			return out
		}
		require.Equal(t, []string{store.meta.ID}, ids(), "no sector is placed there")
		_, err := h.Home(t.Context(), r)
		requireFault(t, err, jobs.Busy)
		require.ErrorContains(t, err, "the disk is away: path "+home.dir+": has no sectorstore.json; mount its disk")
		_, err = h.Lock(r, jobs.C1, false)
		requireFault(t, err, jobs.Busy)
		_, err = h.Store(t.Context(), r, nil)
		requireFault(t, err, jobs.Busy)
		r.C1Digest = sha([]byte("c1"))
		_, err = h.LoadC1(t.Context(), r)
		requireFault(t, err, jobs.Busy)
		_, err = h.UploadPiece(t.Context(), home.meta.ID, filepath.Join(store.dir, MetaFile), nil)
		requireFault(t, err, jobs.Busy)
		r.Stages[jobs.TreeD] = jobs.StageRecord{State: jobs.Done}
		_, err = h.Locate(t.Context(), r)
		requireFault(t, err, jobs.Transient) // and not "found nowhere", which makes them again

		// Another disk, on the same mount point.
		b, err := os.ReadFile(filepath.Join(store.dir, MetaFile))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(home.dir, MetaFile), b, 0o644))
		_, err = h.Home(t.Context(), r)
		requireFault(t, err, jobs.Busy)
		require.ErrorContains(t, err, "another disk is mounted there")
		require.NoError(t, os.Remove(filepath.Join(home.dir, MetaFile)))
	})
	t.Run("store", func(t *testing.T) {
		t.Parallel()
		h, _, store, r := twoPaths(t)
		stored, err := h.Store(t.Context(), r, nil)
		require.NoError(t, err)
		r.Stored = stored
		away(t, store)
		requireFault(t, h.Finalize(t.Context(), r), jobs.Busy) // not held as gone
		_, err = h.Stored(r, jobs.SealedFile)
		requireFault(t, err, jobs.Busy)
		_, err = h.Store(t.Context(), r, nil)
		requireFault(t, err, jobs.Busy)
		require.ErrorContains(t, err, "(not seen: the disk is away: path "+store.dir+": has no sectorstore.json")
	})
}
