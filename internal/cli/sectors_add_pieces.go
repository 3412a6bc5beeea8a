package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/jobs"
)

// pieceSpec is what the command line says of one piece.
type pieceSpec struct {
	source     string // file or URL
	cid        cid.Cid
	size       abi.PaddedPieceSize
	rawSize    uint64
	allocation jobs.Allocation
	deal       abi.DealID
	start      abi.ChainEpoch
}

// pieceFlags are the flags of pieces: those after a --piece are that piece's, those before
// the first are of the FILE that is the argument.
type pieceFlags struct {
	file  pieceSpec
	named []pieceSpec
}

func (f *pieceFlags) last() *pieceSpec {
	if len(f.named) == 0 {
		return &f.file
	}
	return &f.named[len(f.named)-1]
}

func (f *pieceFlags) on(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Func("piece", "`FILE|URL` of a piece; repeat it for further pieces of the sector", func(s string) error {
		f.named = append(f.named, pieceSpec{source: s})
		return nil
	})
	flags.Func("piece-cid", "piece `CID`; a file whose CommP is another one is refused, a URL needs it", func(s string) (err error) {
		var raw uint64
		p := f.last()
		if p.cid, raw, err = jobs.ParsePieceCID(s); raw != 0 {
			p.rawSize = raw
		}
		return err
	})
	flags.Func("piece-size", "padded piece size in `bytes`, a power of two (default the smallest that fits)", func(s string) error {
		n, err := strconv.ParseUint(s, 10, 64)
		if f.last().size = abi.PaddedPieceSize(n); err == nil {
			err = f.last().size.Validate()
		}
		return err
	})
	flags.Func("raw-size", "`bytes` that a URL gives (default what its server says)", func(s string) (err error) {
		f.last().rawSize, err = strconv.ParseUint(s, 10, 64)
		return err
	})
	flags.Func("allocation", "verified allocation that the piece claims, as `CLIENT/ID`: 1001/7 or f01001/7", func(s string) (err error) {
		f.last().allocation, err = jobs.ParseAllocation(s)
		return err
	})
	flags.Func("deal-id", "`number` of the deal of the built-in market (f05) that the piece is for", func(s string) error {
		n, err := strconv.ParseUint(s, 10, 63)
		if f.last().deal = abi.DealID(n); err == nil && n == 0 {
			err = fmt.Errorf("deals are counted from 1")
		}
		return err
	})
	flags.Func("start", "last `epoch` at which the piece may be committed (default what allocation and deal say)", func(s string) error {
		n, err := strconv.ParseInt(s, 10, 64)
		f.last().start = abi.ChainEpoch(n)
		return err
	})
}

// padded is the size of a piece of so many bytes.
func (s *pieceSpec) padded(raw uint64, sector abi.SectorSize) (abi.PaddedPieceSize, error) {
	size := s.size
	if size == 0 {
		size = jobs.PaddedFor(raw)
	}
	if uint64(size.Unpadded()) < raw || uint64(size) > uint64(sector) {
		return 0, usage("leave it out for the smallest that fits", "--piece-size %d does not hold %d bytes, or is larger than a sector of %d", size, raw, sector)
	}
	return size, nil
}

// claims are what the chain shall do about the piece.
func (s *pieceSpec) claims(p *jobs.Piece) {
	if s.allocation != (jobs.Allocation{}) {
		p.Allocation = &s.allocation
	}
	if s.deal != 0 {
		p.Notify = []jobs.Notification{jobs.NotifyMarket(s.deal)}
	}
	p.Terms.Start = s.start
}

// piece computes the CommP of a part of a file and compares it with what was said.
func (s *pieceSpec) piece(proof abi.RegisteredSealProof, file *os.File, p part, bar *meter) (jobs.Piece, error) {
	source, err := filepath.Abs(file.Name())
	if err != nil {
		return jobs.Piece{}, err
	}
	bar.report(jobs.Progress{Step: "CommP", Total: p.size})
	commP, err := p.commP(proof, file)
	if err != nil {
		return jobs.Piece{}, fmt.Errorf("CommP: %w", err)
	}
	if s.cid.Defined() && s.cid != commP {
		return jobs.Piece{}, refused("check the file, and that --piece-size is right", "its CommP is %s, not %s", commP, s.cid)
	}
	piece := jobs.Piece{CID: commP, Size: p.padded, RawSize: p.size, Source: source}
	s.claims(&piece)
	return piece, nil
}

// remote is a URL, which the host that seals reads.
func (s *pieceSpec) remote() bool {
	return strings.HasPrefix(s.source, "http://") || strings.HasPrefix(s.source, "https://")
}

// fromURL is the piece of a URL: its data is checked in tree_d.
func (s *pieceSpec) fromURL(ctx context.Context, sector abi.SectorSize) (jobs.Piece, error) {
	if !s.cid.Defined() {
		return jobs.Piece{}, usage("give its --piece-cid", "the data is not read here, so its CommP is not known")
	}
	raw := s.rawSize
	if raw == 0 {
		var err error
		if raw, err = contentLength(ctx, s.source); err != nil {
			return jobs.Piece{}, usage("give its --raw-size", "%w", err)
		}
	}
	size, err := s.padded(raw, sector)
	if err != nil {
		return jobs.Piece{}, err
	}
	piece := jobs.Piece{CID: s.cid, Size: size, RawSize: raw, Source: s.source}
	s.claims(&piece)
	return piece, nil
}

// contentLength asks a server how many bytes a URL has.
func contentLength(ctx context.Context, source string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, source, nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK || res.ContentLength <= 0 {
		return 0, fmt.Errorf("the server does not say how many bytes it has (%s)", res.Status)
	}
	return uint64(res.ContentLength), nil
}

// shownSource is a source without what signs a URL: errors end up in logs.
func (s *pieceSpec) shownSource() string {
	u, err := url.Parse(s.source)
	if err != nil || u.Host == "" {
		return s.source
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// addPieces makes one sector of the pieces. All that can be refused is refused before data is copied.
func (a *app) addPieces(ctx context.Context, f addFlags) error {
	in, stop, err := a.intake(ctx, f.intakeFlags)
	if err != nil {
		return err
	}
	defer stop()
	m, err := in.node.Miner(ctx, in.miner)
	if err != nil {
		return err
	}
	req, err := f.request(in.miner)
	if err != nil {
		return err
	}
	bar := a.progress("pieces")
	defer bar.done()
	local := false
	for i := range f.pieces.named {
		spec := &f.pieces.named[i]
		piece, err := in.namedPiece(ctx, spec, m, bar)
		if err != nil {
			return fmt.Errorf("piece %d (%s): %w", i, spec.shownSource(), err)
		}
		local = local || !spec.remote()
		req.Pieces = append(req.Pieces, piece)
	}
	if err := in.sched.Check(ctx, req); err != nil {
		return err
	}
	if local || f.host != "" {
		if req.Home, err = in.home(ctx, req, f.where(in)); err != nil {
			return err
		}
	}
	if local && !f.inPlace {
		host, err := in.openHost()
		if err != nil {
			return err
		}
		for i := range req.Pieces {
			if f.pieces.named[i].remote() {
				continue
			}
			if req.Pieces[i].Source, err = in.upload(ctx, host, req.Home, req.Pieces[i].Source, req.Pieces[i].RawSize, bar); err != nil {
				return err
			}
		}
	}
	made, err := in.sched.Add(ctx, req, who())
	if err != nil {
		return err
	}
	return a.added(made[0])
}

func (in *intake) namedPiece(ctx context.Context, s *pieceSpec, m jobs.Miner, bar *meter) (jobs.Piece, error) {
	if s.remote() {
		return s.fromURL(ctx, m.SectorSize)
	}
	file, err := os.Open(s.source)
	if err != nil {
		return jobs.Piece{}, unopened("", errors.Unwrap(err)) // the file is named above
	}
	defer file.Close()
	size, err := dataSize(file)
	if err != nil {
		return jobs.Piece{}, err
	}
	padded, err := s.padded(size, m.SectorSize)
	if err != nil {
		return jobs.Piece{}, err
	}
	return s.piece(m.SealProof, file, part{size: size, padded: padded, whole: true}, bar)
}
