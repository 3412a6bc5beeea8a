package jobs

import (
	"context"
	"fmt"
	"time"
)

// DropLayers frees most of the scratch space once no proof can need it again.
const DropLayers Stage = "drop_layers"

var dropLayers = Row{
	Stage:          DropLayers,
	Title:          "remove the layer files; with synthetic proofs tree-c too",
	Classes:        []Class{ClassIO},
	Place:          AtHome,
	After:          []Stage{C2},
	AfterSynthetic: []Stage{TreeRC},
	Ready:          layersReleased,
	Timeout:        time.Hour,
	MaxRetry:       8,
	Do: func(ctx context.Context, env *Env, r *Record) (*Result, error) {
		return &Result{}, env.Files.DropLayers(ctx, r)
	},
}

// layersReleased is the operator's release policy. The seed is final by then: C1
// was not started before its confidence. Synthetic proofs are made to be rid of the
// layers before the seed, so the policy is not asked for them.
func layersReleased(r *Record, _ *Facts, p *Policy) Reason {
	if r.Proof.IsSynthetic() {
		return Reason{}
	}
	if p.ReleaseLayers == ReleaseAfterCommit && r.Activation == 0 {
		return Reason{Text: fmt.Sprintf("layers are kept until the sector is committed (release_layers: %s)", p.ReleaseLayers)}
	}
	return Reason{}
}
