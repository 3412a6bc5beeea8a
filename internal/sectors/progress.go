package sectors

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

// ProgressTTL is how long a report of progress is believed.
const ProgressTTL = time.Minute

func progressKey(id jobs.SectorID, stage jobs.Stage) string {
	return recordKey(id) + ":progress:" + string(stage)
}

// SetProgress says how far a stage of a sector has come. It has a key of its own
// and collides with no write of the record.
func (s *Store) SetProgress(ctx context.Context, id jobs.SectorID, stage jobs.Stage, p jobs.Progress) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("progress of %s of %s: %w", stage, id, err)
	}
	if err := s.rdb.Set(ctx, progressKey(id, stage), b, ProgressTTL).Err(); err != nil {
		return fmt.Errorf("progress of %s of %s: %w", stage, id, err)
	}
	return nil
}

// Progress gives what is known of sectors' running stages.
func (s *Store) Progress(ctx context.Context, ids []jobs.SectorID) (map[jobs.SectorID]map[jobs.Stage]jobs.Progress, error) {
	out := map[jobs.SectorID]map[jobs.Stage]jobs.Progress{}
	for part := range slices.Chunk(ids, chunk) {
		pipe := s.rdb.Pipeline()
		cmds := make([]*redis.SliceCmd, len(part))
		for i, id := range part {
			keys := make([]string, len(jobs.Stages))
			for k, row := range jobs.Stages {
				keys[k] = progressKey(id, row.Stage)
			}
			cmds[i] = pipe.MGet(ctx, keys...)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("progress of %d sectors: %w", len(ids), err)
		}
		for i, cmd := range cmds {
			for k, value := range cmd.Val() {
				text, ok := value.(string)
				if !ok {
					continue
				}
				var p jobs.Progress
				if err := json.Unmarshal([]byte(text), &p); err != nil {
					return nil, fmt.Errorf("progress of %s of %s: %w", jobs.Stages[k].Stage, part[i], err)
				}
				if out[part[i]] == nil {
					out[part[i]] = map[jobs.Stage]jobs.Progress{}
				}
				out[part[i]][jobs.Stages[k].Stage] = p
			}
		}
	}
	return out, nil
}
