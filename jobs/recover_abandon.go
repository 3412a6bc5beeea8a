package jobs

import (
	"context"
	"time"
)

// RecoverAbandon gives a dead sector's space back. Its number is kept for ever.
const RecoverAbandon Stage = "recover_abandon"

var recoverAbandon = Row{
	Stage:    RecoverAbandon,
	Title:    "remove a dead sector's scratch and release its space",
	Classes:  []Class{ClassIO},
	Place:    AtHome,
	Recovery: true,
	Cause:    "an operator's order to remove the sector",
	EndState: "removed: no scratch, no reservation; stored files and the number stay",
	Timeout:  time.Hour,
	MaxRetry: 8,
	Do: func(ctx context.Context, env *Env, r *Record) (*Result, error) {
		return &Result{}, env.Files.Abandon(ctx, r)
	},
}
