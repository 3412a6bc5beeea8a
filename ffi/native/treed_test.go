package native

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/native/fr32"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

const proof2KiB = abi.RegisteredSealProof_StackedDrg2KiBV1_1

// naiveRoot is the tree over padded bytes by definition.
func naiveRoot(padded []byte) []byte {
	if len(padded) == nodeSize {
		return padded
	}
	half := len(padded) / 2
	h := sha256.Sum256(append(bytes.Clone(naiveRoot(padded[:half])), naiveRoot(padded[half:])...))
	h[31] &= 0x3f
	return h[:]
}

// somePiece is a piece with its true CommP.
func somePiece(t *testing.T, raw string, size abi.PaddedPieceSize) jobs.PieceReader {
	full := make([]byte, size.Unpadded())
	copy(full, raw)
	padded := make([]byte, size)
	fr32.Pad(padded, full)
	c, err := dataCID(node(naiveRoot(padded)))
	require.NoError(t, err)
	return jobs.PieceReader{
		Piece:  jobs.Piece{CID: c, Size: size, RawSize: uint64(len(raw))},
		Reader: bytes.NewReader([]byte(raw)),
	}
}

// TestTreeDAlignsPieces has gaps before, between and after pieces, and compares with
// the commitment that the network computes from piece CIDs.
func TestTreeDAlignsPieces(t *testing.T) {
	t.Parallel()
	pieces := []jobs.PieceReader{
		somePiece(t, "first", 128),
		somePiece(t, string(bytes.Repeat([]byte{0xff}, 254)), 256), // starts at 256, after a gap
		somePiece(t, "", 128),
		somePiece(t, "fourth, on a third of its room", 512),
	}
	pieces[1].Reader = iotest.OneByteReader(pieces[1].Reader)
	var infos []jobs.Piece
	for _, p := range pieces {
		infos = append(infos, p.Piece)
	}
	want, err := jobs.CommD(proof2KiB, infos)
	require.NoError(t, err)
	got, err := New(Options{}).TreeD(t.Context(), proof2KiB, t.TempDir(), pieces, nil)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestTreeDIsTheSameOnAnyThreads(t *testing.T) {
	t.Parallel()
	v := provertest.Named(t, "8m-data")
	for _, threads := range []int{1, 4} {
		var last jobs.Progress
		got, err := New(Options{Threads: threads}).TreeD(t.Context(), v.Proof, t.TempDir(), v.Pieces(), func(p jobs.Progress) {
			require.Greater(t, p.Done, last.Done)
			last = p
		})
		require.NoError(t, err)
		require.Equal(t, v.CommD, got.String())
		require.Equal(t, jobs.Progress{Step: "tree-d", Done: 8 << 20, Total: 8 << 20}, last)
	}
}

// readerFunc is a misbehaving source.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

var errSource = errors.New("source broke")

// TestTreeDRefusesBadPieces asserts class and text of each fault, and that no file is
// left behind.
func TestTreeDRefusesBadPieces(t *testing.T) {
	t.Parallel()
	data := string(bytes.Repeat([]byte{7}, 254))
	with := func(change func(p *jobs.PieceReader)) []jobs.PieceReader {
		pieces := []jobs.PieceReader{somePiece(t, "good", 128), somePiece(t, data, 256)}
		change(&pieces[1])
		return pieces
	}
	whole := string(bytes.Repeat([]byte{9}, 2032))
	for what, c := range map[string]struct {
		pieces []jobs.PieceReader
		class  jobs.FaultClass
		text   string
	}{
		"short": {with(func(p *jobs.PieceReader) { p.Reader = bytes.NewReader([]byte(data[:253])) }), jobs.Data, "piece 1 ends after 253 of 254 bytes"},
		"empty": {with(func(p *jobs.PieceReader) { p.Reader = bytes.NewReader(nil) }), jobs.Data, "piece 1 ends after 0 of 254 bytes"},
		"long":  {with(func(p *jobs.PieceReader) { p.Reader = bytes.NewReader([]byte(data + "x")) }), jobs.Data, "piece 1 gives more than its 254 bytes"},
		"long, nothing after it": {func() []jobs.PieceReader {
			p := somePiece(t, whole, 2048)
			p.Reader = bytes.NewReader([]byte(whole + "x"))
			return []jobs.PieceReader{p}
		}(), jobs.Data, "piece 0 gives more than its 2032 bytes"},
		"declared empty, is not":   {with(func(p *jobs.PieceReader) { p.RawSize = 0 }), jobs.Data, "piece 1 gives more than its 0 bytes"},
		"other data":               {with(func(p *jobs.PieceReader) { p.Reader = bytes.NewReader(bytes.Repeat([]byte{8}, 254)) }), jobs.Data, "piece 1 has CommP baga"},
		"size not a power of two":  {with(func(p *jobs.PieceReader) { p.Size = 384 }), jobs.Data, "piece 1"},
		"larger than its own room": {with(func(p *jobs.PieceReader) { p.RawSize = 255 }), jobs.Data, "does not fit its padded size 256"},
		"beyond the sector":        {with(func(p *jobs.PieceReader) { p.Size = 2048 }), jobs.Data, "beyond the sector"},
		"source gives up": {with(func(p *jobs.PieceReader) {
			p.Reader = readerFunc(func([]byte) (int, error) { return 0, jobs.Failf(jobs.Transient, "503") })
		}), jobs.Transient, "read piece 1: transient: 503"},
		"source breaks":              {with(func(p *jobs.PieceReader) { p.Reader = readerFunc(func([]byte) (int, error) { return 0, errSource }) }), jobs.Transient, "read piece 1: source broke"},
		"source gives nothing, ever": {with(func(p *jobs.PieceReader) { p.Reader = readerFunc(func([]byte) (int, error) { return 0, nil }) }), jobs.Transient, "read piece 1: multiple Read calls return no data"},
	} {
		dir := t.TempDir()
		_, err := New(Options{Threads: 3}).TreeD(t.Context(), proof2KiB, dir, c.pieces, nil)
		require.ErrorContains(t, err, c.text, what)
		fault, ok := jobs.Classify(t.Context(), err)
		require.True(t, ok, what)
		require.Equal(t, c.class, fault.Class, what)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left, what)
	}
}

func TestTreeDErrorsAreTyped(t *testing.T) {
	t.Parallel()
	prover := New(Options{})
	good, bad := somePiece(t, "good", 128), somePiece(t, "good", 128)
	bad.Reader = bytes.NewReader([]byte("evil"))
	evil := somePiece(t, "evil", 128)
	_, err := prover.TreeD(t.Context(), proof2KiB, t.TempDir(), []jobs.PieceReader{good, bad}, nil)
	var mismatch *PieceMismatchError
	require.ErrorAs(t, err, &mismatch)
	require.Equal(t, PieceMismatchError{1, bad.CID, evil.CID}, *mismatch)

	long := somePiece(t, "good", 128)
	long.Reader = bytes.NewReader([]byte("goodness"))
	_, err = prover.TreeD(t.Context(), proof2KiB, t.TempDir(), []jobs.PieceReader{long}, nil)
	var size *PieceSizeError
	require.ErrorAs(t, err, &size)
	require.Equal(t, PieceSizeError{0, 4, 5}, *size)

	broken := somePiece(t, "good", 128)
	broken.Reader = readerFunc(func([]byte) (int, error) { return 0, errSource })
	_, err = prover.TreeD(t.Context(), proof2KiB, t.TempDir(), []jobs.PieceReader{broken}, nil)
	require.ErrorIs(t, err, errSource)
}

func TestTreeDStopsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	piece := jobs.PieceReader{
		Piece: jobs.Piece{CID: cid.Undef, Size: 8 << 20, RawSize: uint64(abi.PaddedPieceSize(8 << 20).Unpadded())},
		Reader: readerFunc(func(p []byte) (int, error) {
			cancel()
			return len(p), nil
		}),
	}
	_, err := New(Options{Threads: 4}).TreeD(ctx, 6, t.TempDir(), []jobs.PieceReader{piece}, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, ok := jobs.Classify(ctx, err)
	require.False(t, ok, "cancellation is no sealing fault")
}

func TestMissingFolderIsMissingInput(t *testing.T) {
	t.Parallel()
	_, err := New(Options{}).TreeD(t.Context(), proof2KiB, t.TempDir()+"/gone", nil, nil)
	fault, ok := jobs.Classify(t.Context(), err)
	require.True(t, ok)
	require.Equal(t, jobs.Input, fault.Class)
	require.True(t, fault.Missing)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestExactReaderHidesNoError feeds the last bytes together with each kind of end:
// callers that have all they asked for drop an error that comes with data.
func TestExactReaderHidesNoError(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, io.EOF} {
		in := io.MultiReader(readerFunc(func(p []byte) (int, error) { return copy(p, "ab"), err }), bytes.NewReader(nil))
		got, e := io.ReadAll(&exactReader{in: io.LimitReader(in, 2), want: 2})
		require.NoError(t, e)
		require.Equal(t, "ab", string(got))
	}
	buf := make([]byte, 2)
	_, err := io.ReadFull(&exactReader{in: io.MultiReader(bytes.NewReader([]byte("ab")), readerFunc(func([]byte) (int, error) { return 0, errSource })), want: 2}, buf)
	require.ErrorIs(t, err, errSource)
}
