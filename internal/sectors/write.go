package sectors

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

// logCap bounds a sector's log; a sector that goes well writes about a hundred
// lines.
const logCap = 1000

// tokensBack is how many log lines a repeated write looks through for its own.
const tokensBack = 64

// writeScript compares the version ("" for absent) and writes fields and log line
// together.
//
//	KEYS record, log
//	ARGV old version, token, lines to look back, log cap, by, text, new version,
//	     number of fields to set, their names and values, names to delete
//
// It answers 1 written (now or by an earlier try with this token), 0 conflict, -1
// absent.
var writeScript = redis.NewScript(`
local version = redis.call('HGET', KEYS[1], 'version')
if (version or '') ~= ARGV[1] then
  for _, entry in ipairs(redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', ARGV[3])) do
    local field = entry[2]
    for i = 1, #field, 2 do
      if field[i] == 'write' and field[i + 1] == ARGV[2] then return 1 end
    end
  end
  if version then return 0 end
  return -1
end
local set = tonumber(ARGV[8])
if set > 0 then redis.call('HSET', KEYS[1], unpack(ARGV, 9, 8 + 2 * set)) end
if #ARGV > 8 + 2 * set then redis.call('HDEL', KEYS[1], unpack(ARGV, 9 + 2 * set)) end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'by', ARGV[5], 'text', ARGV[6], 'version', ARGV[7], 'write', ARGV[2])
return 1
`)

// Create writes a new record, of Version 1. It refuses an existing sector with
// [ErrExists].
func (s *Store) Create(ctx context.Context, r *jobs.Record, by string) error {
	if r.Version != 1 {
		return fmt.Errorf("create %s: version is %d, a new record's is 1", r.ID, r.Version)
	}
	text := "added: committed capacity"
	switch n := len(r.Pieces); n {
	case 0:
	case 1:
		text = "added: 1 piece"
	default:
		text = fmt.Sprintf("added: %d pieces", n)
	}
	err := s.write(ctx, nil, r, text, by)
	if errors.Is(err, ErrConflict) {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", r.ID, err)
	}
	return nil
}

// Write replaces old by next, which came from [jobs.Apply] of e. It answers
// [ErrConflict] if the stored record is not old's version any more, [ErrNotFound]
// if there is none, and [ErrUnknown] if Redis gave no answer to repeated tries.
func (s *Store) Write(ctx context.Context, old, next *jobs.Record, e jobs.Event, by string) error {
	if next.ID != old.ID || next.Version != old.Version+1 {
		return fmt.Errorf("write %s: version %d cannot follow version %d of %s", next.ID, next.Version, old.Version, old.ID)
	}
	if err := s.write(ctx, old, next, e.String(), by); err != nil {
		return fmt.Errorf("write %s: %s: %w", next.ID, e, err)
	}
	return nil
}

func (s *Store) write(ctx context.Context, old, next *jobs.Record, text, by string) error {
	if err := s.indexBefore(ctx, next); err != nil {
		return err // the record is as it was
	}
	var before map[string]string
	if old != nil {
		before = old.Fields()
	}
	if err := s.replace(ctx, recordKey(next.ID), before, next.Fields(), text, by); err != nil {
		return err
	}
	s.indexAfter(ctx, old, next)
	return nil
}

// replace writes a versioned hash and a line of its log, if the stored one is still
// before's version; nil before is a hash that does not exist yet.
func (s *Store) replace(ctx context.Context, key string, before, after map[string]string, text, by string) error {
	args := []any{before["version"], rand.Text(), tokensBack, logCap, by, text, after["version"], 0}
	set := 0
	for name, value := range after {
		if was, ok := before[name]; !ok || was != value {
			args = append(args, name, value)
			set++
		}
	}
	args[7] = set
	for name := range before {
		if _, ok := after[name]; !ok {
			args = append(args, name)
		}
	}
	answer, err := certain(ctx, func() (int, error) {
		return writeScript.Run(ctx, s.rdb, []string{key, key + ":log"}, args...).Int()
	})
	switch {
	case err != nil:
		return err
	case answer == 0:
		return ErrConflict
	case answer < 0:
		return ErrNotFound
	}
	return nil
}

// Apply loads a record, applies an event and writes it, anew for as long as
// somebody else was faster. [jobs.ErrStale] and [jobs.ErrRefused] pass through. An
// event that repeats an accepted answer gives the record as it is.
func (s *Store) Apply(ctx context.Context, id jobs.SectorID, e jobs.Event, by string, now time.Time) (*jobs.Record, error) {
	const tries = 32 // each lost one means that another writer got on
	for range tries {
		r, err := s.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		next, err := jobs.Apply(r, e, now)
		if err != nil {
			return nil, err
		}
		if next.Version == r.Version {
			return r, nil
		}
		if err := s.Write(ctx, r, next, e, by); err == nil {
			return next, nil
		} else if !errors.Is(err, ErrConflict) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("apply %s to %s: %w in each of %d tries", e, id, ErrConflict, tries)
}

// certain repeats an idempotent write until it has an answer. Without one after a
// few tries, or when ctx ends, the error is [ErrUnknown].
func certain[T any](ctx context.Context, write func() (T, error)) (T, error) {
	const tries = 3
	for try := 1; ; try++ {
		answer, err := write()
		if err == nil || !uncertain(err) {
			return answer, err
		}
		wait := time.NewTimer(time.Duration(try) * 50 * time.Millisecond)
		select {
		case <-ctx.Done():
			wait.Stop()
			return answer, fmt.Errorf("%w: %w", ErrUnknown, errors.Join(err, ctx.Err()))
		case <-wait.C:
		}
		if try == tries {
			return answer, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
	}
}

// uncertain says that an error leaves open whether a write was done. An answer of
// the server is certain, except for those that a fail-over or restart gives to the
// second sending of a command whose first was carried out.
func uncertain(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return true
	}
	for _, prefix := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "MOVED", "ASK"} {
		if strings.HasPrefix(reply.Error(), prefix+" ") {
			return true
		}
	}
	return false
}
