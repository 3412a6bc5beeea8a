package sectors

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

// pieceKey is a set of the sectors that a piece may lie in: a hint, written before a record
// and mended from records. Pieces never leave a record.
func pieceKey(c cid.Cid) string { return "lpseal:piece:" + c.String() }

// indexPieces names the sector under each of its pieces.
func indexPieces(ctx context.Context, pipe redis.Pipeliner, r *jobs.Record) (added []*redis.IntCmd) {
	for _, p := range r.Pieces {
		if p.CID.Defined() {
			added = append(added, pipe.SAdd(ctx, pieceKey(p.CID), r.ID.String()))
		}
	}
	return added
}

// Holding finds the records that have the piece, given-up ones included, in order. Those that
// may have it and cannot be parsed are named by an [*UnreadableError], which comes beside.
func (s *Store) Holding(ctx context.Context, piece cid.Cid) ([]*jobs.Record, error) {
	names, err := s.rdb.SMembers(ctx, pieceKey(piece)).Result()
	if err != nil {
		return nil, fmt.Errorf("find piece %s: %w", piece, err)
	}
	ids := inOrder(parseNames(names))
	records, err := s.LoadMany(ctx, ids)
	if err != nil {
		err = fmt.Errorf("find piece %s: %w", piece, err)
	}
	var holding []*jobs.Record
	for _, r := range records {
		if r != nil && len(jobs.PlacesOf(r, piece)) > 0 {
			holding = append(holding, r)
		}
	}
	return holding, err
}

// turnPatience is for how long an order has its turn at a piece when its process dies.
const turnPatience = time.Minute

func turnKey(c cid.Cid) string { return "lpseal:turn:" + c.String() }

// endTurnScript ends the turn that has a token.
//
//	KEYS turn
//	ARGV token
var endTurnScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`)

// TakeTurn gives one of several orders for some pieces its turn, and tells whether it has it: done ends it, as a minute does. It makes one of two go first and is
// no proof that nobody else goes: that is to be looked for in what was written.
func (s *Store) TakeTurn(ctx context.Context, pieces []cid.Cid) (done func(context.Context), ok bool, err error) {
	token := rand.Text()
	var keys []string
	done = func(ctx context.Context) {
		for _, key := range keys {
			_ = endTurnScript.Run(ctx, s.rdb, []string{key}, token).Err() // it ends by itself
		}
	}
	// In one order for all, so that of orders that want pieces of each other's one gets all of its own.
	sorted := slices.SortedFunc(slices.Values(pieces), func(a, b cid.Cid) int { return cmp.Compare(a.KeyString(), b.KeyString()) })
	for _, c := range slices.Compact(sorted) {
		keys = append(keys, turnKey(c))
		ok, err := s.rdb.SetNX(ctx, turnKey(c), token, turnPatience).Result()
		if err != nil {
			err = fmt.Errorf("take a turn at piece %s: %w", c, err)
		}
		if !ok || err != nil {
			done(ctx)
			return nil, false, err
		}
	}
	return done, true, nil
}
