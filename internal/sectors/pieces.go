package sectors

import (
	"context"
	"fmt"

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
