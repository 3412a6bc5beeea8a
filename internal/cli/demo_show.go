package cli

import (
	"fmt"
	"io"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/lpseal/lpseal/jobs"
)

// pipelineMeter shows sectors on their way: a bar for each on a terminal, elsewhere a line for each
// stage done.
type pipelineMeter struct {
	w    io.Writer
	all  *mpb.Progress // nil where there is no terminal
	bars map[jobs.SectorID]*mpb.Bar
	told map[string]bool

	mu  sync.Mutex
	now map[jobs.SectorID]string // read by the bars' own goroutines
}

func (a *app) pipeline() *pipelineMeter {
	m := &pipelineMeter{w: a.err, bars: map[jobs.SectorID]*mpb.Bar{}, told: map[string]bool{}, now: map[jobs.SectorID]string{}}
	if terminal(a.err) {
		m.all = mpb.New(mpb.WithOutput(a.err))
	}
	return m
}

func (m *pipelineMeter) show(records []*jobs.Record) {
	for _, r := range records {
		done, total := 0, 0
		for _, row := range jobs.Stages {
			if row.Recovery {
				continue
			}
			total++
			if r.Stage(row.Stage).State != jobs.Done {
				continue
			}
			done++
			if key := r.ID.String() + string(row.Stage); !m.told[key] && m.all == nil {
				m.told[key] = true
				fmt.Fprintf(m.w, "%s: %s done\n", r.ID, row.Stage)
			}
		}
		if m.all != nil {
			m.draw(r, done, total)
		}
	}
}

func (m *pipelineMeter) draw(r *jobs.Record, done, total int) {
	m.mu.Lock()
	m.now[r.ID] = doing(r)
	m.mu.Unlock()
	bar := m.bars[r.ID]
	if bar == nil {
		id := r.ID
		bar = m.all.AddBar(int64(total), mpb.PrependDecorators(decor.Name(id.String()+" ")),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
				m.mu.Lock()
				defer m.mu.Unlock()
				return m.now[id]
			})))
		m.bars[id] = bar
	}
	bar.SetCurrent(int64(done))
}

// doing is what a sector is at, or what it waits for.
func doing(r *jobs.Record) string {
	stages := list(lineOf(r).Stages)
	switch {
	case r.Outcome != jobs.Open:
		return string(r.Outcome)
	case stages != "":
		return stages
	case r.Stage(jobs.Commit).State == jobs.Done && r.Activation == 0:
		return "commit lands"
	case r.Stage(jobs.PreCommit).State == jobs.Done && !r.PreCommitted():
		return "pre-commit lands"
	case r.PreCommitted() && r.Seed.Value == nil:
		return "seed"
	}
	return ""
}

// done leaves the bars as they are, finished or not.
func (m *pipelineMeter) done() {
	if m.all == nil {
		return
	}
	for _, bar := range m.bars {
		bar.Abort(false)
	}
	m.all.Wait()
}
