package sectors

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

// Sectors that wait for a batch are indexed by group, by the time at which each must
// go at the latest. Like all indexes these are hints: who forms a batch reads the
// records themselves, and a sector that is missing comes back at its next look.
const groupsKey = "lpseal:groups"

func waitingKey(g jobs.Group) string { return "lpseal:waiting:" + g.String() }

// Wait puts a sector among those of its group that wait for a batch. It says whether
// the sector was not there yet.
func (s *Store) Wait(ctx context.Context, g jobs.Group, id jobs.SectorID, at time.Time) (joined bool, err error) {
	// The group first: a member of an unknown group would wait for its next look.
	if err := s.rdb.SAdd(ctx, groupsKey, g.String()).Err(); err != nil {
		return false, fmt.Errorf("index group %s: %w", g, err)
	}
	added, err := s.rdb.ZAdd(ctx, waitingKey(g), redis.Z{Score: millis(at), Member: id.String()}).Result()
	if err != nil {
		return false, fmt.Errorf("index %s as waiting for a batch: %w", id, err)
	}
	return added > 0, nil
}

// Unwait takes sectors out of their group's index.
func (s *Store) Unwait(ctx context.Context, g jobs.Group, ids ...jobs.SectorID) error {
	if len(ids) == 0 {
		return nil
	}
	names := make([]any, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	if err := s.rdb.ZRem(ctx, waitingKey(g), names...).Err(); err != nil {
		return fmt.Errorf("unindex %d sectors of group %s: %w", len(ids), g, err)
	}
	return nil
}

// Waiting gives the sectors of a group that may be waiting, the most urgent first.
func (s *Store) Waiting(ctx context.Context, g jobs.Group) ([]jobs.SectorID, error) {
	names, err := s.rdb.ZRange(ctx, waitingKey(g), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read who waits in group %s: %w", g, err)
	}
	return parseNames(names), nil
}

// Pending is a group with sectors that wait for a batch.
type Pending struct {
	Group   jobs.Group
	Sectors int
	First   time.Time // when the most urgent of them must go
}

// Pending gives the groups in which sectors wait, in order of their names.
func (s *Store) Pending(ctx context.Context) ([]Pending, error) {
	names, err := s.rdb.SMembers(ctx, groupsKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read the groups: %w", err)
	}
	if len(names) == 0 {
		return nil, nil
	}
	slices.Sort(names)
	type reply struct {
		group jobs.Group
		count *redis.IntCmd
		first *redis.ZSliceCmd
	}
	var replies []reply
	pipe := s.rdb.Pipeline()
	for _, name := range names {
		g, err := jobs.ParseGroup(name)
		if err != nil {
			continue // of another version's making
		}
		replies = append(replies, reply{g, pipe.ZCard(ctx, waitingKey(g)), pipe.ZRangeWithScores(ctx, waitingKey(g), 0, 0)})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read %d groups: %w", len(names), err)
	}
	var out []Pending
	for _, r := range replies {
		if first := r.first.Val(); len(first) > 0 {
			out = append(out, Pending{Group: r.group, Sectors: int(r.count.Val()), First: time.UnixMilli(int64(first[0].Score))})
		}
	}
	return out, nil
}
