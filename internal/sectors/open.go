package sectors

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lpseal/lpseal/jobs"
)

// Open gives every sector in the pipeline: one read of an index, where a scan of all keys
// would grow with the finished ones.
func (s *Store) Open(ctx context.Context) ([]jobs.SectorID, error) {
	names, err := s.rdb.ZRange(ctx, dueKey, 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read open sectors: %w", err)
	}
	return parseNames(names), nil
}

// AnyOpen says whether a record in the pipeline other than one fits. A record that cannot be
// read does: it may be a newer lpseal's. It reads every open record: it is for rare questions.
func (s *Store) AnyOpen(ctx context.Context, but jobs.SectorID, fits func(*jobs.Record) bool) (bool, error) {
	ids, err := s.Open(ctx)
	if err != nil {
		return false, fmt.Errorf("any open sector: %w", err)
	}
	for part := range slices.Chunk(ids, 1000) {
		records, err := s.LoadMany(ctx, part)
		var unreadable *UnreadableError
		if errors.As(err, &unreadable) {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("any open sector: %w", err)
		}
		for _, r := range records {
			if r != nil && r.ID != but && r.Outcome == jobs.Open && fits(r) {
				return true, nil
			}
		}
	}
	return false, nil
}

// Ended says which of some sectors have left the pipeline, or have no record. One that cannot be
// read has not: it may be a newer lpseal's.
func (s *Store) Ended(ctx context.Context, ids []jobs.SectorID) (map[jobs.SectorID]bool, error) {
	records, err := s.LoadMany(ctx, ids)
	unreadable := &UnreadableError{}
	if err != nil && !errors.As(err, &unreadable) {
		return nil, fmt.Errorf("which of %d sectors have ended: %w", len(ids), err)
	}
	ended := make(map[jobs.SectorID]bool, len(ids))
	for i, r := range records {
		ended[ids[i]] = r == nil || r.Outcome != jobs.Open
	}
	for _, id := range unreadable.IDs {
		ended[id] = false
	}
	return ended, nil
}
