package sectors

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

func pathKey(id string) string { return "lpseal:{path-" + id + "}" }

// reserveScript promises bytes of a path to a sector, or answers how many are
// promised to others.
//
//	KEYS path
//	ARGV sector, bytes, capacity
var reserveScript = redis.NewScript(`
local mine = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '-1')
local want = tonumber(ARGV[2])
if want <= mine then return '' end
local others = 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= ARGV[1] then others = others + (tonumber(all[i + 1]) or 0) end
end
if others + want > tonumber(ARGV[3]) then return string.format('%.0f', others) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return ''
`)

// Reserve promises bytes of a path to a sector, before its record names the path
// as home (design rule 9). Repeating it for the same sector changes nothing. It
// answers [ErrNoSpace] where capacity, in bytes, does not allow it.
func (s *Store) Reserve(ctx context.Context, path string, id jobs.SectorID, bytes, capacity uint64) error {
	others, err := certain(ctx, func() (string, error) {
		return reserveScript.Run(ctx, s.rdb, []string{pathKey(path)}, id.String(), bytes, capacity).Text()
	})
	if err != nil {
		return fmt.Errorf("reserve on path %s for %s: %w", path, id, err)
	}
	if others != "" {
		promised, _ := strconv.ParseUint(others, 10, 64)
		return fmt.Errorf("reserve on path %s for %s: %w: needs %s, and %s of %s are promised to other sectors",
			path, id, ErrNoSpace, humanize.IBytes(bytes), humanize.IBytes(promised), humanize.IBytes(capacity))
	}
	return nil
}

// Release gives a sector's space on a path back; it may be done twice.
func (s *Store) Release(ctx context.Context, path string, id jobs.SectorID) error {
	if err := s.rdb.HDel(ctx, pathKey(path), id.String()).Err(); err != nil {
		return fmt.Errorf("release on path %s for %s: %w", path, id, err)
	}
	return nil
}

// Reservations gives the bytes of a path that are promised, by sector, and beside them names
// what is no promise to a sector, by an [*UnreadError].
func (s *Store) Reservations(ctx context.Context, path string) (map[jobs.SectorID]uint64, error) {
	hash, err := s.rdb.HGetAll(ctx, pathKey(path)).Result()
	if err != nil {
		return nil, fmt.Errorf("reservations on path %s: %w", path, err)
	}
	out := make(map[jobs.SectorID]uint64, len(hash))
	bad := &UnreadError{Kind: "reservation"}
	for name, text := range hash {
		id, err1 := jobs.ParseSectorID(name)
		bytes, err2 := strconv.ParseUint(text, 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			bad.add(name, fmt.Errorf("reservation of %s on path %s: %w", name, path, err))
			continue
		}
		out[id] = bytes
	}
	return out, bad.orNil()
}

// needsSpace says whether a record still has a claim to space on its home path.
func needsSpace(r *jobs.Record) bool {
	return r.Outcome == jobs.Open && r.Stage(jobs.Finalize).State != jobs.Done && r.Stage(jobs.RecoverAbandon).State != jobs.Done
}

// SweepSpace drops reservations that the sectors' records disagree with: the home
// is another path, the scratch is gone, or there is no such sector. A sector that
// is not placed yet keeps its own: placing is under way. It returns how many it
// dropped.
func (s *Store) SweepSpace(ctx context.Context) (dropped int, err error) {
	keys, err := s.scanAll(ctx, pathKey("*"))
	if err != nil {
		return 0, fmt.Errorf("sweep space: %w", err)
	}
	for _, key := range keys {
		path := untag(key)[len("path-"):]
		held, err := s.Reservations(ctx, path)
		if _, err = Unread(err); err != nil {
			return dropped, fmt.Errorf("sweep space: %w", err)
		}
		ids := make([]jobs.SectorID, 0, len(held))
		for id := range held {
			ids = append(ids, id)
		}
		records, err := s.LoadMany(ctx, ids)
		unreadable := &UnreadableError{}
		if err != nil && !errors.As(err, &unreadable) {
			return dropped, fmt.Errorf("sweep space: %w", err)
		}
		for _, id := range unreadable.IDs {
			delete(held, id) // nobody knows what it has on disk
		}
		for i, id := range ids {
			r := records[i]
			if _, ok := held[id]; !ok || r != nil && needsSpace(r) && (r.Home == path || r.Home == "") {
				continue
			}
			if err := s.Release(ctx, path, id); err != nil {
				return dropped, fmt.Errorf("sweep space: %w", err)
			}
			dropped++
		}
	}
	return dropped, nil
}

// reserved sums the promised bytes of paths. A promise that is no number counts for nothing, as
// it does where space is promised: no other path, and no poll, must stop for it.
func (s *Store) reserved(ctx context.Context, paths []string) (map[string]uint64, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	pipe := s.rdb.Pipeline()
	cmds := make(map[string]*redis.StringSliceCmd, len(paths))
	for _, path := range paths {
		cmds[path] = pipe.HVals(ctx, pathKey(path))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	sums := make(map[string]uint64, len(paths))
	for path, cmd := range cmds {
		for _, text := range cmd.Val() {
			if bytes, err := strconv.ParseUint(text, 10, 64); err == nil {
				sums[path] += bytes
			}
		}
	}
	return sums, nil
}
