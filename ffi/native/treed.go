package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/ffi/native/fr32"
	"github.com/lpseal/lpseal/jobs"
)

// PieceMismatchError says that the data of a piece is not what its CID names.
type PieceMismatchError struct {
	Index     int // of the piece in the sector, from 0
	Want, Got cid.Cid
}

func (e *PieceMismatchError) Error() string {
	return fmt.Sprintf("piece %d has CommP %s, not %s: its source holds other data", e.Index, e.Got, e.Want)
}

// PieceSizeError says that the source of a piece gave more or fewer bytes than
// declared. Of a longer one only the first byte too many was read.
type PieceSizeError struct {
	Index int
	Want  uint64 // declared raw size in bytes
	Got   uint64 // bytes read
}

func (e *PieceSizeError) Error() string {
	if e.Got > e.Want {
		return fmt.Sprintf("piece %d gives more than its %d bytes", e.Index, e.Want)
	}
	return fmt.Sprintf("piece %d ends after %d of %d bytes", e.Index, e.Got, e.Want)
}

// TreeD reads the pieces once and writes the data tree. See [jobs.Prover]. A piece
// starts at a multiple of its padded size and zeros fill the gaps, so its CommP is a
// node of the tree. Readers must end when ctx does.
func (p *Prover) TreeD(ctx context.Context, proof abi.RegisteredSealProof, cache string, pieces []jobs.PieceReader, report func(jobs.Progress)) (cid.Cid, error) {
	spec, err := interactive(proof)
	if err != nil {
		return cid.Undef, fmt.Errorf("tree-d: %w", err)
	}
	data, commPs, err := sectorData(ctx, spec.Size, pieces)
	if err != nil {
		return cid.Undef, fmt.Errorf("tree-d: %w", err)
	}
	commD, err := spec.writeTreeD(ctx, p.threads, cache, data, commPs, report)
	if err != nil {
		return cid.Undef, fmt.Errorf("tree-d: %w", err)
	}
	return commD, nil
}

// writeTreeD builds the tree over exactly the unpadded bytes of a sector.
func (s spec) writeTreeD(ctx context.Context, threads int, cache string, data io.Reader, commPs []commP, report func(jobs.Progress)) (cid.Cid, error) {
	out, err := create(filepath.Join(cache, jobs.TreeDFile))
	if err != nil {
		return cid.Undef, err
	}
	defer out.discard()

	t := s.data()
	root, err := treeBuild{
		tree:   t,
		hasher: func() rowHasher { return shaRow{} },
		source: func(chunk int) leafSource {
			return &dataSource{data: data, raw: make([]byte, chunk*nodeSize/fr32.Padded*fr32.Raw)}
		},
		sink:   func(row, first int, nodes []byte) error { return out.putNodes(t.first(row)+first, nodes) },
		report: func(n int) { tell(report, "tree-d", n, t.leaves) },
	}.run(ctx, threads)
	if err != nil {
		return cid.Undef, err
	}
	for i, p := range commPs {
		n, err := input{out.File}.node(t.first(p.row) + p.node)
		if err != nil {
			return cid.Undef, err
		}
		if err := checkCommP(i, p.cid, n); err != nil {
			return cid.Undef, err
		}
	}
	if err := out.commit(); err != nil {
		return cid.Undef, err
	}
	return dataCID(root)
}

// commP is a piece's commitment and the tree node that must equal it.
type commP struct {
	cid       cid.Cid
	row, node int
}

func checkCommP(index int, want cid.Cid, n node) error {
	got, err := dataCID(n)
	if err != nil {
		return err
	}
	if !got.Equals(want) {
		e := &PieceMismatchError{index, want, got}
		return classified{jobs.Failf(jobs.Data, "%w", e), e}
	}
	return nil
}

// sectorData joins the pieces, with zeros between and after them, to the unpadded
// bytes of a sector.
func sectorData(ctx context.Context, size abi.SectorSize, pieces []jobs.PieceReader) (data io.Reader, commPs []commP, err error) {
	var parts []io.Reader
	var at abi.PaddedPieceSize
	fill := func(to abi.PaddedPieceSize) {
		if to > at {
			parts = append(parts, zeros(uint64((to - at).Unpadded())))
			at = to
		}
	}
	for i, piece := range pieces {
		if err := piece.Size.Validate(); err != nil {
			return nil, nil, jobs.Failf(jobs.Data, "piece %d: %w", i, err)
		}
		room := uint64(piece.Size.Unpadded())
		if piece.RawSize > room {
			return nil, nil, jobs.Failf(jobs.Data, "piece %d of %d bytes does not fit its padded size %d", i, piece.RawSize, piece.Size)
		}
		start := (at + piece.Size - 1) / piece.Size * piece.Size
		if uint64(start+piece.Size) > uint64(size) {
			return nil, nil, jobs.Failf(jobs.Data, "piece %d ends at %d, beyond the sector's %d bytes", i, start+piece.Size, size)
		}
		fill(start)
		commPs = append(commPs, commP{piece.CID, log(int(piece.Size/nodeSize), 2), int(start / piece.Size)})
		parts = append(parts, &exactReader{in: &liveReader{ctx: ctx, in: piece.Reader}, index: i, want: piece.RawSize}, zeros(room-piece.RawSize))
		at += piece.Size
	}
	fill(abi.PaddedPieceSize(size))
	return io.MultiReader(parts...), commPs, nil
}

// dataSource pads what the sources of all goroutines read in turn from data.
type dataSource struct {
	data io.Reader
	raw  []byte
}

func (s *dataSource) take(int) error {
	_, err := io.ReadFull(s.data, s.raw)
	return err
}

func (s *dataSource) leaves(dst []byte) error {
	fr32.Pad(dst, s.raw)
	return nil
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func zeros(n uint64) io.Reader { return io.LimitReader(zeroReader{}, int64(n)) }

// exactReader reads want bytes and insists on the end after them. It looks for the
// end together with the last byte: whoever fills a sector never reads on.
type exactReader struct {
	in        io.Reader
	index     int // of the piece
	want, got uint64
}

func (r *exactReader) Read(p []byte) (n int, err error) {
	if left := r.want - r.got; left > 0 {
		n, err = r.in.Read(p[:min(uint64(len(p)), left)])
		r.got += uint64(n)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("read piece %d: %w", r.index, err)
		}
		if r.got < r.want {
			if err != nil {
				return 0, r.sizeError()
			}
			return n, nil
		}
	}
	more, err := hasMore(r.in)
	if err != nil {
		return 0, fmt.Errorf("read piece %d: %w", r.index, err)
	}
	if more {
		r.got++
		return 0, r.sizeError()
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (r *exactReader) sizeError() error {
	e := &PieceSizeError{r.index, r.want, r.got}
	return classified{jobs.Failf(jobs.Data, "%w", e), e}
}

// hasMore reads a byte, if there is one.
func hasMore(in io.Reader) (bool, error) {
	n, err := io.ReadFull(in, make([]byte, 1))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n > 0, err
}

// liveReader reads a source: it ends with its context, does not wait for ever on a
// source that gives neither data nor an error, and classifies what the source did not.
type liveReader struct {
	ctx  context.Context
	in   io.Reader
	idle int // reads in a row that gave nothing
}

// maxIdle is how many empty reads mean a broken source, as in bufio.
const maxIdle = 100

func (r *liveReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.in.Read(p)
	if n > 0 || err != nil {
		r.idle = 0
	} else if r.idle++; r.idle == maxIdle {
		err = io.ErrNoProgress
	}
	var fault *jobs.Fault
	if err == nil || errors.Is(err, io.EOF) || r.ctx.Err() != nil || errors.As(err, &fault) {
		return n, err
	}
	return n, classified{jobs.Failf(jobs.Transient, "%w", err), err}
}
