package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lpseal/lpseal/jobs"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(openPathEnv); dir != "" {
		openPathAsUser(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

const testProof = abi.RegisteredSealProof_StackedDrg2KiBV1_1

var testSector = jobs.SectorID{Miner: 1000, Number: 42}

// newPath makes a path in a fresh folder, or under the name given.
func newPath(t testing.TB, dir string, o PathOptions) jobs.Path {
	t.Helper()
	p, err := initPath(disk{volatile: true}, dir, o)
	require.NoError(t, err)
	return p
}

func openHost(t testing.TB, dirs ...string) *Host {
	t.Helper()
	h, err := Open(Options{Host: "h1", Paths: dirs})
	require.NoError(t, err)
	h.disk.volatile = true
	return h
}

// newRecord is a sector that was placed, with a ticket.
func newRecord(t testing.TB, home jobs.Path) *jobs.Record {
	t.Helper()
	commD, err := jobs.CommD(testProof, nil)
	require.NoError(t, err)
	return &jobs.Record{
		ID: testSector, Version: 1, Proof: testProof, Home: home.ID, CommD: commD,
		Ticket: jobs.Randomness{Epoch: 1, Value: bytes.Repeat([]byte{7}, 32), At: 2},
		Stages: map[jobs.Stage]jobs.StageRecord{},
	}
}

func manifestOf(t testing.TB, r *jobs.Record) jobs.Manifest {
	t.Helper()
	id, err := r.Seal().ReplicaID()
	require.NoError(t, err)
	return jobs.Manifest{ReplicaID: hex.EncodeToString(id[:]), Proof: r.Proof}
}

func scratchNames() []string {
	return append([]string{jobs.TreeDFile}, append(jobs.LayerFiles(testProof), jobs.TreeCFiles(testProof)...)...)
}

func lastingNames() []string {
	return append(jobs.LastingFiles(testProof), jobs.SealedFile)
}

// content is what a file of a sector holds in these tests.
func content(r *jobs.Record, name string) []byte {
	size := 2048
	switch name {
	case jobs.TreeDFile:
		size = 4064
		return bytes.Repeat([]byte("tree-d:"), 1000)[:size] // bound to no ticket
	case jobs.PAuxFile:
		size = 64
	}
	return bytes.Repeat([]byte(name+string(r.Ticket.Value[:1])), size)[:size]
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// sealSector does what tree_d, sdr and tree_rc do to the files.
func sealSector(t testing.TB, h *Host, r *jobs.Record) {
	t.Helper()
	ctx := context.Background()
	f, err := h.Home(ctx, r)
	require.NoError(t, err)
	put := func(names ...string) {
		for _, name := range names {
			path := filepath.Join(f.Cache, name)
			if name == jobs.SealedFile {
				path = f.Sealed
			}
			require.NoError(t, os.WriteFile(path, content(r, name), 0o644))
		}
	}
	put(jobs.TreeDFile)
	_, err = h.Seal(ctx, r, jobs.TreeDFile)
	require.NoError(t, err)
	_, err = h.Bind(ctx, r, manifestOf(t, r))
	require.NoError(t, err)
	put(jobs.LayerFiles(testProof)...)
	_, err = h.Seal(ctx, r, jobs.LayerFiles(testProof)...)
	require.NoError(t, err)
	put(append(jobs.TreeCFiles(testProof), lastingNames()...)...)
	_, err = h.Seal(ctx, r, lastingNames()...)
	require.NoError(t, err)
}

// settle makes a file old enough for its stamp to be trusted.
func settle(t testing.TB, path string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(path, old, old))
}

// tree reads every file under dir, by path relative to it. Folders are not looked
// at: an empty one means nothing.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = string(b)
		return err
	}))
	return out
}

func requireFault(t testing.TB, err error, class jobs.FaultClass) *jobs.Fault {
	t.Helper()
	var f *jobs.Fault
	require.ErrorAs(t, err, &f)
	require.Equal(t, class, f.Class, "%v", err)
	return f
}

func names(m map[string]string) map[string]bool {
	out := map[string]bool{}
	for k := range maps.Keys(m) {
		out[k] = true
	}
	return out
}
