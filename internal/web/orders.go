package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/lpseal/lpseal/jobs"
)

var (
	errReadOnly = errors.New("the pages are read only: set web.allow_writes, or use lpseal sectors on the command line")
	errForm     = errors.New("the request cannot be read")
)

// order is something an operator may do to a sector. Every one is asked back on a page of
// its own, which says what it costs.
type order struct {
	Name   string
	Button string
	Says   string // what it does
	Danger bool   // work or money is lost
	// Cost says what is lost for this sector.
	Cost func(*jobs.Record) string
	// Fits says whether the sector's state may allow it; the scheduler has the last word.
	Fits func(*jobs.Record) bool
	// Stages may be started at; nil where none is asked for.
	Stages func(*jobs.Record) []jobs.Stage
	// Reason is asked for, and noted in the sector's log.
	Reason bool
	events func(r *jobs.Record, stage jobs.Stage, reason string) []jobs.Event
}

func inPipeline(r *jobs.Record) bool { return r.Outcome == jobs.Open && !r.Abandoned }

var orders = []*order{
	{
		Name: "release", Button: "Release", Says: "The sector goes on. Faults that held it are forgiven.",
		Fits: func(r *jobs.Record) bool { return inPipeline(r) && r.Hold != nil },
		events: func(*jobs.Record, jobs.Stage, string) []jobs.Event {
			return []jobs.Event{jobs.Released{}}
		},
	},
	{
		Name: "retry", Button: "Retry from a stage", Says: "The stage and all that depends on it are done again.",
		Cost:   func(*jobs.Record) string { return "The results of these stages are given up." },
		Fits:   func(r *jobs.Record) bool { return inPipeline(r) && r.Activation == 0 && len(redoable(r)) > 0 },
		Stages: redoable, Reason: true, Danger: true,
		events: func(r *jobs.Record, stage jobs.Stage, reason string) []jobs.Event {
			again := jobs.RolledBack{To: stage, ByOrder: true, Why: reason}
			if r.Hold != nil { // until then nothing starts
				return []jobs.Event{again, jobs.Released{}}
			}
			return []jobs.Event{again}
		},
	},
	{
		Name: "drop-deals", Button: "Release as plain data", Says: "The sector goes on, and its pieces are committed as plain data: it claims no allocation and notifies nobody.",
		Cost: func(*jobs.Record) string { return "Its deals are lost." },
		Fits: func(r *jobs.Record) bool {
			return inPipeline(r) && r.Hold != nil && slices.ContainsFunc(r.Pieces, func(p jobs.Piece) bool { return p.Allocation != nil || len(p.Notify) > 0 })
		},
		Reason: true, Danger: true,
		events: func(_ *jobs.Record, _ jobs.Stage, reason string) []jobs.Event {
			return []jobs.Event{jobs.DealsDropped{Why: reason}, jobs.Released{}}
		},
	},
	{
		Name: "hold", Button: "Hold", Says: "Nothing new starts for the sector. What runs may finish.",
		Fits: func(r *jobs.Record) bool { return inPipeline(r) && r.Hold == nil }, Reason: true,
		events: func(_ *jobs.Record, _ jobs.Stage, reason string) []jobs.Event {
			return []jobs.Event{jobs.Held{Hold: jobs.Hold{Reason: reason}}}
		},
	},
	{
		Name: "abort", Button: "Abort", Says: "What runs for the sector is killed, and the sector is held.",
		Cost: func(*jobs.Record) string { return "The work of its running stages is lost." },
		Fits: inPipeline, Reason: true, Danger: true,
		events: func(_ *jobs.Record, _ jobs.Stage, reason string) []jobs.Event {
			return []jobs.Event{jobs.Aborted{Why: reason}}
		},
	},
	{
		Name: "remove", Button: "Remove", Says: "The sector is given up. Its number stays used for ever.",
		Cost: removalCost, Fits: inPipeline, Reason: true, Danger: true,
		events: func(_ *jobs.Record, _ jobs.Stage, reason string) []jobs.Event {
			return []jobs.Event{jobs.AbandonOrdered{Why: reason}}
		},
	},
}

func removalCost(r *jobs.Record) string {
	switch {
	case r.Activation != 0:
		return "It is committed on chain: without its files it will be faulty and cost penalties."
	case r.PreCommitted():
		return "It is pre-committed on chain: the deposit will be burnt."
	}
	return "Its scratch files are deleted."
}

// redoable are the stages that something was done of, in order.
func redoable(r *jobs.Record) []jobs.Stage {
	var out []jobs.Stage
	for _, row := range jobs.Stages {
		if !row.Recovery && r.Stage(row.Stage).State != jobs.Idle {
			out = append(out, row.Stage)
		}
	}
	return out
}

func offered(r *jobs.Record) []*order {
	return slices.DeleteFunc(slices.Clone(orders), func(o *order) bool { return !o.Fits(r) })
}

// confirmPage is what its template sees.
type confirmPage struct {
	*order
	ID     jobs.SectorID
	Row    row
	Loss   string
	Starts []jobs.Stage
	Start  jobs.Stage // the one that failed
}

// wanted reads which order an address gives to which sector, and sees that it fits.
func (s *site) wanted(r *http.Request) (*order, *jobs.Record, error) {
	id, err := sectorOf(r)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(orders, func(o *order) bool { return o.Name == r.PathValue("order") })
	if i < 0 {
		return nil, nil, errNoPage
	}
	if !s.AllowWrites {
		return nil, nil, errReadOnly
	}
	record, err := s.Store.Load(r.Context(), id)
	if err != nil {
		return nil, nil, err
	}
	if !orders[i].Fits(record) {
		return nil, nil, fmt.Errorf("%s %s: %w: its state does not allow it any more", orders[i].Name, id, jobs.ErrRefused)
	}
	return orders[i], record, nil
}

func (s *site) confirm(r *http.Request) (*answer, error) {
	o, record, err := s.wanted(r)
	if err != nil {
		return nil, err
	}
	p := &confirmPage{order: o, ID: record.ID, Row: rowOf(record, nil, s.Clock.Now())}
	if o.Cost != nil {
		p.Loss = o.Cost(record)
	}
	if o.Stages != nil {
		p.Starts = o.Stages(record)
		p.Start = p.Starts[len(p.Starts)-1]
		for _, stage := range p.Starts {
			if record.Hold != nil && record.Hold.Stage == stage || record.Stage(stage).State == jobs.Faulted {
				p.Start = stage
				break
			}
		}
	}
	return &answer{name: "confirm", title: o.Button + " " + record.ID.String(), nav: "pipeline", still: true, body: p}, nil
}

func (s *site) order(w http.ResponseWriter, r *http.Request) {
	if err := s.obey(r); err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/sectors/"+r.PathValue("id"), http.StatusSeeOther)
}

func (s *site) obey(r *http.Request) error {
	o, record, err := s.wanted(r)
	if err != nil {
		return err
	}
	reason := strings.TrimSpace(r.PostFormValue("reason"))
	if reason == "" {
		reason = o.Name + " by order"
	}
	stage := jobs.Stage(r.PostFormValue("stage"))
	if o.Stages != nil && !slices.Contains(o.Stages(record), stage) {
		return fmt.Errorf("%w: %q is not a stage that the sector has come to", errForm, stage)
	}
	for _, event := range o.events(record, stage, reason) {
		if err := s.Scheduler.Order(r.Context(), record.ID, event, by(r)); err != nil {
			return err
		}
	}
	return nil
}

// by names who ordered, as well as it is known: whoever has the token, and from where.
func by(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return "web/" + host
}
