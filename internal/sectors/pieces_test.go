package sectors_test

import (
	"context"
	"crypto/sha256"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// piece is one of 512 padded bytes.
func (b *bench) piece(name string) jobs.Piece {
	sum := sha256.Sum256([]byte(name))
	sum[31] &= 0x3f
	c, err := commcid.PieceCommitmentV1ToCID(sum[:])
	require.NoError(b, err)
	return jobs.Piece{CID: c, Size: 512, RawSize: 508, Source: "/data/" + name}
}

func testPieces(b *bench) {
	x, y := b.piece("x"), b.piece("y")
	for number, pieces := range map[int][]jobs.Piece{10: {x, y}, 9: {y}, 11: nil} {
		r := record(sector(number))
		r.Pieces = pieces
		require.NoError(b, b.store.Create(b.ctx, r, "test"))
	}
	holding := func(p jobs.Piece) (ids []jobs.SectorID) {
		records, err := b.store.Holding(b.ctx, p.CID)
		require.NoError(b, err)
		for _, r := range records {
			ids = append(ids, r.ID)
		}
		return ids
	}
	require.Equal(b, []jobs.SectorID{sector(10)}, holding(x))
	require.Equal(b, []jobs.SectorID{sector(9), sector(10)}, holding(y), "by number")
	require.Empty(b, holding(b.piece("z")))

	key := "lpseal:piece:" + y.CID.String()
	require.NoError(b, b.rdb.SRem(b.ctx, key, sector(9).String()).Err())
	require.NoError(b, b.rdb.SAdd(b.ctx, key, sector(11).String(), sector(99).String(), "rubbish").Err())
	require.Equal(b, []jobs.SectorID{sector(10)}, holding(y), "the records decide, not the index")
	require.Equal(b, sectors.Mended{Looked: 3, Pieces: 1}, b.sweep())
	require.Equal(b, []jobs.SectorID{sector(9), sector(10)}, holding(y))
	require.Equal(b, sectors.Mended{Looked: 3}, b.sweep())

	require.NoError(b, b.rdb.HSet(b.ctx, "lpseal:{s-t01000-9}", "colour", "red").Err())
	found, err := b.store.Holding(b.ctx, y.CID)
	var unreadable *sectors.UnreadableError
	require.ErrorAs(b, err, &unreadable)
	require.Equal(b, []jobs.SectorID{sector(9)}, unreadable.IDs)
	require.Len(b, found, 1, "one that cannot be read hides no other")
}

func testTurns(b *bench) {
	x, y, z := b.piece("x").CID, b.piece("y").CID, b.piece("z").CID
	take := func(pieces ...cid.Cid) (done func(context.Context), ok bool) {
		done, ok, err := b.store.TakeTurn(b.ctx, pieces)
		require.NoError(b, err)
		return done, ok
	}
	first, ok := take(x, y, x)
	require.True(b, ok, "one order may name a piece twice")
	for _, pieces := range [][]cid.Cid{{x}, {z, y}, {y, z}} {
		_, ok := take(pieces...)
		require.False(b, ok)
	}
	other, ok := take(z)
	require.True(b, ok, "who had no turn keeps nobody waiting")
	left, err := b.rdb.PTTL(b.ctx, "lpseal:turn:"+x.String()).Result()
	require.NoError(b, err)
	require.Positive(b, left, "it ends when its process dies")

	require.NoError(b, b.rdb.Del(b.ctx, "lpseal:turn:"+x.String()).Err()) // a minute passed
	next, ok := take(x)
	require.True(b, ok)
	first(b.ctx)
	_, ok = take(x)
	require.False(b, ok, "an ended turn ends nobody else's")
	_, ok = take(y)
	require.True(b, ok)
	next(b.ctx)
	other(b.ctx)
	_, ok = take(x, z)
	require.True(b, ok)
	none, ok := take()
	require.True(b, ok)
	none(b.ctx)
}
