package sectors

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lpseal/lpseal/jobs"
)

// LogLine is one write of a record.
type LogLine struct {
	At      time.Time `json:"at"` // Redis's clock
	By      string    `json:"by"`
	Text    string    `json:"text"`
	Version int64     `json:"version"` // of the record after the write
}

// Log gives the last n lines of a sector's log, oldest first; n 0 means all that
// are kept.
func (s *Store) Log(ctx context.Context, id jobs.SectorID, n int) ([]LogLine, error) {
	if n <= 0 {
		n = math.MaxInt32
	}
	entries, err := s.rdb.XRevRangeN(ctx, recordKey(id)+":log", "+", "-", int64(n)).Result()
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", id, err)
	}
	lines := make([]LogLine, len(entries))
	for i, e := range entries {
		ms, _, _ := strings.Cut(e.ID, "-")
		at, err := strconv.ParseInt(ms, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("log of %s: entry %q: %w", id, e.ID, err)
		}
		text := func(name string) string { v, _ := e.Values[name].(string); return v }
		version, err := strconv.ParseInt(text("version"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("log of %s: entry %s: %w", id, e.ID, err)
		}
		lines[i] = LogLine{At: time.UnixMilli(at).UTC(), By: text("by"), Text: text("text"), Version: version}
	}
	slices.Reverse(lines)
	return lines, nil
}
