package sectors_test

import (
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-bitfield"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
)

// fast connects with a time limit that a test can wait for.
func fast(t *testing.T, url string) *sectors.Store {
	t.Helper()
	rdb, err := sectors.Connect(t.Context(), sectors.Options{URL: url, Timeout: time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	return sectors.New(rdb)
}

func TestAFrozenRedisLeavesAWriteUnknown(t *testing.T) {
	t.Parallel()
	r := redistest.StartServer(t)
	store := fast(t, r.URL)
	old := record(sector(1))
	require.NoError(t, store.Create(t.Context(), old, "test"))
	_, _, err := store.Sweep(t.Context(), "", 10) // warms the connection
	require.NoError(t, err)

	r.Pause(t)
	_, err = store.Allocate(t.Context(), miner, 1, bitfield.New(), nil)
	require.Error(t, err)
	err = store.Reserve(t.Context(), "p1", old.ID, 1, 10)
	require.ErrorIs(t, err, sectors.ErrUnknown)
	r.Resume(t)

	require.Eventually(t, func() bool {
		return store.Reserve(t.Context(), "p1", old.ID, 1, 10) == nil
	}, 10*time.Second, 10*time.Millisecond)
	space, err := store.Reservations(t.Context(), "p1")
	require.NoError(t, err)
	require.Len(t, space, 1, "and asked again it is done once")
}

func TestWritesThatMustLastWaitForAReplica(t *testing.T) {
	t.Parallel()
	master := redistest.StartServer(t)
	addr := strings.Replace(strings.TrimPrefix(master.URL, "redis://"), ":", " ", 1)
	replica := redistest.StartServer(t, "--replicaof", addr)
	require.Eventually(t, func() bool {
		info, err := replica.Client.Info(t.Context(), "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	}, 30*time.Second, 10*time.Millisecond)

	store := sectors.New(master.Client)
	ok, err := store.Journal().Swap(t.Context(), "sender/t1a", nil, []byte("{}"))
	require.NoError(t, err)
	require.True(t, ok)
	there, err := replica.Client.HGet(t.Context(), "lpseal:{m-sender/t1a}", "value").Result()
	require.NoError(t, err)
	require.Equal(t, "{}", there)

	replica.Pause(t)
	defer replica.Resume(t)
	ok, err = store.Journal().Swap(t.Context(), "sender/t1a", []byte("{}"), []byte(`{"nonce":1}`))
	require.ErrorIs(t, err, sectors.ErrUnknown)
	require.ErrorContains(t, err, "no replica confirmed")
	require.False(t, ok, "nobody acts on it")
}

func TestSectorsOutliveAFailover(t *testing.T) {
	t.Parallel()
	r := redistest.StartSentinel(t)
	store := fast(t, r.URL)
	require.NoError(t, store.Create(t.Context(), record(sector(1)), "test"))
	first, err := store.Allocate(t.Context(), miner, 1, bitfield.New(), nil) // waits for the replica
	require.NoError(t, err)
	r.Kill()
	require.Eventually(t, func() bool {
		second, err := store.Allocate(t.Context(), miner, 1, bitfield.New(), nil)
		return err == nil && second[0] > first[0]
	}, 60*time.Second, 50*time.Millisecond, "the replica takes over, and no number comes twice")
	got, err := store.Load(t.Context(), sector(1))
	require.NoError(t, err)
	require.Equal(t, record(sector(1)), got)
}
