package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/filecoin-project/go-commp-utils/v2"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/jobs"
)

func (a *app) addFile(ctx context.Context, name string, f addFlags) error {
	file, err := os.Open(name)
	if err != nil {
		return unopened("", err)
	}
	defer file.Close()
	in, stop, err := a.intake(ctx, f.intakeFlags)
	if err != nil {
		return err
	}
	defer stop()
	parts, proof, err := in.plan(ctx, file, f)
	if err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	bar := a.progress(filepath.Base(name))
	defer bar.done()
	for i, part := range parts {
		r, err := in.addPart(ctx, file, part, proof, f, bar)
		if err != nil {
			return fmt.Errorf("add %s, part %d of %d: %w", name, i+1, len(parts), err)
		}
		if err := a.added(r); err != nil {
			return err
		}
	}
	return nil
}

// plan splits the file and sees that the flags fit.
func (in *intake) plan(ctx context.Context, file *os.File, f addFlags) ([]part, abi.RegisteredSealProof, error) {
	size, err := dataSize(file)
	if err != nil {
		return nil, 0, err
	}
	m, err := in.node.Miner(ctx, in.miner)
	if err != nil {
		return nil, 0, err
	}
	parts := split(size, m.SectorSize)
	switch {
	case len(parts) > 1 && f.pieces.file != pieceSpec{}:
		return nil, 0, usage("split it yourself, or leave the flags out", "it fills %d sectors, so it is not one piece", len(parts))
	case len(parts) > 1 && f.inPlace:
		return nil, 0, refused("leave --in-place out", "it fills %d sectors, and a part of a file is no piece's source", len(parts))
	}
	if len(parts) == 1 {
		if parts[0].padded, err = f.pieces.file.padded(size, m.SectorSize); err != nil {
			return nil, 0, err
		}
	}
	return parts, m.SealProof, nil
}

// dataSize is the size of a regular file with data.
func dataSize(file *os.File) (uint64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return 0, refused("give a regular file with data", "it is empty or no regular file")
	}
	return uint64(info.Size()), nil
}

// addPart makes one sector of a part of the file: CommP, then a home, then the data there, and
// last the record.
func (in *intake) addPart(ctx context.Context, file *os.File, p part, proof abi.RegisteredSealProof, f addFlags, bar *meter) (*jobs.Record, error) {
	piece, err := f.pieces.file.piece(proof, file, p, bar)
	if err != nil {
		return nil, err
	}
	req, err := f.request(in.miner)
	if err != nil {
		return nil, err
	}
	req.Pieces = []jobs.Piece{piece}
	if err := in.sched.Check(ctx, req); err != nil {
		return nil, err
	}
	if req.Home, err = in.home(ctx, req, f.where(in)); err != nil {
		return nil, err
	}
	if !f.inPlace {
		if req.Pieces[0].Source, err = in.bring(ctx, file, p, req.Home, bar); err != nil {
			return nil, err
		}
	}
	made, err := in.sched.Add(ctx, req, who())
	if err != nil {
		return nil, err
	}
	return made[0], nil
}

// where is the host that the data must lie on; empty leaves the choice.
func (f *addFlags) where(in *intake) string {
	if f.inPlace {
		return in.cfg.Host.ID
	}
	return f.host
}

// bring copies a part to its home, here or over the file service.
func (in *intake) bring(ctx context.Context, file *os.File, p part, home string, bar *meter) (string, error) {
	host, err := in.openHost()
	if err != nil {
		return "", err
	}
	name := file.Name()
	if p.whole {
		return in.upload(ctx, host, home, name, p.size, bar)
	}
	// The file service takes files, so that it can go on after a cut.
	tmp, err := os.CreateTemp("", "lpseal-part-")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	_, err = io.Copy(tmp, p.open(file))
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return "", fmt.Errorf("cut a part of %s: %w", name, err)
	}
	return in.upload(ctx, host, home, tmp.Name(), p.size, bar)
}

// part is the bytes of a file that go into one sector.
type part struct {
	offset, size uint64
	padded       abi.PaddedPieceSize
	whole        bool // it is the whole file
}

// split gives each sector as much as its unpadded size holds. The last part is a
// piece of the next power of two.
func split(size uint64, sector abi.SectorSize) []part {
	most := uint64(abi.PaddedPieceSize(sector).Unpadded())
	var out []part
	for offset := uint64(0); offset < size; offset += most {
		n := min(most, size-offset)
		out = append(out, part{offset: offset, size: n, padded: jobs.PaddedFor(n), whole: n == size})
	}
	return out
}

func (p part) open(file io.ReaderAt) io.Reader {
	return io.NewSectionReader(file, int64(p.offset), int64(p.size))
}

// commP commits to the part and the zeros that fill its piece.
func (p part) commP(proof abi.RegisteredSealProof, file io.ReaderAt) (cid.Cid, error) {
	return commp.GeneratePieceCIDFromFile(proof, io.MultiReader(p.open(file), zeros{}), p.padded.Unpadded())
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
