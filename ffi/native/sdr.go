package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/jobs"
)

var _ jobs.Lockstep = (*Prover)(nil)

// SDR writes the layers. See [jobs.Prover]. It holds two layers in memory, and the
// graph too if no folder for parent caches is given. Layers that are there whole
// are kept: they were renamed into place by this function, and the caller has bound
// the folder to the seal.
func (p *Prover) SDR(ctx context.Context, s jobs.Seal, cache string, report func(jobs.Progress)) error {
	return p.SDRTogether(ctx, []jobs.SDRJob{{Ctx: ctx, Seal: s, Cache: cache, Report: report}})[0]
}

// Width is how many sectors [Prover.SDRTogether] labels at a time.
func (*Prover) Width() int { return sdr.Width() }

// SDRTogether writes the layers of several sectors. See [jobs.Lockstep]. Each goes on
// behind its own last whole layer: one that is behind is labelled alone until it is level
// with another, and one whose company ends goes on alone. More sectors than
// [Prover.Width] take turns, and so do two if there is not the memory for both.
func (p *Prover) SDRTogether(ctx context.Context, group []jobs.SDRJob) []error {
	sectors := make([]*labelled, len(group))
	var waiting []*labelled
	for i, job := range group {
		sectors[i] = newLabelled(ctx, job)
		defer sectors[i].release()
		if sectors[i].unfinished() {
			waiting = append(waiting, sectors[i])
		}
	}
	if len(waiting) > 0 {
		p.labelAll(ctx, waiting)
	}
	errs := make([]error, len(group))
	for i, s := range sectors {
		s.tellEnd()
		errs[i] = s.result()
	}
	return errs
}

// newLabelled looks at what a job has to do.
func newLabelled(ctx context.Context, job jobs.SDRJob) *labelled {
	s := &labelled{name: job.Seal.ID, dir: job.Cache, report: job.Report, ended: job.Done}
	own, cancel := context.WithCancel(job.Ctx)
	stop := context.AfterFunc(ctx, cancel)
	s.ctx, s.release = own, func() { stop(); cancel() }
	if s.replica, s.err = newReplica(job.Seal); s.err == nil {
		s.done, s.err = s.finishedLayers(job.Cache)
	}
	return s
}

// labelAll labels sectors of one proof type that have layers to make.
func (p *Prover) labelAll(ctx context.Context, sectors []*labelled) {
	first := sectors[0]
	fail := func(err error) {
		for _, s := range sectors {
			s.fail(err)
		}
	}
	for _, s := range sectors {
		if s.proof != first.proof {
			fail(jobs.Failf(jobs.Bug, "seal proofs %d and %d have different graphs: they cannot be labelled together", first.proof, s.proof))
			return
		}
	}
	g, width := first.graph(), min(sdr.Width(), len(sectors))
	for width > 1 && checkMemory(p.sdrMemory(g, width)) != nil {
		width--
	}
	if err := checkMemory(p.sdrMemory(g, width)); err != nil {
		fail(err)
		return
	}
	parents, closeParents, err := p.openParents(ctx, g)
	if err != nil {
		fail(err)
		return
	}
	defer closeParents()
	buf := sdr.NewBuffer(2 * width * int(first.Size))
	slices.SortStableFunc(sectors, func(a, b *labelled) int { return b.done - a.done })
	for together := range slices.Chunk(sectors, width) {
		labelTogether(ctx, parents, buf, together)
	}
}

// labelTogether labels no more sectors than buf has room for to the end. Those that have
// equally many layers run in lockstep; of others, the one that is behind runs first.
func labelTogether(ctx context.Context, parents sdr.ParentCache, buf []byte, sectors []*labelled) {
	for {
		var level []*labelled // those that are furthest behind
		to := 0
		for _, s := range sectors {
			switch {
			case !s.unfinished():
				continue
			case level == nil || s.done < level[0].done:
				if to = s.Layers; level != nil {
					to = level[0].done
				}
				level = []*labelled{s}
			case s.done == level[0].done:
				level = append(level, s)
			default:
				to = min(to, s.done)
			}
		}
		if level == nil {
			return
		}
		climb(ctx, parents, buf, level, to)
	}
}

// openParents gives the graph from its file where there is a folder for it, and where
// the file can be checked; else from memory.
func (p *Prover) openParents(ctx context.Context, g *sdr.Graph) (cache sdr.ParentCache, done func(), err error) {
	if !p.cachesParents(g) {
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

func (p *Prover) cachesParents(g *sdr.Graph) bool { return p.parents != "" && g.CacheKnown() }

// finishedLayers counts the layers from 1 up that are there whole.
func (r replica) finishedLayers(dir string) (int, error) {
	for layer := 1; layer <= r.Layers; layer++ {
		info, err := os.Stat(filepath.Join(dir, jobs.LayerFile(layer)))
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() != int64(r.Size) {
			return layer - 1, nil
		}
		if err != nil {
			return 0, fileFault(err)
		}
	}
	return r.Layers, nil
}
