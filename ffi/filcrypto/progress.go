//go:build filcrypto

package filcrypto

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

func tell(report func(jobs.Progress), step string, done uint64, size abi.SectorSize) {
	if report != nil {
		report(jobs.Progress{Step: step, Done: done, Total: uint64(size)})
	}
}

// layerLook is how often the layer files are looked at.
const layerLook = time.Second

// watchLayers reports which layer is being made, by the files that appear: the
// library itself says nothing. It ends with the function it returns.
func watchLayers(proof abi.RegisteredSealProof, size abi.SectorSize, cache string, report func(jobs.Progress)) (stop func()) {
	if report == nil {
		return func() {}
	}
	names := jobs.LayerFiles(proof)
	look := func() {
		done := 0
		for _, name := range names {
			if info, err := os.Stat(filepath.Join(cache, name)); err == nil && info.Size() == int64(size) {
				done++
			}
		}
		report(jobs.Progress{
			Step: fmt.Sprintf("layer %d/%d", min(done+1, len(names)), len(names)),
			Done: uint64(done) * uint64(size), Total: uint64(len(names)) * uint64(size),
		})
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(layerLook)
		defer tick.Stop()
		for {
			look()
			select {
			case <-end:
				look()
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(end); <-ended }
}
