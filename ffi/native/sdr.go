package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/jobs"
)

// SDR writes the layers. See [jobs.Prover]. It holds two layers and the parent cache
// in memory: 120 bytes a node, 3.75 times the sector. Layers that are there whole
// are kept: they were renamed into place by this function, and the caller has bound
// the folder to the seal.
func (p *Prover) SDR(ctx context.Context, s jobs.Seal, cache string, report func(jobs.Progress)) error {
	r, err := newReplica(s)
	if err == nil {
		err = r.writeLayers(ctx, p.threads, cache, report)
	}
	if err != nil {
		return fmt.Errorf("sdr %s: %w", s.ID, err)
	}
	return nil
}

func (r replica) writeLayers(ctx context.Context, threads int, dir string, report func(jobs.Progress)) error {
	done, err := r.finishedLayers(dir)
	if err != nil || done == r.Layers {
		return err
	}
	parents, err := r.graph().Cache(ctx, threads)
	if err != nil {
		return err
	}
	current, previous := make([]byte, r.Size), make([]byte, r.Size)
	if done > 0 {
		if err := readLayer(filepath.Join(dir, layerFile(done)), previous); err != nil {
			return err
		}
	}
	labeler := sdr.NewLabeler(r.id)
	for layer := done + 1; layer <= r.Layers; layer++ {
		step := fmt.Sprintf("layer %d/%d", layer, r.Layers)
		err := labeler.Layer(ctx, layer, parents, current, previous, func(nodes int) {
			tell(report, step, nodes, r.Nodes())
		})
		if err != nil {
			return fmt.Errorf("layer %d: %w", layer, err)
		}
		if err := writeFile(filepath.Join(dir, layerFile(layer)), current); err != nil {
			return err
		}
		current, previous = previous, current
	}
	return nil
}

// finishedLayers counts the layers from 1 up that are there whole.
func (r replica) finishedLayers(dir string) (int, error) {
	for layer := 1; layer <= r.Layers; layer++ {
		info, err := os.Stat(filepath.Join(dir, layerFile(layer)))
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() != int64(r.Size) {
			return layer - 1, nil
		}
		if err != nil {
			return 0, fileFault(err)
		}
	}
	return r.Layers, nil
}

func readLayer(path string, dst []byte) error {
	in, err := openNodes(path, len(dst)/nodeSize)
	if err != nil {
		return err
	}
	return errors.Join(in.nodes(0, dst), in.Close())
}
