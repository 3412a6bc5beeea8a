package sectors

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/redistest"
)

// TestPresence: a connection that breaks and is made again is no news; silence is told
// once, and its end once.
func TestPresence(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	var p presence
	require.False(t, p.failed(at(0)))
	require.False(t, p.failed(at(0.9)))
	_, back := p.answered(at(0.95))
	require.False(t, back)

	require.False(t, p.failed(at(10)))
	require.True(t, p.failed(at(11)))
	require.False(t, p.failed(at(12)))
	away, back := p.answered(at(30.5))
	require.True(t, back)
	require.Equal(t, 20500*time.Millisecond, away)

	require.False(t, p.failed(at(40)), "and all over again")
	require.True(t, p.failed(at(41)))
}

// lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestWatch(t *testing.T) {
	t.Parallel()
	r := redistest.StartMini(t)
	rdb, err := Connect(t.Context(), Options{URL: r.URL})
	require.NoError(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	var out lockedBuffer
	Watch(rdb, slog.New(slog.NewTextHandler(&out, nil)))
	ask := func(until string) {
		t.Helper()
		require.Eventually(t, func() bool {
			_, _ = rdb.Get(t.Context(), "nothing").Result()
			return strings.Contains(out.String(), until)
		}, 20*time.Second, 10*time.Millisecond)
	}
	require.Error(t, rdb.Get(t.Context(), "nothing").Err())
	require.Empty(t, out.String(), "an answer that says no is one")
	r.Kill()
	ask("level=WARN msg=\"Redis does not answer: what is in hand goes on")
	r.Restart()
	ask("level=INFO msg=\"Redis answers again\" away=")
	require.Equal(t, 2, strings.Count(out.String(), "\n"), out.String())
}
