package sectors

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// messagesKey names all entries of the journal, as a zset ordered by name. It is
// written before an entry is.
const messagesKey = "lpseal:messages"

func messageKey(name string) string { return "lpseal:{m-" + name + "}" }

// swapScript compares an entry's value and replaces it. An earlier try with the
// same token counts; an equal value by somebody else does not.
//
//	KEYS entry
//	ARGV "1" if an old value is expected, old value, new value, token
var swapScript = redis.NewScript(`
local value = redis.call('HGET', KEYS[1], 'value')
local same = not value
if ARGV[1] == '1' then same = value == ARGV[2] end
if same then
  redis.call('HSET', KEYS[1], 'value', ARGV[3], 'write', ARGV[4])
  return 1
end
if redis.call('HGET', KEYS[1], 'write') == ARGV[4] then return 1 end
return 0
`)

// Journal is the shared journal of messages: what was signed and sent, by meaning.
// It implements chain.Journal.
type Journal struct{ store *Store }

// Journal gives the store's journal of messages.
func (s *Store) Journal() *Journal { return &Journal{s} }

// Get gives the values of keys, in order; nil where there is none.
func (j *Journal) Get(ctx context.Context, keys ...string) ([][]byte, error) {
	values := make([][]byte, 0, len(keys))
	for part := range slices.Chunk(keys, chunk) {
		pipe := j.store.rdb.Pipeline()
		cmds := make([]*redis.StringCmd, len(part))
		for i, key := range part {
			cmds[i] = pipe.HGet(ctx, messageKey(key), "value")
		}
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("message journal: read %d entries: %w", len(keys), err)
		}
		for i, cmd := range cmds {
			value, err := cmd.Bytes()
			if err != nil && !errors.Is(err, redis.Nil) {
				return nil, fmt.Errorf("message journal: read %s: %w", part[i], err)
			}
			values = append(values, value)
		}
	}
	return values, nil
}

// Swap writes next if the value is old, and tells whether it did; a nil old means
// that the key must be absent. Where there are replicas, one of them has the entry
// when Swap returns true. An error wraps [ErrUnknown] if the entry may be written:
// Get tells.
func (j *Journal) Swap(ctx context.Context, key string, old, next []byte) (bool, error) {
	if err := j.store.rdb.ZAdd(ctx, messagesKey, redis.Z{Member: key}).Err(); err != nil {
		return false, fmt.Errorf("message journal: name %s: %w", key, err)
	}
	expect := 0
	if old != nil {
		expect = 1
	}
	token := rand.Text()
	swapped, err := j.store.durably(ctx, messageKey(key), func(node redis.Scripter) (int, error) {
		return swapScript.Run(ctx, node, []string{messageKey(key)}, expect, old, next, token).Int()
	})
	if err != nil {
		return false, fmt.Errorf("message journal: write %s: %w", key, err)
	}
	return swapped == 1, nil
}

// dropScript takes an entry away if its value is still the one expected. The answer repeats itself
// but for an entry that was taken away before.
//
//	KEYS entry
//	ARGV value expected
var dropScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'value') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`)

// Delete takes the key out if its value is old, and tells whether it did. What is left of it in
// the index names nothing.
func (j *Journal) Delete(ctx context.Context, key string, old []byte) (bool, error) {
	dropped, err := dropScript.Run(ctx, j.store.rdb, []string{messageKey(key)}, old).Int()
	if err != nil {
		return false, fmt.Errorf("message journal: delete %s: %w", key, err)
	}
	if dropped == 0 {
		return false, nil
	}
	// Whoever writes it anew in between is indexed again by the sweep.
	if err := j.store.rdb.ZRem(ctx, messagesKey, key).Err(); err != nil {
		return true, fmt.Errorf("message journal: unindex %s: %w", key, err)
	}
	return true, nil
}

// List gives all entries whose key starts with prefix.
func (j *Journal) List(ctx context.Context, prefix string) (map[string][]byte, error) {
	span := &redis.ZRangeBy{Min: "-", Max: "+"}
	if prefix != "" {
		span = &redis.ZRangeBy{Min: "[" + prefix, Max: "(" + prefix + "\xff"}
	}
	keys, err := j.store.rdb.ZRangeByLex(ctx, messagesKey, span).Result()
	if err != nil {
		return nil, fmt.Errorf("message journal: list %q: %w", prefix, err)
	}
	values, err := j.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for i, value := range values {
		if value != nil {
			found[keys[i]] = value
		}
	}
	return found, nil
}
