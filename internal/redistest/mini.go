package redistest

import (
	"syscall"
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
	server        *process
}

// Kill ends it as a crash would.
func (r *Redis) Kill() { r.kill() }

// Restart starts it again at the same address after Kill, with what it had written
// (miniredis and the append-only file both keep it).
func (r *Redis) Restart() { r.restart() }

// Pause freezes a redis-server, as an overloaded machine would; Resume lets it go on.
// Both are for a redis-server that was started alone.
func (r *Redis) Pause(t testing.TB) { r.server.signal(t, syscall.SIGSTOP) }

// Resume ends a Pause.
func (r *Redis) Resume(t testing.TB) { r.server.signal(t, syscall.SIGCONT) }

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

// connect makes a client that is closed with the test.
func connect(t testing.TB, o redis.UniversalOptions) redis.UniversalClient {
	o.MaxRetries = 1
	rdb := redis.NewUniversalClient(&o)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}
