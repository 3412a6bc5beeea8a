package sectors_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
)

func TestCheckAcceptsAGoodRedis(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *redistest.Redis{
		"redis-server": startServer, "TLS": redistest.StartTLS, "cluster": redistest.StartCluster,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := sectors.New(start(t).Client)
			require.NoError(t, store.Check(t.Context()))
			durable, err := store.Durable(t.Context())
			require.NoError(t, err)
			require.True(t, durable)
		})
	}
}

func TestCheckKnowsTheRedisInTheProcess(t *testing.T) {
	t.Parallel()
	store := sectors.New(redistest.StartMini(t).Client)
	require.NoError(t, store.Check(t.Context()))
	durable, err := store.Durable(t.Context())
	require.NoError(t, err)
	require.False(t, durable)
}

func TestCheckRefusesARedisThatLosesSectors(t *testing.T) {
	t.Parallel()
	store := sectors.New(redistest.StartServer(t, "--maxmemory-policy", "allkeys-lru", "--appendonly", "no").Client)
	err := store.Check(t.Context())
	require.ErrorContains(t, err, "set maxmemory-policy noeviction (it is allkeys-lru)")
	var warning *sectors.Warning
	require.NotErrorAs(t, err, &warning, "this is more than a doubt")

	store = sectors.New(redistest.StartServer(t, "--appendonly", "no").Client)
	err = store.Check(t.Context())
	require.ErrorAs(t, err, &warning)
	require.ErrorContains(t, err, "set appendonly yes")
	durable, err := store.Durable(t.Context())
	require.NoError(t, err)
	require.False(t, durable)
}

func TestCheckRefusesAReplica(t *testing.T) {
	t.Parallel()
	store := sectors.New(redistest.StartServer(t, "--replicaof", "127.0.0.1 1").Client)
	require.ErrorContains(t, store.Check(t.Context()), "is a replica: give the master's address")
}

// TestCheckRefusesOldVersionsAndOtherClocks asks a stand-in, which says of itself
// what no server here does.
func TestCheckRefusesOldVersionsAndOtherClocks(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"6.0.16": "is version 6.0.16: lpseal needs 6.2 or later",
		"5.9.9":  "is version 5.9.9",
		"odd":    "is version odd",
		"6.2.0":  "", "7.0.15": "", "10.0": "",
	} {
		require.Equal(t, want == "", check(t, version, 0) == nil, version)
		if want != "" {
			require.ErrorContains(t, check(t, version, 0), want)
		}
	}
	require.NoError(t, check(t, "7.2.4", 2*time.Second))
	require.ErrorContains(t, check(t, "7.2.4", time.Minute), "has a clock that differs from this host's by 1m0s: run NTP")
	require.ErrorContains(t, check(t, "7.2.4", -time.Minute), "-1m0s")
}

func check(t *testing.T, version string, skew time.Duration) error {
	t.Helper()
	s, err := server.NewServer("127.0.0.1:0")
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Register("INFO", func(c *server.Peer, _ string, _ []string) {
		c.WriteBulk(strings.Join([]string{"# Server", "redis_version:" + version, "role:master", "maxmemory_policy:noeviction", "aof_enabled:1", ""}, "\r\n"))
	}))
	require.NoError(t, s.Register("TIME", func(c *server.Peer, _ string, _ []string) {
		now := time.Now().Add(skew)
		c.WriteStrings([]string{fmt.Sprint(now.Unix()), fmt.Sprint(now.Nanosecond() / 1000)})
	}))
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr().String()})
	defer func() { require.NoError(t, rdb.Close()) }()
	return sectors.New(rdb).Check(t.Context())
}
