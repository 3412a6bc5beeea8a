package sectors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

// Batches are hashes of their own (design rule 12); two zsets index them by the time
// they were made: those that hold members, and the last that ended.
const (
	openBatchesKey  = "lpseal:batches"
	endedBatchesKey = "lpseal:batches:ended"
	// endedKept is how many ended batches stay readable, and endedFor how long.
	endedKept = 1000
	endedFor  = 30 * 24 * time.Hour
)

func batchKey(id string) string { return "lpseal:{" + id + "}" }

// CreateBatch writes a planned batch. It is indexed first: an entry without a batch
// is found and removed, a batch without an entry would hold its members for ever.
func (s *Store) CreateBatch(ctx context.Context, b *jobs.Batch, by string) error {
	if _, err := jobs.ParseBatchID(b.ID); err != nil || b.Version != 1 || b.State != jobs.BatchPlanned {
		return fmt.Errorf("create %s: it is not a new batch", b.ID)
	}
	if err := s.rdb.ZAdd(ctx, openBatchesKey, redis.Z{Score: millis(b.Created), Member: b.ID}).Err(); err != nil {
		return fmt.Errorf("create %s: index it: %w", b.ID, err)
	}
	text := fmt.Sprintf("planned with %d sectors of %s: %s", len(b.Members), b.Group, b.Cause)
	err := s.replace(ctx, batchKey(b.ID), nil, b.Fields(), text, by)
	if errors.Is(err, ErrConflict) {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", b.ID, err)
	}
	return nil
}

// ApplyBatch applies an event to a batch as it was read and writes it. [ErrConflict]
// says that somebody else wrote first; [jobs.ErrStale] passes through.
func (s *Store) ApplyBatch(ctx context.Context, b *jobs.Batch, e jobs.BatchEvent, by string, now time.Time) (*jobs.Batch, error) {
	next, err := jobs.ApplyBatch(b, e, now)
	if err != nil {
		return nil, err
	}
	if err := s.replace(ctx, batchKey(b.ID), b.Fields(), next.Fields(), e.String(), by); err != nil {
		return nil, fmt.Errorf("write %s: %s: %w", b.ID, e, err)
	}
	if !next.Open() {
		s.endBatch(ctx, next)
	}
	return next, nil
}

// endBatch moves a batch to the ended ones. What of it fails, the poll does again:
// it finds an ended batch among the open ones.
func (s *Store) endBatch(ctx context.Context, b *jobs.Batch) {
	_, _ = s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Expire(ctx, batchKey(b.ID), endedFor)
		pipe.Expire(ctx, batchKey(b.ID)+":log", endedFor)
		pipe.ZAdd(ctx, endedBatchesKey, redis.Z{Score: millis(b.Created), Member: b.ID})
		pipe.ZRemRangeByRank(ctx, endedBatchesKey, 0, -endedKept-1)
		pipe.ZRem(ctx, openBatchesKey, b.ID)
		return nil
	})
}

// Batch reads one batch.
func (s *Store) Batch(ctx context.Context, id string) (*jobs.Batch, error) {
	found, err := s.Batches(ctx, []string{id})
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", id, err)
	}
	if found[id] == nil {
		return nil, fmt.Errorf("load %s: %w", id, ErrNoBatch)
	}
	return found[id], nil
}

// Batches reads batches by name; those that Redis does not have are left out. Those that
// cannot be parsed are named by an [*UnreadError], which comes beside the others.
func (s *Store) Batches(ctx context.Context, ids []string) (map[string]*jobs.Batch, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	pipe := s.rdb.Pipeline()
	cmds := make(map[string]*redis.MapStringStringCmd, len(ids))
	for _, id := range ids {
		if cmds[id] == nil {
			cmds[id] = pipe.HGetAll(ctx, batchKey(id))
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("load %d batches: %w", len(ids), err)
	}
	out := make(map[string]*jobs.Batch, len(cmds))
	bad := &UnreadError{Kind: "batch"}
	for id, cmd := range cmds {
		if len(cmd.Val()) == 0 {
			continue
		}
		b, err := jobs.ParseBatch(cmd.Val())
		if err != nil {
			bad.add(id, err)
			continue
		}
		out[id] = b
	}
	return out, bad.orNil()
}

// OpenBatches are those that hold members, the oldest first, and beside them those that
// cannot be parsed, by an [*UnreadError]: they may. What the index names in vain is taken
// out of it.
func (s *Store) OpenBatches(ctx context.Context, now time.Time) ([]*jobs.Batch, error) {
	index, err := s.rdb.ZRangeWithScores(ctx, openBatchesKey, 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read open batches: %w", err)
	}
	ids := make([]string, len(index))
	for i, z := range index {
		ids[i], _ = z.Member.(string)
	}
	found, err := s.Batches(ctx, ids)
	unread, err := Unread(err)
	if err != nil {
		return nil, err
	}
	var out []*jobs.Batch
	for i, id := range ids {
		b := found[id]
		switch young := index[i].Score > millis(now.Add(-jobs.PlanPatience)); {
		case unread.Has(id):
		case b != nil && b.Open():
			out = append(out, b)
		case b != nil:
			s.endBatch(ctx, b)
		case !young: // its creation was cut off; a young one is about to be written
			if err := s.rdb.ZRem(ctx, openBatchesKey, id).Err(); err != nil {
				return nil, fmt.Errorf("unindex %s: %w", id, err)
			}
		}
	}
	if unread != nil {
		return out, unread
	}
	return out, nil
}

// EndedBatches are the last n that ended, the latest first, and beside them those that cannot
// be parsed, by an [*UnreadError].
func (s *Store) EndedBatches(ctx context.Context, n int) ([]*jobs.Batch, error) {
	ids, err := s.rdb.ZRevRange(ctx, endedBatchesKey, 0, int64(n-1)).Result()
	if err != nil {
		return nil, fmt.Errorf("read ended batches: %w", err)
	}
	found, err := s.Batches(ctx, ids)
	var out []*jobs.Batch
	for _, id := range ids {
		if b := found[id]; b != nil {
			out = append(out, b)
		}
	}
	return out, err
}

// mendBatches puts open batches back into their index: one that is missing there
// would hold its members for ever.
func (s *Store) mendBatches(ctx context.Context, ids []string, m *Mended) error {
	found, err := s.Batches(ctx, ids)
	unread, err := Unread(err)
	if err != nil {
		return err
	}
	m.Looked += len(found)
	if unread != nil {
		m.Unreadable += len(unread.Names) // who wrote them keeps them in their index
	}
	for id, b := range found {
		if !b.Open() {
			continue
		}
		added, err := s.rdb.ZAddNX(ctx, openBatchesKey, redis.Z{Score: millis(b.Created), Member: id}).Result()
		if err != nil {
			return fmt.Errorf("index %s: %w", id, err)
		}
		m.Batch += int(added)
	}
	return nil
}
