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

// SDR writes the layers. See [jobs.Prover]. It holds two layers in memory, and the
// graph too if no folder for parent caches is given. Layers that are there whole
// are kept: they were renamed into place by this function, and the caller has bound
// the folder to the seal.
func (p *Prover) SDR(ctx context.Context, s jobs.Seal, cache string, report func(jobs.Progress)) error {
	r, err := newReplica(s)
	if err == nil {
		err = r.writeLayers(ctx, p, cache, report)
	}
	if err != nil {
		return fmt.Errorf("sdr %s: %w", s.ID, err)
	}
	return nil
}

func (r replica) writeLayers(ctx context.Context, p *Prover, dir string, report func(jobs.Progress)) error {
	done, err := r.finishedLayers(dir)
	if err != nil || done == r.Layers {
		return err
	}
	var below []byte
	if done > 0 {
		below = make([]byte, r.Size)
		if err := readLayer(filepath.Join(dir, layerFile(done)), below); err != nil {
			return err
		}
	}
	_, err = r.label(ctx, p, done, below, func(layer int, labels []byte) error {
		return writeFile(filepath.Join(dir, layerFile(layer)), labels)
	}, report)
	return err
}

// label makes the layers above layer done, which is below, and gives the last: the key
// that hides the data. Each goes to finished before its memory serves for another.
func (r replica) label(ctx context.Context, p *Prover, done int, below []byte, finished func(layer int, labels []byte) error, report func(jobs.Progress)) (key []byte, err error) {
	parents, closeParents, err := p.openParents(ctx, r.graph())
	if err != nil {
		return nil, err
	}
	defer closeParents()
	labeler := sdr.NewLabeler(r.id)
	var spare []byte
	for layer := done + 1; layer <= r.Layers; layer++ {
		current := spare
		if current == nil {
			current = make([]byte, r.Size)
		}
		step := fmt.Sprintf("layer %d/%d", layer, r.Layers)
		err := labeler.Layer(ctx, layer, parents, current, below, func(nodes int) {
			tell(report, step, nodes, r.Nodes())
		})
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", layer, err)
		}
		if err := finished(layer, current); err != nil {
			return nil, err
		}
		below, spare = current, below
	}
	return below, nil
}

// openParents gives the graph from its file where there is a folder for it, and where
// the file can be checked; else from memory.
func (p *Prover) openParents(ctx context.Context, g *sdr.Graph) (cache sdr.ParentCache, done func(), err error) {
	if p.parents == "" || !g.CacheKnown() {
		list, err := g.ParentList(ctx, p.threads)
		return list, func() {}, err
	}
	file, err := g.OpenCache(ctx, p.parents, p.threads)
	if err != nil {
		if ctx.Err() == nil {
			err = fileFault(err)
		}
		return nil, nil, fmt.Errorf("parent cache: %w", err)
	}
	return file, func() { _ = file.Close() }, nil // only read
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
