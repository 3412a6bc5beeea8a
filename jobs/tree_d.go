package jobs

import (
	"context"
	"fmt"
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
		src, err := env.Pieces.Open(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("piece %d (%s): %w", i, p.CID, err)
		}
		defer src.Close()
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
