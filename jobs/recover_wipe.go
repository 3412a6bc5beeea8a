package jobs

import (
	"context"
	"time"
)

// RecoverWipe clears the way for new layers.
const RecoverWipe Stage = "recover_wipe"

var recoverWipe = Row{
	Stage:    RecoverWipe,
	Title:    "remove the cache of an older fence or ticket",
	Classes:  []Class{ClassIO},
	Place:    AtHome,
	Recovery: true,
	Cause:    "bad layers, or a ticket that expired: sdr must be redone",
	EndState: "the home path holds no layers, trees or sealed file of the sector; sdr starts",
	Timeout:  time.Hour,
	MaxRetry: 8,
	Do: func(ctx context.Context, env *Env, r *Record) (*Result, error) {
		return &Result{}, env.Files.Wipe(ctx, r)
	},
}
