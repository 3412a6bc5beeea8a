package jobs

import (
	"context"
	"time"
)

// RecoverLocate looks for files that are not where the record says.
const RecoverLocate Stage = "recover_locate"

var recoverLocate = Row{
	Stage:    RecoverLocate,
	Title:    "ask every live host which whole files of the sector it holds",
	Classes:  []Class{ClassIO},
	Place:    Anywhere,
	Recovery: true,
	Cause:    "a stage's input is not where the record says",
	EndState: "found: the record's home is the path that holds it and the stage is tried again; not found: the stage that makes it is redone",
	Timeout:  time.Hour,
	MaxRetry: 8,
	Do: func(ctx context.Context, env *Env, r *Record) (*Result, error) {
		found, err := env.Files.Locate(ctx, r)
		return &Result{Found: found}, err
	},
}
