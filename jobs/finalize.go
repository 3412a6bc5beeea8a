package jobs

import (
	"context"
	"fmt"
	"time"
)

// Finalize removes the scratch of a committed sector and gives its space back.
const Finalize Stage = "finalize"

var finalize = Row{
	Stage:    Finalize,
	Title:    "remove scratch, release the reservation",
	Classes:  []Class{ClassIO},
	Place:    AtHome,
	After:    []Stage{Commit, DropLayers, Store},
	Ready:    committed,
	Timeout:  time.Hour,
	MaxRetry: 8,
	Do: func(ctx context.Context, env *Env, r *Record) (*Result, error) {
		return &Result{}, env.Files.Finalize(ctx, r)
	},
}

func committed(r *Record, f *Facts, _ *Policy) Reason {
	if r.Activation != 0 {
		return Reason{}
	}
	return Reason{Text: fmt.Sprintf("the commit message is %s; waiting for it to land at confidence", orUnknown(f.Messages[Commit].State))}
}
