package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/lpseal/lpseal/jobs"
)

// meter shows how far one piece of work has come: a bar on a terminal, elsewhere a line at
// each new step.
type meter struct {
	name string
	w    io.Writer
	all  *mpb.Progress // nil where there is no terminal

	mu   sync.Mutex
	bar  *mpb.Bar
	step string
}

// progress starts a meter on stderr; stdout is for results.
func (a *app) progress(name string) *meter {
	m := &meter{name: name, w: a.err}
	if terminal(a.err) {
		m.all = mpb.New(mpb.WithOutput(a.err), mpb.WithRefreshRate(100*time.Millisecond))
	}
	return m
}

// report takes what a prover reports, from any goroutine.
func (m *meter) report(p jobs.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.Step != m.step {
		m.step = p.Step
		m.finish()
		if m.all == nil {
			fmt.Fprintf(m.w, "%s: %s\n", m.name, p.Step)
		} else {
			m.bar = m.all.AddBar(int64(p.Total),
				mpb.PrependDecorators(decor.Name(m.name+" "+p.Step+" ")),
				mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
		}
	}
	if m.bar != nil {
		m.bar.SetCurrent(int64(p.Done))
	}
}

// finish ends the bar of a step that did not report its end.
func (m *meter) finish() {
	if m.bar != nil {
		m.bar.SetTotal(-1, true)
		m.bar = nil
	}
}

func (m *meter) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finish()
	if m.all != nil {
		m.all.Wait()
	}
}
