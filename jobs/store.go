package jobs

import (
	"context"
	"time"
)

// Store copies what lasts to a storage path. It comes before commit because the
// first WindowPoSt may be due 30 minutes after it.
const Store Stage = "store"

var store = Row{
	Stage:     Store,
	Title:     "copy sealed, p_aux, t_aux, tree-r-last (and unsealed if kept) to a storage path",
	Classes:   []Class{ClassIO},
	Place:     AtHome,
	After:     []Stage{TreeRC},
	InputFrom: TreeRC,
	Heavy:     true,
	Timeout:   8 * time.Hour,
	MaxRetry:  8,
	Do:        doStore,
}

func doStore(ctx context.Context, env *Env, r *Record) (*Result, error) {
	stored, err := env.Files.Store(ctx, r, env.Progress)
	if err != nil {
		return nil, err
	}
	return &Result{Stored: stored}, nil
}
