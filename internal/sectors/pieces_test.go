package sectors_test

import (
	"crypto/sha256"

	commcid "github.com/filecoin-project/go-fil-commcid"
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
