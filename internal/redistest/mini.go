package redistest

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Redis is a running Redis.
type Redis struct {
	Client redis.UniversalClient
	URL    string // for sectors.Connect
	// What a TLS server asks for.
	User, Password, CAFile string
	// Mini is the miniredis itself, whose TTLs pass by FastForward only; nil for a
	// redis-server.
	Mini *miniredis.Miniredis

	kill, restart func()
}

// Kill ends it as a crash would.
func (r *Redis) Kill() { r.kill() }

// Restart starts it again at the same address after Kill, with what it had written
// (miniredis and the append-only file both keep it).
func (r *Redis) Restart() { r.restart() }

// StartMini starts a miniredis.
func StartMini(t testing.TB) *Redis {
	t.Helper()
	m, err := miniredis.Run()
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return &Redis{
		Client:  connect(t, redis.UniversalOptions{Addrs: []string{m.Addr()}}),
		URL:     "redis://" + m.Addr(),
		Mini:    m,
		kill:    m.Close,
		restart: func() { require.NoError(t, m.Restart()) },
	}
}

// connect makes a client that is closed with the test. One that is killed under it
// must not be waited for long, and one that shares two cores must be.
func connect(t testing.TB, o redis.UniversalOptions) redis.UniversalClient {
	o.MaxRetries = 1
	rdb := redis.NewUniversalClient(&o)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}
