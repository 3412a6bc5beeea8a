package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRepeatedWarningsAreCounted: of lines that are the same word for word one in a
// minute is written, with the number of those left out; all others are.
func TestRepeatedWarningsAreCounted(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	all := newRepeats(slog.NewTextHandler(&out, nil))
	worker := all.WithAttrs([]slog.Attr{slog.String("part", "worker")})
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	say := func(h slog.Handler, second int, level slog.Level, text string, attrs ...slog.Attr) {
		t.Helper()
		rec := slog.NewRecord(start.Add(time.Duration(second)*time.Second), level, text, 0)
		rec.AddAttrs(attrs...)
		require.NoError(t, h.Handle(t.Context(), rec))
	}
	written := func(want ...string) {
		t.Helper()
		var got []string
		for l := range strings.Lines(out.String()) {
			stamp, rest, _ := strings.Cut(strings.TrimSpace(l), " ")
			at, err := time.Parse(time.RFC3339, strings.TrimPrefix(stamp, "time="))
			require.NoError(t, err)
			got = append(got, fmt.Sprintf("%d %s", int(at.Sub(start).Seconds()), rest))
		}
		out.Reset()
		require.Equal(t, want, got)
	}

	for second := range 50 {
		say(worker, second, slog.LevelError, "away")
	}
	written("0 level=ERROR msg=away part=worker")
	say(worker, 50, slog.LevelError, "away", slog.String("queue", "cpu"))
	say(worker, 50, slog.LevelError, "away", slog.String("queue", "io"))
	say(worker, 50, slog.LevelWarn, "away")
	say(all, 50, slog.LevelError, "away")
	say(worker.WithGroup("g"), 50, slog.LevelError, "away")
	written("50 level=ERROR msg=away part=worker queue=cpu", "50 level=ERROR msg=away part=worker queue=io",
		"50 level=WARN msg=away part=worker", "50 level=ERROR msg=away", "50 level=ERROR msg=away part=worker")
	say(worker, 51, slog.LevelInfo, "note")
	say(worker, 51, slog.LevelInfo, "note")
	written("51 level=INFO msg=note part=worker", "51 level=INFO msg=note part=worker")

	say(worker, 61, slog.LevelError, "away")
	written("61 level=ERROR msg=away part=worker repeated=50")
	say(worker, 62, slog.LevelError, "away")
	say(all, 63, slog.LevelError, "away")
	written()
	say(worker, 200, slog.LevelInfo, "back")
	written("200 level=ERROR msg=away part=worker repeated=1", "200 level=ERROR msg=away repeated=1", "200 level=INFO msg=back part=worker")
	say(worker, 300, slog.LevelInfo, "later")
	written("300 level=INFO msg=later part=worker")
	require.Empty(t, all.seen.lines, "nothing is kept of what is over")
	say(worker, 301, slog.LevelError, "away")
	written("301 level=ERROR msg=away part=worker")
}
