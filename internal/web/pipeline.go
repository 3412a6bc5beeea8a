package web

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// pageSize is how many rows a page has: more than a screen shows, few enough to be sent
// every second.
const pageSize = 100

// pipelinePage is what its template sees.
type pipelinePage struct {
	Filter     filter
	Tabs       []tab
	Miners     []abi.ActorID
	Columns    []column
	Recovering bool // some row has a recovery job under way
	Rows       []row
	First, All int // of Rows, from 1, among how many
	Pages      int
	Alarms     []alarm
	Counted    time.Time // when, if it is a while ago: a large fleet is not counted every second
}

// longAgo is when a count's age is worth a word.
const longAgo = 5 * time.Second

// tab is a state to narrow the page to, with its number of sectors.
type tab struct {
	Standing standing
	Label    string
	N        int
}

// column is a stage: how much of it goes on in the whole fleet, and what serves it.
type column struct {
	Stage                  jobs.Stage
	Title                  string
	Lanes                  string // classes
	Busy, Width            int
	Running, Queued, Fault int
}

// row is a sector.
type row struct {
	ID       jobs.SectorID
	Standing standing
	CC       bool
	Cells    []cell
	Recovery cell // the recovery stage that is under way, if any
	Class    jobs.FaultClass
	Text     string
	Moved    time.Time
}

func (s *site) pipeline(r *http.Request) (*answer, error) {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		return nil, err
	}
	t, err := s.census.take(r.Context())
	if err != nil {
		return nil, err
	}
	workers, err := s.Store.Workers(r.Context())
	if _, err = sectors.Unread(err); err != nil {
		return nil, err
	}
	ids := f.choose(t)
	p := &pipelinePage{
		Filter: f, Tabs: tabs(t), Miners: t.miners(), Columns: columns(t, workers), All: len(ids),
		Pages: max(1, (len(ids)+pageSize-1)/pageSize), Alarms: append(alarms(t, workers), s.money.alarms(r.Context(), t)...),
	}
	if s.Clock.Now().Sub(t.at) > longAgo {
		p.Counted = t.at
	}
	p.Filter.Page = min(f.Page, p.Pages)
	from := (p.Filter.Page - 1) * pageSize
	p.First = from + 1
	p.Rows, err = s.rows(r.Context(), ids[from:min(from+pageSize, len(ids))])
	p.Recovering = slices.ContainsFunc(p.Rows, func(r row) bool { return r.Recovery.Active() })
	return &answer{name: "pipeline", title: "Pipeline", nav: "pipeline", body: p}, err
}

func tabs(t *tally) []tab {
	n := map[standing]int{finished: len(t.done)}
	for _, e := range t.open {
		n[e.standing]++
	}
	return []tab{
		{"", "all", len(t.open) + len(t.done)},
		{running, "running", n[running]},
		{waiting, "waiting", n[waiting]},
		{faulted, "trying again", n[faulted]},
		{held, "held", n[held]},
		{finished, "finished", n[finished]},
	}
}

// columns are the pipeline's stages. What recovers has one column together, and only
// while there is any.
func columns(t *tally, workers []jobs.Worker) []column {
	var out []column
	for _, stage := range jobs.Stages {
		if stage.Recovery {
			continue
		}
		c := column{Stage: stage.Stage, Title: stage.Title}
		for n, sectors := range t.stages {
			if n.stage != stage.Stage {
				continue
			}
			switch n.state {
			case jobs.Running:
				c.Running += sectors
			case jobs.Queued:
				c.Queued += sectors
			case jobs.Faulted:
				c.Fault += sectors
			}
		}
		for _, class := range stage.Classes {
			busy, width := lanesOf(workers, class)
			if c.Busy, c.Width = c.Busy+busy, c.Width+width; c.Lanes != "" {
				c.Lanes += "/"
			}
			c.Lanes += string(class)
		}
		out = append(out, c)
	}
	return out
}

// lanesOf sums the lanes of a class that take work; what a drained worker has in hand counts
// as busy.
func lanesOf(workers []jobs.Worker, class jobs.Class) (busy, width int) {
	for _, w := range workers {
		for _, l := range w.Lanes {
			if l.Class != class || l.Unfit != "" {
				continue
			}
			if busy += l.Busy; !w.Draining {
				width += l.Width
			}
		}
	}
	return busy, width
}

func hasLane(w jobs.Worker, class jobs.Class) bool {
	return slices.ContainsFunc(w.Lanes, func(l jobs.Lane) bool { return l.Class == class })
}

// schedules says that a worker is a scheduler's: it polls, and no drain ends that.
func schedules(w jobs.Worker) bool { return hasLane(w, jobs.ClassChain) }

// alarm is something that keeps the whole fleet from working, and where to look.
type alarm struct{ Text, Page, Link string }

// alarms are those that Redis tells.
func alarms(t *tally, workers []jobs.Worker) []alarm {
	var out []alarm
	say := func(format string, args ...any) {
		out = append(out, alarm{fmt.Sprintf(format, args...), "/machines", "Machines"})
	}
	if len(workers) == 0 {
		say("No worker is live: nothing is sealed. Start one with: lpseal worker")
	} else if !slices.ContainsFunc(workers, schedules) {
		say("No scheduler is live: sectors do not move on. Start one with: lpseal scheduler")
	}
	for _, class := range jobs.Classes {
		drained := slices.ContainsFunc(workers, func(w jobs.Worker) bool { return w.Draining && hasLane(w, class) })
		if _, width := lanesOf(workers, class); width == 0 && drained {
			say("Nobody takes %s work%s", class, jobs.TakenOut(workers, class))
		}
	}
	for _, w := range workers {
		for _, l := range w.Lanes {
			if l.Unfit != "" {
				say("%s takes no %s work: %s", w.Name(), laneName(l), l.Unfit)
			}
		}
	}
	if n := len(t.unreadable); n > 0 {
		say("%d of the records cannot be read, the first is %s: was it written by a newer lpseal?", n, t.unreadable[0])
	}
	for _, kind := range slices.Sorted(maps.Keys(t.unread)) {
		if names := t.unread[kind]; len(names) > 0 {
			say("%d of kind %s cannot be read, and whoever is in them waits; the first is %s: was it written by a newer lpseal?", len(names), kind, names[0])
		}
	}
	return out
}

// rows reads sectors anew, so that what is on the screen is of this moment however old
// the count is.
func (s *site) rows(ctx context.Context, ids []jobs.SectorID) ([]row, error) {
	records, err := s.Store.LoadMany(ctx, ids)
	var unreadable *sectors.UnreadableError
	if err != nil && !errors.As(err, &unreadable) {
		return nil, err
	}
	progress, err := s.Store.Progress(ctx, ids)
	if err != nil {
		return nil, err
	}
	now := s.Clock.Now()
	rows := make([]row, 0, len(records))
	for _, r := range records {
		if r != nil {
			rows = append(rows, rowOf(r, progress[r.ID], now))
		}
	}
	return rows, nil
}

func rowOf(r *jobs.Record, progress map[jobs.Stage]jobs.Progress, now time.Time) row {
	out := row{ID: r.ID, Standing: standingOf(r), CC: r.CC(), Moved: lastMove(r)}
	var all []cell
	for _, stage := range jobs.Stages {
		var p *jobs.Progress
		if told, ok := progress[stage.Stage]; ok {
			p = &told
		}
		c := cellOf(r, stage, p, now)
		all = append(all, c)
		switch {
		case !stage.Recovery:
			out.Cells = append(out.Cells, c)
		case c.Active():
			out.Recovery = c
		}
		if c.State == "fault" && out.Class == "" {
			out.Class = r.Stage(stage.Stage).Fault.Class
		}
	}
	if out.Standing == held {
		out.Class = r.Hold.Class
	}
	out.Text = remark(r, all)
	return out
}
