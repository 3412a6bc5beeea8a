package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// onePath is a host with one sealing path and a sector whose files are whole.
func onePath(t *testing.T) (*Host, *root, *jobs.Record) {
	t.Helper()
	dir := t.TempDir()
	r := newRecord(t, newPath(t, dir, PathOptions{CanSeal: true}))
	h := openHost(t, dir)
	sealSector(t, h, r)
	return h, h.roots[0], r
}

func TestBindKeepsWhatIsOfTheSameSeal(t *testing.T) {
	t.Parallel()
	h, p, r := onePath(t)
	before := tree(t, p.dir)
	m, err := h.Bind(context.Background(), r, manifestOf(t, r))
	require.NoError(t, err)
	require.Equal(t, before, tree(t, p.dir))
	for _, name := range append(lastingNames(), jobs.LayerFiles(testProof)...) {
		require.Equal(t, sha(content(r, name)), m.Digests[name], name)
	}
}

func TestBindToANewTicketKeepsOnlyTreeD(t *testing.T) {
	t.Parallel()
	h, p, r := onePath(t)
	// tree_d may be at work again beside sdr.
	making := p.file(r.ID, jobs.TreeDFile) + ".tmp"
	require.NoError(t, os.WriteFile(making, nil, 0o644))
	next := *r
	next.Ticket.Value = make([]byte, 32)
	m, err := h.Bind(context.Background(), &next, manifestOf(t, &next))
	require.NoError(t, err)
	require.Equal(t, manifestOf(t, &next).ReplicaID, m.ReplicaID)
	require.Equal(t, map[string]string{jobs.TreeDFile: sha(content(r, jobs.TreeDFile))}, m.Digests)
	require.Equal(t, map[string]bool{
		"cache/s-t01000-42/" + jobs.TreeDFile:          true,
		"cache/s-t01000-42/" + jobs.TreeDFile + ".tmp": true,
		"cache/s-t01000-42/" + ManifestFile:            true,
	}, sectorFiles(t, p))
	require.NoError(t, h.CheckSealed(context.Background(), &next, jobs.TreeDFile))
	// The old ticket's layers must not pass for the new one's, nor the other way.
	requireFault(t, h.CheckSealed(context.Background(), r, jobs.LayerFiles(testProof)...), jobs.Input)
}

func TestWipe(t *testing.T) {
	t.Parallel()
	h, p, r := onePath(t)
	require.NoError(t, h.Wipe(context.Background(), r))
	m, err := readManifest(p.manifest(r.ID))
	require.NoError(t, err)
	require.Empty(t, m.ReplicaID, "the folder is nobody's: the next Bind clears up what a cut left")
	require.Equal(t, map[string]bool{
		"cache/s-t01000-42/" + jobs.TreeDFile: true,
		"cache/s-t01000-42/" + ManifestFile:   true,
	}, sectorFiles(t, p))
	r.ID.Number = 7
	require.NoError(t, h.Wipe(context.Background(), r), "nothing there is nothing to do")
}

func sectorFiles(t *testing.T, p *root) map[string]bool {
	t.Helper()
	out := names(tree(t, p.dir))
	for name := range out {
		if filepath.Dir(name) == locksDir || name == MetaFile {
			delete(out, name)
		}
	}
	return out
}

func TestAFolderNobodyBoundIsWiped(t *testing.T) {
	t.Parallel()
	h, p, r := onePath(t)
	for name, manifest := range map[string][]byte{"gone": nil, "not ours": []byte(`{"replica_id":"00"}`), "no JSON": []byte("{")} {
		require.NoError(t, os.WriteFile(p.file(r.ID, jobs.LayerFiles(testProof)[0]), []byte("x"), 0o644))
		require.NoError(t, os.Remove(p.manifest(r.ID)))
		if manifest != nil {
			require.NoError(t, os.WriteFile(p.manifest(r.ID), manifest, 0o644))
		}
		_, err := h.Bind(context.Background(), r, manifestOf(t, r))
		require.NoError(t, err, name)
		require.NoFileExists(t, p.file(r.ID, jobs.LayerFiles(testProof)[0]), name)
	}
}

func TestCheckSealed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, c := range map[string]struct {
		damage func(t *testing.T, path string)
		class  jobs.FaultClass // empty: it passes
		lost   bool
	}{
		"untouched": {func(*testing.T, string) {}, "", false},
		"gone": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
		}, jobs.Input, true},
		"one byte changed at once": {func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte{0xff}, 77)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}, jobs.Input, false},
		"cut short": {func(t *testing.T, path string) {
			require.NoError(t, os.Truncate(path, 2016))
		}, jobs.Input, false},
		"copied back by hand": {func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.WriteFile(path, b, 0o600))
		}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, p, r := onePath(t)
			c.damage(t, p.file(r.ID, jobs.SealedFile))
			err := h.CheckSealed(ctx, r, lastingNames()...)
			if c.class == "" {
				require.NoError(t, err)
				return
			}
			f := requireFault(t, err, c.class)
			require.Equal(t, c.lost, f.Missing)
			require.Contains(t, err.Error(), "s-t01000-42")
		})
	}
	t.Run("a file that was never finished", func(t *testing.T) {
		t.Parallel()
		h, _, r := onePath(t)
		require.True(t, requireFault(t, h.CheckSealed(ctx, r, jobs.TreeCFiles(testProof)...), jobs.Input).Missing)
	})
}

// A file whose stamp holds is not read again; one that was copied is read once and
// then has a stamp of its own.
func TestSettledFilesAreHashedOnce(t *testing.T) {
	t.Parallel()
	h, p, r := onePath(t)
	ctx := context.Background()
	path := p.file(r.ID, jobs.SealedFile)
	// Just written: it may change again without its time changing, so no stamp yet.
	require.NoError(t, os.WriteFile(path, content(r, jobs.SealedFile), 0o644))
	_, young, err := h.hash(ctx, path)
	require.NoError(t, err)
	require.Zero(t, young)
	settle(t, path)
	require.NoError(t, h.CheckSealed(ctx, r, jobs.SealedFile))
	m, err := readManifest(p.manifest(r.ID))
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, stampOf(info), m.Stamps[jobs.SealedFile])

	// The same stamp over other bytes is what only a re-read would notice.
	require.NoError(t, os.WriteFile(path, make([]byte, 2048), 0o644))
	settled := info.ModTime()
	require.NoError(t, os.Chtimes(path, settled, settled))
	fresh := openHost(t, p.dir)
	require.NoError(t, fresh.CheckSealed(ctx, r, jobs.SealedFile), "not read: the stamp holds")
	settle(t, path)
	requireFault(t, fresh.CheckSealed(ctx, r, jobs.SealedFile), jobs.Input)
}

func TestStarted(t *testing.T) {
	t.Parallel()
	h, p, r := onePath(t)
	ctx := context.Background()
	started := func(r *jobs.Record) bool {
		got, err := h.Started(ctx, r)
		require.NoError(t, err)
		return got
	}
	require.True(t, started(r))
	other := *r
	other.Ticket.Value = make([]byte, 32)
	require.False(t, started(&other), "layers of another ticket")
	other.Ticket = jobs.Randomness{}
	require.False(t, started(&other), "no ticket yet")
	require.NoError(t, os.Truncate(p.file(r.ID, jobs.LayerFiles(testProof)[0]), 1000))
	require.True(t, started(r), "the second layer is whole")
	require.NoError(t, os.Remove(p.file(r.ID, jobs.LayerFiles(testProof)[1])))
	require.False(t, started(r), "half a layer")
	elsewhere := *r
	elsewhere.Home = "00000000-0000-0000-0000-000000000000"
	_, err := h.Started(ctx, &elsewhere)
	requireFault(t, err, jobs.Busy)
}

func TestSealNeedsTheProversFilesAndTheRightSeal(t *testing.T) {
	t.Parallel()
	h, p, r := onePath(t)
	ctx := context.Background()
	require.NoError(t, os.Remove(p.file(r.ID, jobs.PAuxFile)))
	_, err := h.Seal(ctx, r, jobs.PAuxFile)
	require.ErrorContains(t, err, "without writing")
	other := *r
	other.Ticket.Value = make([]byte, 32)
	_, err = h.Seal(ctx, &other, jobs.TAuxFile)
	requireFault(t, err, jobs.Input)
}

// tree_d and sdr write the manifest from two processes at once: neither loses the
// other's digests.
func TestManifestWritersDoNotLoseEachOther(t *testing.T) {
	t.Parallel()
	h, p, r := onePath(t)
	other := openHost(t, p.dir)
	before, err := readManifest(p.manifest(r.ID))
	require.NoError(t, err)
	const writers = 20
	errs := make([]error, writers)
	var all sync.WaitGroup
	for i := range writers {
		host := []*Host{h, other}[i%2]
		all.Go(func() {
			_, errs[i] = host.amend(t.Context(), p, r.ID, p.manifest(r.ID), func(m *manifest) {
				m.record(strconv.Itoa(i), "digest", stamp{})
			})
		})
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	m, err := readManifest(p.manifest(r.ID))
	require.NoError(t, err)
	require.Len(t, m.Digests, len(before.Digests)+writers)
}

func TestC1(t *testing.T) {
	t.Parallel()
	h, p, r := onePath(t)
	ctx := context.Background()
	_, err := h.LoadC1(ctx, r)
	require.Error(t, err, "the record knows no digest")
	r.C1Digest, err = h.SaveC1(ctx, r, []byte("vanilla"))
	require.NoError(t, err)
	require.Equal(t, sha([]byte("vanilla")), r.C1Digest)
	b, err := h.LoadC1(ctx, r)
	require.NoError(t, err)
	require.Equal(t, "vanilla", string(b))
	require.NoError(t, os.WriteFile(p.file(r.ID, jobs.C1File), []byte("Vanilla"), 0o644))
	_, err = h.LoadC1(ctx, r)
	require.False(t, requireFault(t, err, jobs.Input).Missing)
	require.NoError(t, os.Remove(p.file(r.ID, jobs.C1File)))
	_, err = h.LoadC1(ctx, r)
	require.True(t, requireFault(t, err, jobs.Input).Missing)
}
