package handover_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/handover"
	"github.com/lpseal/lpseal/chain/handover/handovertest"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/jobs"
)

const minerID = abi.ActorID(1000)

// stored is a sector whose lasting files lie on a storage path that lpseal made.
type stored struct {
	*jobs.Record
	dir string
}

func store(t *testing.T, number abi.SectorNumber) stored {
	t.Helper()
	return storeOf(t, minerID, number)
}

func storeOf(t *testing.T, miner abi.ActorID, number abi.SectorNumber) stored {
	t.Helper()
	dir := t.TempDir()
	p, err := files.Init(dir, files.PathOptions{CanStore: true})
	require.NoError(t, err)
	r := &jobs.Record{
		ID: jobs.SectorID{Miner: miner, Number: number}, Proof: abi.RegisteredSealProof_StackedDrg2KiBV1_1,
		Stored: &jobs.Stored{Path: p.ID},
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "cache", r.ID.String()), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sealed", r.ID.String()), nil, 0o644))
	return stored{r, dir}
}

func declare(t *testing.T, to jobs.HandoverTo, api string, s stored) (string, error) {
	t.Helper()
	h, err := handover.New(to, api)
	require.NoError(t, err)
	return h.Declare(t.Context(), s.Record, s.Stored)
}

func requireTransient(t *testing.T, err error, text string) {
	t.Helper()
	var f *jobs.Fault
	require.ErrorAs(t, err, &f)
	require.Equal(t, jobs.Transient, f.Class)
	require.ErrorContains(t, err, text)
	require.NotContains(t, err.Error(), "-token:", "an error must not show the token")
}

func TestUnsealedIsDeclaredWhereItIsKept(t *testing.T) {
	t.Parallel()
	miner := handovertest.StartLotusMiner(t, minerID)
	s := store(t, 7)
	require.NoError(t, miner.Attach(s.dir))
	s.KeepUnsealed = true
	_, err := declare(t, jobs.HandoverLotusMiner, miner.APIInfo(handovertest.Admin), s)
	requireTransient(t, err, "does not see unsealed/s-t01000-7")
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "unsealed", s.ID.String()), nil, 0o644))
	_, err = declare(t, jobs.HandoverLotusMiner, miner.APIInfo(handovertest.Admin), s)
	require.NoError(t, err)
}

func TestCurioFindsWhatWasStored(t *testing.T) {
	t.Parallel()
	other, node := handovertest.StartCurio(t), handovertest.StartCurio(t)
	s := store(t, 7)
	api := other.APIInfo(handovertest.Admin) + "," + node.APIInfo(handovertest.Admin)
	_, err := declare(t, jobs.HandoverCurio, api, s)
	requireTransient(t, err, "curio cli storage attach DIR")
	require.NoError(t, node.Attach(s.dir))
	by, err := declare(t, jobs.HandoverCurio, api, s)
	require.NoError(t, err)
	require.Equal(t, "curio", by)
	require.Contains(t, node.Calls(), "StorageRedeclare")
	holds, primary := node.Holds(s.Stored.Path, s.ID, handover.Cache)
	require.True(t, holds && primary)

	other.Stop()
	_, err = declare(t, jobs.HandoverCurio, api, s)
	require.NoError(t, err, "a node that is away is passed over")
	node.Stop()
	_, err = declare(t, jobs.HandoverCurio, api, s)
	requireTransient(t, err, "start it, or correct handover.api")
}

func TestDeclareSaysWhoMustDoWhat(t *testing.T) {
	t.Parallel()
	s := store(t, 7)
	miner, another := handovertest.StartLotusMiner(t, minerID), handovertest.StartLotusMiner(t, 2000)
	require.NoError(t, another.Attach(s.dir))
	both := another.APIInfo(handovertest.Admin) + "," + miner.APIInfo(handovertest.Admin)

	_, err := declare(t, jobs.HandoverLotusMiner, both, s)
	requireTransient(t, err, "lotus-miner t01000 knows no path "+s.Stored.Path)
	require.ErrorContains(t, err, "lotus-miner storage attach DIR")
	require.NotContains(t, miner.Calls(), "StorageDeclareSector", "an index that does not know the path would break")

	_, err = declare(t, jobs.HandoverLotusMiner, another.APIInfo(handovertest.Admin), s)
	requireTransient(t, err, "none of handover.api is the lotus-miner of t01000")
	require.ErrorContains(t, err, "02000")
	require.Equal(t, []string{"ActorAddress", "ActorAddress"}, another.Calls(), "another miner is told nothing")

	for _, token := range []string{"", handovertest.Read, "stale-token"} {
		_, err = declare(t, jobs.HandoverLotusMiner, miner.APIInfo(token), s)
		requireTransient(t, err, "lotus-miner auth create-token --perm admin")
	}

	elsewhere := t.TempDir() // a copy of the path's sectorstore.json, without the files
	meta, err := os.ReadFile(filepath.Join(s.dir, files.MetaFile))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(elsewhere, files.MetaFile), meta, 0o644))
	require.NoError(t, miner.Attach(elsewhere))
	_, err = declare(t, jobs.HandoverLotusMiner, both, s)
	requireTransient(t, err, "does not see sealed/s-t01000-7")

	require.NoError(t, miner.Attach(s.dir))
	_, err = declare(t, jobs.HandoverLotusMiner, both, s)
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "cache", "notes"), 0o755))
	_, err = declare(t, jobs.HandoverLotusMiner, both, s)
	requireTransient(t, err, "parse sector id notes")

	_, err = declare(t, jobs.HandoverCurio, miner.APIInfo(handovertest.Admin), s)
	requireTransient(t, err, "another program than handover.to says")
	miner.Stop()
	_, err = declare(t, jobs.HandoverLotusMiner, both, s)
	requireTransient(t, err, "start it, or correct handover.api")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h, err := handover.New(jobs.HandoverLotusMiner, both)
	require.NoError(t, err)
	_, err = h.Declare(ctx, s.Record, s.Stored)
	_, isFault := jobs.Classify(ctx, err)
	require.False(t, isFault, "a worker that stops is no fault of the sector: %v", err)
}

func TestReserved(t *testing.T) {
	t.Parallel()
	miner := handovertest.StartLotusMiner(t, minerID)
	miner.Reserve("lpseal", 1000, 1999)
	miner.Reserve("others", 5, 5)
	h, err := handover.New(jobs.HandoverLotusMiner, miner.APIInfo(handovertest.Read))
	require.NoError(t, err)
	numbers, err := h.Reserved(t.Context(), minerID)
	require.NoError(t, err)
	count, err := numbers.Count()
	require.NoError(t, err)
	require.EqualValues(t, 1001, count)
	_, err = h.Reserved(t.Context(), 2000)
	requireTransient(t, err, "none of handover.api is the lotus-miner of t02000")
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, err := handover.New(jobs.HandoverNone, "http://127.0.0.1:2345")
	require.ErrorContains(t, err, "lotus-miner or curio")
	_, err = handover.New(jobs.HandoverLotusMiner, "")
	require.ErrorContains(t, err, "MINER_API_INFO")
	_, err = handover.New(jobs.HandoverLotusMiner, "SECRET:nonsense")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "SECRET")
}

// What is asked and understood is, on the wire, in the shape of Lotus's API documentation (build/openrpc/miner.json).
func TestWire(t *testing.T) {
	t.Parallel()
	const path = "76f1988b-ef30-4d7e-b3ec-9a627f4ba5a8"
	answers := map[string]string{
		"ActorAddress": `"f01000"`,
		"StorageInfo": `{"ID": "` + path + `", "URLs": ["http://h:1"], "Weight": 10, "MaxStorage": 42, "CanSeal": false, "CanStore": true,
			"Groups": ["a"], "AllowTo": null, "AllowTypes": null, "DenyTypes": null, "AllowMiners": null, "DenyMiners": null}`,
		"StorageLocal":         `{"1399aa04-2625-44b1-bad4-bd07b59b22c4": "/data/path"}`,
		"StorageDeclareSector": `null`,
		"StorageFindSector": `[{"ID": "` + path + `", "URLs": ["http://h:1/sealed/s-t01000-9"], "BaseURLs": ["http://h:1"], "Weight": 10, "CanSeal": false,
			"CanStore": true, "Primary": true, "AllowTypes": null, "DenyTypes": null, "AllowMiners": null, "DenyMiners": null}]`,
	}
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			ID     json.RawMessage
			Method string
			Params json.RawMessage
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		asked = append(asked, r.Header.Get("Authorization")+" "+r.URL.Path+" "+request.Method+string(request.Params))
		fmt.Fprintf(w, `{"jsonrpc": "2.0", "id": %s, "result": %s}`, request.ID, answers[strings.TrimPrefix(request.Method, "Filecoin.")])
	}))
	t.Cleanup(server.Close)
	s := store(t, 9)
	s.Stored.Path = path
	by, err := declare(t, jobs.HandoverLotusMiner, "T:"+strings.Replace(server.URL, "http", "ws", 1), s)
	require.NoError(t, err)
	require.Equal(t, "lotus-miner t01000", by)
	const at = "Bearer T /rpc/v0 Filecoin."
	require.Equal(t, []string{
		at + `ActorAddress[]`,
		at + `StorageInfo["` + path + `"]`,
		at + `StorageLocal[]`,
		at + `StorageDeclareSector["` + path + `",{"Miner":1000,"Number":9},6,true]`,
		at + `StorageFindSector[{"Miner":1000,"Number":9},2,2048,false]`,
		at + `StorageFindSector[{"Miner":1000,"Number":9},4,2048,false]`,
	}, asked)
}
