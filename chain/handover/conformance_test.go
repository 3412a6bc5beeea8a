package handover_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/handover"
	"github.com/lpseal/lpseal/chain/handover/handovertest"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/jobs"
)

// The stand-ins keep to what they say of lotus-miner and Curio. TestProversConform (tag lotusnode) asks the same of running ones.
func TestStandInsConform(t *testing.T) {
	t.Parallel()
	t.Run("lotus-miner", func(t *testing.T) {
		t.Parallel()
		conform(t, jobs.HandoverLotusMiner, handovertest.StartLotusMiner(t, minerID).APIInfo(handovertest.Admin))
	})
	t.Run("curio", func(t *testing.T) {
		t.Parallel()
		conform(t, jobs.HandoverCurio, handovertest.StartCurio(t).APIInfo(handovertest.Admin))
	})
}

// storage is what a test needs of the API besides what a hand-over does.
type storage struct {
	StorageAddLocal    func(context.Context, string) error // attaches a folder of the prover's machine
	StorageDetachLocal func(context.Context, string) error
	// StorageAttach is how a lotus-worker tells lotus-miner of its path; FsStat is of no matter here.
	StorageAttach func(context.Context, handover.PathInfo, struct{}) error
	StorageList   func(context.Context) (map[handover.PathID]any, error)
}

// subject is a prover under test. Sectors and paths are made up; the folders must be ones that it can read and write.
type subject struct {
	handover.API
	storage
	to    jobs.HandoverTo
	at    chain.Endpoint
	api   string
	miner abi.ActorID
}

// conform holds what the documentation of handovertest says against a prover, claim by claim. A lotus-miner must be restarted afterwards: the last claim
// breaks its index.
func conform(t *testing.T, to jobs.HandoverTo, api string) {
	at, err := chain.ParseProverAPIInfo(api)
	require.NoError(t, err)
	s := &subject{to: to, at: at[0], api: api, miner: minerID}
	s.dial(t, s.at.Header(), &s.API, &s.storage)
	if to == jobs.HandoverLotusMiner {
		is, err := s.ActorAddress(t.Context())
		require.NoError(t, err)
		id, err := address.IDFromAddress(is)
		require.NoError(t, err)
		s.miner = abi.ActorID(id)
	}
	t.Run("tokens", s.tokens)
	t.Run("files of an attached path", s.attachedPath)
	t.Run("a path that nobody attached", s.unknownPath)
	t.Run("a declaration", s.declaration)
	if to == jobs.HandoverLotusMiner {
		t.Run("a path of another process", s.elsewhere)
		t.Run("a declaration for an unknown path", s.breaks)
	}
}

func (s *subject) dial(t *testing.T, header http.Header, apis ...any) {
	closer, err := jsonrpc.NewMergeClient(t.Context(), s.at.URL, lotus.Namespace, apis, header)
	require.NoError(t, err)
	t.Cleanup(closer)
}

func (s *subject) attach(t *testing.T, dir string) {
	require.NoError(t, s.StorageAddLocal(t.Context(), dir))
	t.Cleanup(func() { require.NoError(t, s.StorageDetachLocal(context.WithoutCancel(t.Context()), dir)) })
}

func (s *subject) redeclare(t *testing.T, path handover.PathID, dropMissing bool) error {
	if s.to == jobs.HandoverCurio {
		return s.StorageRedeclare(t.Context(), &path, dropMissing)
	}
	return s.StorageRedeclareLocal(t.Context(), &path, dropMissing)
}

// kept are the files of a sector that the index has on a path, as the copy to keep.
func (s *subject) kept(t *testing.T, path handover.PathID, number abi.SectorNumber) (kept []handover.FileType) {
	for _, kind := range handover.FileTypes {
		all, err := s.StorageFindSector(t.Context(), abi.SectorID{Miner: s.miner, Number: number}, kind, 2048, false)
		require.NoError(t, err)
		if slices.ContainsFunc(all, func(f handover.SectorPath) bool { return f.ID == path && f.CanStore && f.Primary }) {
			kept = append(kept, kind)
		}
	}
	return kept
}

func (s *subject) tokens(t *testing.T) {
	for name, c := range map[string]struct {
		header http.Header
		want   string
	}{
		"of nobody": {http.Header{"Authorization": {"Bearer stale-token"}}, "401 Unauthorized"},
		"none":      {nil, "missing permission to invoke 'StorageLocal' (need 'admin')"},
	} {
		var api handover.API
		s.dial(t, c.header, &api)
		_, err := api.StorageLocal(t.Context())
		require.ErrorContains(t, err, c.want, name)
	}
}

func (s *subject) attachedPath(t *testing.T) {
	const first, later = 9_000_001, 9_000_002
	r := storeOf(t, s.miner, first)
	path := handover.PathID(r.Stored.Path)
	s.attach(t, r.dir)
	local, err := s.StorageLocal(t.Context())
	require.NoError(t, err)
	require.Equal(t, r.dir, local[path])
	require.Equal(t, []handover.FileType{handover.Sealed, handover.Cache}, s.kept(t, path, first), "attaching looks through the folder")

	file := filepath.Join(r.dir, "sealed", jobs.SectorID{Miner: s.miner, Number: later}.String())
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	require.Empty(t, s.kept(t, path, later), "nobody looks until asked")
	require.NoError(t, s.redeclare(t, path, false))
	require.NotEmpty(t, s.kept(t, path, later))

	require.NoError(t, os.Remove(file))
	require.NoError(t, s.redeclare(t, path, false))
	require.NotEmpty(t, s.kept(t, path, later), "a file that went stays in the index")
	require.NoError(t, s.redeclare(t, path, true))
	require.Empty(t, s.kept(t, path, later), "unless what is missing is dropped")

	stranger := filepath.Join(r.dir, "cache", "notes")
	require.NoError(t, os.Mkdir(stranger, 0o755))
	require.ErrorContains(t, s.redeclare(t, path, false), "parse sector id notes")
	require.NoError(t, os.Remove(stranger))
}

func (s *subject) unknownPath(t *testing.T) {
	if s.to == jobs.HandoverCurio {
		require.ErrorContains(t, s.redeclare(t, "nowhere", false), "storage nowhere not found on the node")
		_, err := s.ActorAddress(t.Context())
		require.ErrorContains(t, err, "method 'Filecoin.ActorAddress' not found")
		err = s.StorageDeclareSector(t.Context(), "nowhere", abi.SectorID{Miner: s.miner, Number: 1}, handover.Sealed, true)
		require.ErrorContains(t, err, "method 'Filecoin.StorageDeclareSector' not found")
		return
	}
	require.NoError(t, s.redeclare(t, "nowhere", false), "passed over")
	_, err := s.StorageInfo(t.Context(), "nowhere")
	require.ErrorContains(t, err, "sector store not found")
	require.ErrorContains(t, s.StorageRedeclare(t.Context(), new(handover.PathID), false), "method 'Filecoin.StorageRedeclare' not found")
}

// The hand-over itself.
func (s *subject) declaration(t *testing.T) {
	r := storeOf(t, s.miner, 9_000_003)
	_, err := declare(t, s.to, s.api, r)
	requireTransient(t, err, r.Stored.Path)
	empty := t.TempDir() // attached before anything was stored
	meta, err := os.ReadFile(filepath.Join(r.dir, files.MetaFile))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(empty, files.MetaFile), meta, 0o644))
	s.attach(t, empty)
	_, err = declare(t, s.to, s.api, r)
	requireTransient(t, err, "does not see sealed/"+r.ID.String())
	for _, kind := range []string{"sealed", "cache"} {
		require.NoError(t, os.Rename(filepath.Join(r.dir, kind, r.ID.String()), filepath.Join(empty, kind, r.ID.String())))
	}
	for range 2 { // a declaration that was answered to nobody is made again
		by, err := declare(t, s.to, s.api, r)
		require.NoError(t, err)
		require.Contains(t, by, string(s.to))
	}
	require.Equal(t, []handover.FileType{handover.Sealed, handover.Cache}, s.kept(t, handover.PathID(r.Stored.Path), r.ID.Number))
}

// elsewhere is a path that a lotus-worker attached: lotus-miner cannot look through it, and takes its word.
func (s *subject) elsewhere(t *testing.T) {
	r := storeOf(t, s.miner, 9_000_004)
	path := handover.PathID(r.Stored.Path)
	require.NoError(t, s.StorageAttach(t.Context(), handover.PathInfo{ID: path, CanStore: true, URLs: []string{"http://127.0.0.1:1/remote"}}, struct{}{}))
	require.NoError(t, s.redeclare(t, path, false), "passed over")
	require.Empty(t, s.kept(t, path, r.ID.Number))
	_, err := declare(t, s.to, s.api, r)
	require.NoError(t, err)
	require.Equal(t, []handover.FileType{handover.Sealed, handover.Cache}, s.kept(t, path, r.ID.Number))
}

// breaks comes last: the index is of no more use.
func (s *subject) breaks(t *testing.T) {
	sector := abi.SectorID{Miner: s.miner, Number: 9_000_005}
	require.NoError(t, s.StorageDeclareSector(t.Context(), "nowhere", sector, handover.Sealed, true), "taken without a word")
	require.Empty(t, s.kept(t, "nowhere", sector.Number))
	_, err := s.StorageList(t.Context())
	require.ErrorContains(t, err, "nil map")
}
