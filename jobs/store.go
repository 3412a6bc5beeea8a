package jobs

import (
	"context"
	"time"
)

// Store copies what lasts to a storage path and declares it to whoever proves it. It
// comes before commit because the first WindowPoSt may be due 30 minutes after that:
// a sector that nobody will prove is not committed.
const Store Stage = "store"

var store = Row{
	Stage:     Store,
	Title:     "copy sealed, p_aux, t_aux, tree-r-last (and unsealed if kept) to a storage path, and declare them to whoever proves",
	Classes:   []Class{ClassIO},
	Place:     AtHome,
	After:     []Stage{TreeRC},
	Ready:     storeReady,
	InputFrom: TreeRC,
	Heavy:     true,
	Timeout:   8 * time.Hour,
	MaxRetry:  8,
	Do:        doStore,
}

// storeReady keeps a sector from Curio until its pre-commit has landed. Curio's garbage collection marks the files of sectors that the chain does not
// know for removal, and the mark stays when it does: whoever approves all marks later deletes a sector that is proven (tasks/gc, ADR 9).
func storeReady(r *Record, _ *Facts, p *Policy) Reason {
	if p.Handover == HandoverCurio && !r.PreCommitted() {
		return Reason{Text: "store waits for the pre-commit to land: Curio marks files of sectors that the chain does not know for removal"}
	}
	return Reason{}
}

func doStore(ctx context.Context, env *Env, r *Record) (*Result, error) {
	stored, err := env.Files.Store(ctx, r, env.Progress)
	if err != nil {
		return nil, err
	}
	if env.Handover != nil {
		if stored.DeclaredTo, err = env.Handover.Declare(ctx, r, stored); err != nil {
			return nil, err
		}
	}
	return &Result{Stored: stored}, nil
}
