package sectors

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

// The indexes are zsets of sector names: due by the time of the next look (Unix
// milliseconds; 0 is at once), held by the time of the hold, done by number.
const (
	dueKey  = "lpseal:due"
	heldKey = "lpseal:held"
)

func doneKey(miner abi.ActorID) string { return fmt.Sprintf("lpseal:done:t0%d", uint64(miner)) }

// isHeld says whether a record belongs into the held index.
func isHeld(r *jobs.Record) bool { return r.Hold != nil && r.Outcome == jobs.Open }

// indexBefore makes an open sector due, and a new one found by its pieces, before its
// record is written: after a crash in between the next poll looks at it in vain, and
// never the other way round.
func (s *Store) indexBefore(ctx context.Context, next *jobs.Record) error {
	if next.Outcome != jobs.Open {
		return nil
	}
	if err := s.rdb.ZAdd(ctx, dueKey, redis.Z{Member: next.ID.String()}).Err(); err != nil {
		return fmt.Errorf("index as due: %w", err)
	}
	if next.Version > 1 || next.CC() {
		return nil
	}
	_, err := s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		indexPieces(ctx, pipe, next)
		return nil
	})
	if err != nil {
		return fmt.Errorf("index by pieces: %w", err)
	}
	return nil
}

// indexAfter follows a record that was written. Its errors are left to [Store.Sweep]
// on purpose: the write was accepted, and its caller must not be told otherwise.
func (s *Store) indexAfter(ctx context.Context, old, next *jobs.Record) {
	was, is := old != nil && isHeld(old), isHeld(next)
	finished := next.Outcome != jobs.Open
	if was == is && !finished {
		return
	}
	name := next.ID.String()
	_, _ = s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		if is {
			pipe.ZAdd(ctx, heldKey, redis.Z{Score: millis(next.Hold.Since), Member: name})
		} else {
			pipe.ZRem(ctx, heldKey, name)
		}
		if finished {
			pipe.ZAdd(ctx, doneKey(next.ID.Miner), redis.Z{Score: float64(next.ID.Number), Member: name})
			pipe.ZRem(ctx, dueKey, name)
		}
		return nil
	})
}

func millis(t time.Time) float64 { return float64(t.UnixMilli()) }

// Horizon is further off than any next look is set. What is due later was put off by a clock
// that was wrong.
const Horizon = 2 * time.Hour

// Due gives the sectors whose time has come, the longest overdue first, and after them those
// that are due beyond the [Horizon]; limit 0 means all.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]jobs.SectorID, error) {
	at := func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
	count := int64(limit)
	if limit == 0 {
		count = -1
	}
	var due, beyond *redis.StringSliceCmd
	_, err := s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		due = pipe.ZRangeArgs(ctx, redis.ZRangeArgs{Key: dueKey, ByScore: true, Start: "-inf", Stop: at(now), Count: count})
		beyond = pipe.ZRangeArgs(ctx, redis.ZRangeArgs{Key: dueKey, ByScore: true, Start: "(" + at(now.Add(Horizon)), Stop: "+inf", Count: count})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read due sectors: %w", err)
	}
	names := append(due.Val(), beyond.Val()...)
	if limit > 0 {
		names = names[:min(len(names), limit)]
	}
	return parseNames(names), nil
}

// SetDue sets when a sector is looked at next. A sector that is not in the index,
// because it is finished, stays out of it.
func (s *Store) SetDue(ctx context.Context, id jobs.SectorID, at time.Time) error {
	if err := s.rdb.ZAddXX(ctx, dueKey, redis.Z{Score: millis(at), Member: id.String()}).Err(); err != nil {
		return fmt.Errorf("set next look at %s: %w", id, err)
	}
	return nil
}

// Held gives the sectors on hold, the longest held first.
func (s *Store) Held(ctx context.Context) ([]jobs.SectorID, error) {
	names, err := s.rdb.ZRange(ctx, heldKey, 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read held sectors: %w", err)
	}
	return parseNames(names), nil
}

// Done gives n finished sectors of a miner after the first offset, the highest
// number first.
func (s *Store) Done(ctx context.Context, miner abi.ActorID, offset, n int) ([]jobs.SectorID, error) {
	if n <= 0 {
		return nil, nil
	}
	names, err := s.rdb.ZRevRange(ctx, doneKey(miner), int64(offset), int64(offset+n-1)).Result()
	if err != nil {
		return nil, fmt.Errorf("read finished sectors of t0%d: %w", uint64(miner), err)
	}
	return parseNames(names), nil
}

// parseNames leaves out what is no sector's name; Sweep removes it.
func parseNames(names []string) []jobs.SectorID {
	ids := make([]jobs.SectorID, 0, len(names))
	for _, name := range names {
		if id, err := jobs.ParseSectorID(name); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}
