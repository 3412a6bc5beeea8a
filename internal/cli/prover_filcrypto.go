//go:build filcrypto

package cli

import (
	"context"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/ffi/filcrypto"
	"github.com/lpseal/lpseal/internal/params"
	"github.com/lpseal/lpseal/jobs"
)

func init() {
	verifyAggregate = func(ctx context.Context, seals []jobs.Seal, aggregate []byte) error {
		// The embedded node takes test parameters, as it takes proofs made with them, and need not warn of its own.
		p, err := filcrypto.New(filcrypto.Options{Aggregates: proofParameters(devnet.DefaultNetworkName, params.Aggregating, func(string, ...any) {})})
		if err != nil {
			return err
		}
		return p.VerifyAggregate(ctx, seals, aggregate)
	}
	provers[filcrypto.Name] = backend{
		make: func(o backendOptions) (jobs.Prover, error) {
			key, gpu := filcrypto.Build()
			o.log.Debug("filecoin-ffi", "library", key, "gpu", gpu, "environment", filcrypto.Environment())
			return filcrypto.New(filcrypto.Options{
				Threads:    o.threads,
				Parameters: proofParameters(o.network, params.Proving, o.log.Warn),
				Aggregates: proofParameters(o.network, params.Aggregating, o.log.Warn),
			})
		},
		build: func() string {
			key, _ := filcrypto.Build()
			return thisBuild().name() + " " + key
		},
		gpu: func() string {
			_, gpu := filcrypto.Build()
			return gpu
		},
	}
}
