package jobs

import (
	"context"
	"fmt"
	"time"
)

// DropLayers frees most of the scratch space once no proof can need it again.
const DropLayers Stage = "drop_layers"

var dropLayers = Row{
	Stage:    DropLayers,
	Title:    "remove the layer files",
	Classes:  []Class{ClassIO},
	Place:    AtHome,
	After:    []Stage{C2},
	Ready:    layersReleased,
	Timeout:  time.Hour,
	MaxRetry: 8,
	Do: func(ctx context.Context, env *Env, r *Record) (*Result, error) {
		return &Result{}, env.Files.DropLayers(ctx, r)
	},
}

// layersReleased is the operator's release policy. The seed is final by then: C1
// was not started before its confidence.
func layersReleased(r *Record, _ *Facts, p *Policy) Reason {
	if p.ReleaseLayers == ReleaseAfterCommit && r.Activation == 0 {
		return Reason{Text: fmt.Sprintf("layers are kept until the sector is committed (release_layers: %s)", p.ReleaseLayers)}
	}
	return Reason{}
}
