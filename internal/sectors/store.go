package sectors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

// What an operation may answer. All of them come wrapped with the operation and
// the thing it was about.
var (
	ErrNotFound = errors.New("no such sector")
	ErrNoBatch  = errors.New("no such batch")
	ErrExists   = errors.New("the sector exists already")
	// ErrConflict: somebody else wrote first. Load again and decide anew.
	ErrConflict = errors.New("the record changed meanwhile")
	// ErrUnknown: the write may or may not have happened, for Redis did not answer.
	ErrUnknown = errors.New("unknown whether it was written")
	ErrNoSpace = errors.New("no space")
	// ErrNumbers: the configured ranges have too few free sector numbers.
	ErrNumbers = errors.New("no free sector numbers")
)

// Store is the sectors of one Redis. It is safe for concurrent use and holds no
// state of its own.
type Store struct{ rdb redis.UniversalClient }

// New makes a store on a client, which the caller closes.
func New(rdb redis.UniversalClient) *Store { return &Store{rdb: rdb} }

func recordKey(id jobs.SectorID) string { return "lpseal:{" + id.String() + "}" }

// chunk bounds a pipeline, so that no answer grows without bound.
const chunk = 500

// Load reads a record. One that cannot be parsed is an [*UnreadableError].
func (s *Store) Load(ctx context.Context, id jobs.SectorID) (*jobs.Record, error) {
	hash, err := s.rdb.HGetAll(ctx, recordKey(id)).Result()
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", id, err)
	}
	if len(hash) == 0 {
		return nil, fmt.Errorf("load %s: %w", id, ErrNotFound)
	}
	r, err := jobs.ParseRecord(hash)
	if err != nil {
		return nil, &UnreadableError{[]jobs.SectorID{id}, []error{err}}
	}
	return r, nil
}

// UnreadableError names records that exist and could not be parsed, such as those
// that a newer lpseal wrote.
type UnreadableError struct {
	IDs  []jobs.SectorID
	Errs []error
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("%d unreadable records: %v", len(e.IDs), errors.Join(e.Errs...))
}

func (e *UnreadableError) Unwrap() []error { return e.Errs }

// UnreadError names what is no sector's record, exists, and could not be parsed, such as what
// a newer lpseal wrote. It comes beside what could be: see [Unread].
type UnreadError struct {
	Kind  string // "batch", "deal", "plan" (of the sector so named), "worker" or "reservation"
	Names []string
	Errs  []error // of each name
}

func (e *UnreadError) Error() string {
	return fmt.Sprintf("%d of kind %s cannot be read: %v", len(e.Names), e.Kind, errors.Join(e.Errs...))
}

func (e *UnreadError) Unwrap() []error { return e.Errs }

// Has says that a name is among the unreadable ones; nil has none.
func (e *UnreadError) Has(name string) bool { return e != nil && slices.Contains(e.Names, name) }

// unreadOne is that one thing exists and could not be parsed.
func unreadOne(kind, name string, err error) error {
	return &UnreadError{kind, []string{name}, []error{fmt.Errorf("%s %s: %w", kind, name, err)}}
}

func (e *UnreadError) add(name string, err error) {
	e.Names, e.Errs = append(e.Names, name), append(e.Errs, err)
}

// orNil is the error that a read of many returns.
func (e *UnreadError) orNil() error {
	if len(e.Names) == 0 {
		return nil
	}
	return e
}

// Unread parts a read that failed from one that only met unreadable ones: those are nil if
// there are none, and what was returned beside the error stands if rest is nil.
func Unread(err error) (unread *UnreadError, rest error) {
	if errors.As(err, &unread) {
		return unread, nil
	}
	return nil, err
}

// LoadMany reads records in pipelines; nil stands for one that is absent. Records
// that cannot be parsed are nil too and named in an [*UnreadableError], which comes
// beside the others: one bad record does not hide the rest.
func (s *Store) LoadMany(ctx context.Context, ids []jobs.SectorID) ([]*jobs.Record, error) {
	out := make([]*jobs.Record, 0, len(ids))
	bad := &UnreadableError{}
	for part := range slices.Chunk(ids, chunk) {
		pipe := s.rdb.Pipeline()
		cmds := make([]*redis.MapStringStringCmd, len(part))
		for i, id := range part {
			cmds[i] = pipe.HGetAll(ctx, recordKey(id))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("load %d records: %w", len(ids), err)
		}
		for i, cmd := range cmds {
			var r *jobs.Record
			if hash := cmd.Val(); len(hash) > 0 {
				var err error
				if r, err = jobs.ParseRecord(hash); err != nil {
					bad.IDs, bad.Errs = append(bad.IDs, part[i]), append(bad.Errs, err)
				}
			}
			out = append(out, r)
		}
	}
	if len(bad.IDs) > 0 {
		return out, bad
	}
	return out, nil
}

// All finds the records of a miner, or of all miners for nil, in order. It scans
// the whole of Redis in small steps: for people and repairs, not for polls.
func (s *Store) All(ctx context.Context, miner *abi.ActorID) ([]jobs.SectorID, error) {
	match := "lpseal:{s-t0*}"
	if miner != nil {
		match = fmt.Sprintf("lpseal:{s-t0%d-*}", uint64(*miner))
	}
	keys, err := s.scanAll(ctx, match)
	if err != nil {
		return nil, fmt.Errorf("list sectors: %w", err)
	}
	var ids []jobs.SectorID
	for _, key := range keys {
		if id, err := jobs.ParseSectorID(untag(key)); err == nil {
			ids = append(ids, id)
		}
	}
	return slices.Compact(inOrder(ids)), nil // SCAN may name a key twice
}

func inOrder(ids []jobs.SectorID) []jobs.SectorID {
	slices.SortFunc(ids, func(a, b jobs.SectorID) int {
		return cmp.Or(cmp.Compare(a.Miner, b.Miner), cmp.Compare(a.Number, b.Number))
	})
	return ids
}

// untag takes NAME out of lpseal:{NAME}.
func untag(key string) string {
	return strings.TrimSuffix(strings.TrimPrefix(key, "lpseal:{"), "}")
}

// scanCount is how many keys one SCAN step looks at: well under a millisecond of
// the server's time.
const scanCount = 1000

func (s *Store) scanAll(ctx context.Context, match string) (keys []string, err error) {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, node := range nodes {
		for it := node.Scan(ctx, 0, match, scanCount).Iterator(); ; {
			if !it.Next(ctx) {
				if err := it.Err(); err != nil {
					return nil, err
				}
				break
			}
			keys = append(keys, it.Val())
		}
	}
	return keys, nil
}

// nodes are the masters that hold keys, in a fixed order.
func (s *Store) nodes(ctx context.Context) ([]*redis.Client, error) {
	switch c := s.rdb.(type) {
	case *redis.Client:
		return []*redis.Client{c}, nil
	case *redis.ClusterClient:
		var mu sync.Mutex
		var nodes []*redis.Client
		err := c.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			nodes = append(nodes, node)
			return nil
		})
		slices.SortFunc(nodes, func(a, b *redis.Client) int {
			return strings.Compare(a.Options().Addr, b.Options().Addr)
		})
		return nodes, err
	}
	return nil, fmt.Errorf("redis client %T is neither a single server nor a cluster", s.rdb)
}

// nodeOf is the master that holds a key.
func (s *Store) nodeOf(ctx context.Context, key string) (*redis.Client, error) {
	switch c := s.rdb.(type) {
	case *redis.Client:
		return c, nil
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, key)
	}
	return nil, fmt.Errorf("redis client %T is neither a single server nor a cluster", s.rdb)
}

// TakePoll takes a bucket of time for one of many schedulers; the others are told
// false (design rule 11).
func (s *Store) TakePoll(ctx context.Context, bucket string, ttl time.Duration) (bool, error) {
	ok, err := s.rdb.SetNX(ctx, "lpseal:poll:"+bucket, "1", ttl).Result()
	if err != nil {
		return false, fmt.Errorf("take the turn %s: %w", bucket, err)
	}
	return ok, nil
}
