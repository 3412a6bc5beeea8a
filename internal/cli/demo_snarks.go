package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lpseal/lpseal/internal/params"
	"github.com/lpseal/lpseal/jobs"
)

// snarks says that the demo makes real proofs.
func (f demoFlags) snarks() bool { return f.prover != jobs.NativeProver }

// useTestParameters sees that there are parameters for real proofs, and tells the child
// processes where: the demo's own network takes those made on this machine.
func (f demoFlags) useTestParameters(ctx context.Context) error {
	if !f.snarks() {
		return nil
	}
	sizes, err := sectorSizes([]string{f.size})
	if err != nil {
		return err
	}
	if os.Getenv("FIL_PROOFS_PARAMETER_CACHE") == "" {
		dir, err := params.TestDir()
		if err != nil {
			return err
		}
		if err := os.Setenv("FIL_PROOFS_PARAMETER_CACHE", string(dir)); err != nil {
			return err
		}
	}
	needs, generate := []params.Need{params.Proving(sizes[0])}, "lpseal params generate --sector-size "+f.size
	if f.aggregate {
		needs, generate = append(needs, params.Aggregating(sizes[0])), generate+" --aggregate 1024"
	}
	for _, need := range needs {
		if _, err := params.DefaultDir().Ready(ctx, "demo", need); err != nil {
			return refused(generate, "demo: %w", err)
		}
	}
	return nil
}

// verifier checks the demo's proofs, real ones with the key of the parameters in use.
func (f demoFlags) verifier() (verifier, error) {
	if !f.snarks() {
		return verifier{}, nil
	}
	sizes, err := sectorSizes([]string{f.size})
	if err != nil {
		return verifier{}, err
	}
	file, ok := params.PoRepKey(sizes[0])
	if !ok {
		return verifier{}, fmt.Errorf("demo: sectors of %s have no verifying key", f.size)
	}
	key, err := readKey(filepath.Join(string(params.DefaultDir()), file.Name))
	return verifier{key}, err
}
