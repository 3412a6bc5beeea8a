//go:build filcrypto

package cli

import (
	"github.com/lpseal/lpseal/ffi/filcrypto"
	"github.com/lpseal/lpseal/jobs"
)

func init() {
	provers[filcrypto.Name] = backend{
		make: func(o backendOptions) (jobs.Prover, error) {
			key, gpu := filcrypto.Build()
			o.log.Debug("filecoin-ffi", "library", key, "gpu", gpu, "environment", filcrypto.Environment())
			return filcrypto.New(filcrypto.Options{Threads: o.threads, Parameters: proofParameters(o.network, o.log.Warn)})
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
