package native

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/jobs"
)

// labelled is a sector that is being labelled.
type labelled struct {
	replica
	name    jobs.SectorID
	ctx     context.Context
	release func()
	dir     string // of the layer files; empty keeps none
	report  func(jobs.Progress)
	ended   func(error) // told once; nil when it has been, and where nobody asks

	done    int // layers that are whole
	writing []*layerWriter
	err     error
}

func (s *labelled) unfinished() bool { return s.err == nil && s.done < s.Layers }

// fail ends the sector, with the first of its errors.
func (s *labelled) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// result says how the sector ended.
func (s *labelled) result() error {
	if s.err != nil {
		return fmt.Errorf("sdr %s: %w", s.name, s.err)
	}
	return nil
}

// tellEnd tells whoever asked that the sector has ended, and nothing of it is open.
func (s *labelled) tellEnd() {
	if tell := s.ended; tell != nil {
		s.ended = nil
		tell(s.result())
	}
}

// climb labels sectors that have equally many whole layers up to layer to. It comes
// back sooner, after a whole layer, when one of them ends before the others. What it
// gives is the last layer of all of them, their labels of a node side by side.
func climb(ctx context.Context, parents sdr.ParentCache, buf []byte, sectors []*labelled, to int) []byte {
	undo := sdr.StayOnCores()
	defer undo()
	size := int(sectors[0].Size) * len(sectors)
	below, current := buf[:size], buf[size:2*size]
	ids := make([][32]byte, len(sectors))
	for i, s := range sectors {
		ids[i] = s.id
		if s.done > 0 {
			if err := readLayer(filepath.Join(s.dir, jobs.LayerFile(s.done)), strided{below, i, len(sectors)}); err != nil {
				s.fail(err)
			}
		}
	}
	labeler := sdr.NewLabeler(ids...)
	for layer := sectors[0].done + 1; layer <= to && allWell(sectors); layer++ {
		label(ctx, labeler, parents, layer, current, below, sectors)
		below, current = current, below
		for _, s := range sectors {
			s.settle(1) // its memory is for the next layer but one
		}
	}
	for _, s := range sectors {
		if s.settle(0); !s.unfinished() {
			s.tellEnd()
		}
	}
	return below
}

func allWell(sectors []*labelled) bool {
	for _, s := range sectors {
		if s.err != nil {
			return false
		}
	}
	return true
}

// label makes one layer of every sector, while their writers follow the labels. A sector
// that ends meanwhile is labelled on, which costs its company nothing.
func label(ctx context.Context, labeler *sdr.Labeler, parents sdr.ParentCache, layer int, current, below []byte, sectors []*labelled) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, s := range sectors {
		s.write(layer, strided{current, i, len(sectors)})
	}
	err := labeler.Layer(ctx, layer, parents, current, below, func(nodes int) {
		alive := false
		for _, s := range sectors {
			s.reached(layer, nodes)
			alive = alive || s.err == nil
		}
		if !alive {
			cancel()
		}
	})
	for _, s := range sectors {
		if err != nil {
			s.fail(fmt.Errorf("layer %d: %w", layer, err))
		}
		if s.dir == "" && s.err == nil {
			s.done = layer
		}
	}
}

// write starts the writer of a layer.
func (s *labelled) write(layer int, labels strided) {
	if s.dir != "" && s.err == nil {
		s.writing = append(s.writing, startLayer(filepath.Join(s.dir, jobs.LayerFile(layer)), labels))
	}
}

// reached lets the writer have the labels of the first nodes. A sector that ends here
// lets go of its files: its company labels on, for a good part of an hour.
func (s *labelled) reached(layer, nodes int) {
	if s.err != nil {
		return
	}
	if err := s.follow(layer, nodes); err != nil {
		s.fail(err)
		s.settle(0)
		s.tellEnd()
	}
}

func (s *labelled) follow(layer, nodes int) error {
	if err := s.ctx.Err(); err != nil {
		return fmt.Errorf("layer %d: %w", layer, err)
	}
	tell(s.report, fmt.Sprintf("layer %d/%d", layer, s.Layers), nodes, s.Nodes())
	n := len(s.writing)
	if n == 0 {
		return nil
	}
	s.writing[n-1].reached(nodes)
	return s.writing[n-1].failure()
}

// settle waits for all writers but the last few. Those of a sector that has ended are
// called off.
func (s *labelled) settle(but int) {
	for len(s.writing) > but || s.err != nil && len(s.writing) > 0 {
		w := s.writing[0]
		s.writing = s.writing[1:]
		if err := w.wait(s.err != nil); err != nil {
			s.fail(err)
		} else if s.err == nil {
			s.done++
		}
	}
}
