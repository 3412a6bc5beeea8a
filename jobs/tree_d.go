package jobs

import (
	"context"
	"fmt"
	"io"
	"time"
)

// TreeD reads the pieces and builds the data tree.
const TreeD Stage = "tree_d"

var treeD = Row{
	Stage:    TreeD,
	Title:    "read the pieces, check every CommP and CommD, write tree-d",
	Classes:  []Class{ClassCPU},
	Place:    AtHome,
	Heavy:    true,
	Timeout:  4 * time.Hour,
	MaxRetry: 8,
	Do:       doTreeD,
}

func doTreeD(ctx context.Context, env *Env, r *Record) (*Result, error) {
	home, err := env.Files.Home(ctx, r)
	if err != nil {
		return nil, err
	}
	pieces := make([]PieceReader, len(r.Pieces))
	for i, p := range r.Pieces {
		src := &source{open: func() (io.ReadCloser, error) {
			from, err := env.Pieces.Open(ctx, p)
			if err != nil {
				err = fmt.Errorf("piece %d (%s): %w", i, p.CID, err)
			}
			return from, err
		}}
		if err := src.try(); err != nil {
			return nil, err
		}
		defer src.close()
		pieces[i] = PieceReader{Piece: p, Reader: src}
	}
	commD, err := env.Prover.TreeD(ctx, r.Proof, home.Cache, pieces, env.Progress)
	if err != nil {
		return nil, err
	}
	if commD != r.CommD {
		return nil, Failf(Data, "the pieces make CommD %s, but their CIDs say %s", commD, r.CommD)
	}
	_, err = env.Files.Seal(ctx, r, TreeDFile)
	return &Result{}, err
}

// source opens a piece when it comes to be read, and closes it at its end. Pieces are read
// one after the other: the server of one that stayed open meanwhile would cut it off, for
// most wait a minute for somebody who reads nothing.
type source struct {
	open func() (io.ReadCloser, error)
	from io.ReadCloser // nil before the first read and after the last
	end  error         // that every read after the last is answered with
}

// try sees that the piece can be had, before others are read in vain.
func (s *source) try() error {
	from, err := s.open()
	if err == nil {
		_ = from.Close() // nothing was read
	}
	return err
}

// Read implements [io.Reader].
func (s *source) Read(b []byte) (n int, err error) {
	if s.from == nil && s.end == nil {
		s.from, s.end = s.open()
	}
	if s.end != nil {
		return 0, s.end
	}
	if n, err = s.from.Read(b); err != nil {
		s.end = err
		s.close()
	}
	return n, err
}

func (s *source) close() {
	if s.from != nil {
		_ = s.from.Close() // only read
		s.from = nil
	}
}
