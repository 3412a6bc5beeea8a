package addedstage

import (
	"context"
	"sync"
	"time"

	"github.com/lpseal/lpseal/jobs"
)

// Announce tells somebody that a sector is stored, before it is committed.
const Announce jobs.Stage = "announce"

var announce = jobs.Row{
	Stage:    Announce,
	Title:    "tell the indexer where the sector is",
	Classes:  []jobs.Class{jobs.ClassIO},
	Place:    jobs.AtHome,
	After:    []jobs.Stage{jobs.Store},
	Timeout:  time.Minute,
	MaxRetry: 8,
	Do:       doAnnounce,
}

// announced are the queues through which the sectors came.
var announced sync.Map

func doAnnounce(_ context.Context, _ *jobs.Env, r *jobs.Record) (*jobs.Result, error) {
	announced.Store(r.ID, r.Stage(Announce).Queue)
	return &jobs.Result{}, nil
}
