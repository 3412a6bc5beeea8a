package web

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// machinesPage is what its template sees.
type machinesPage struct {
	Workers []machine
	Queues  []queueLine
}

// machine is a live worker daemon.
type machine struct {
	jobs.Worker
	State    string // serving, stopping, draining, unfit
	Children []child
}

// child is a work id with a live child process.
type child struct {
	Work   string
	Sector jobs.SectorID
}

// queueLine is a queue and who serves it.
type queueLine struct {
	Name   string
	Tasks  int // waiting and running
	Width  int // of the fit lanes that serve it
	Served []string
}

// Stuck says that a queue has tasks which nobody will ever take.
func (q queueLine) Stuck() bool { return q.Tasks > 0 && len(q.Served) == 0 }

func (s *site) machines(r *http.Request) (*answer, error) {
	workers, err := s.Store.Workers(r.Context())
	if _, err = sectors.Unread(err); err != nil {
		return nil, err
	}
	load, err := s.Queues.Load(r.Context())
	if err != nil {
		return nil, err
	}
	p := &machinesPage{Queues: queueLines(workers, load)}
	for _, w := range workers {
		p.Workers = append(p.Workers, machineOf(w))
	}
	return &answer{name: "machines", title: "Machines", nav: "machines", body: p}, nil
}

func machineOf(w jobs.Worker) machine {
	m := machine{Worker: w, State: "serving"}
	switch {
	case w.Stopping:
		m.State = "stopping"
	case w.Draining:
		m.State = "draining"
	case slices.ContainsFunc(w.Lanes, func(l jobs.Lane) bool { return l.Unfit != "" }):
		m.State = "unfit"
	}
	for _, work := range w.Children {
		name, _, _ := strings.Cut(work, ".")
		if id, err := jobs.ParseSectorID(name); err == nil {
			m.Children = append(m.Children, child{work, id})
		}
	}
	return m
}

// LaneName writes a lane as people speak of it.
func (machine) LaneName(l jobs.Lane) string { return laneName(l) }

func laneName(l jobs.Lane) string {
	if l.GPU != "" {
		return string(l.Class) + " " + l.GPU
	}
	return string(l.Class)
}

// queueLines lists the queues that have tasks or are served.
func queueLines(workers []jobs.Worker, load map[string]int) []queueLine {
	byName := map[string]*queueLine{}
	at := func(name string) *queueLine {
		if byName[name] == nil {
			byName[name] = &queueLine{Name: name, Tasks: load[name]}
		}
		return byName[name]
	}
	for name := range load {
		at(name)
	}
	for _, w := range workers {
		for _, l := range w.Lanes {
			for _, q := range l.Queues(w.Host) {
				line := at(q.String())
				if l.Unfit == "" && !w.Draining {
					line.Width += l.Width
					line.Served = append(line.Served, w.Name())
				}
			}
		}
		if schedules(w) {
			line := at(jobs.SchedulerQueue)
			line.Width += queue.SchedulerWidth
			line.Served = append(line.Served, w.Name())
		}
	}
	out := make([]queueLine, 0, len(byName))
	for _, line := range byName {
		out = append(out, *line)
	}
	slices.SortFunc(out, func(a, b queueLine) int { return strings.Compare(a.Name, b.Name) })
	return out
}

var errNoWorker = errors.New("no live worker has this name")

// drain orders a worker to take no more work, or to take work again. What it has it
// finishes, so nothing is lost and nothing is asked.
func (s *site) drain(w http.ResponseWriter, r *http.Request) {
	if err := s.orderDrain(r); err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/machines", http.StatusSeeOther)
}

func (s *site) orderDrain(r *http.Request) error {
	if !s.AllowWrites {
		return errReadOnly
	}
	order := r.PathValue("order")
	if order != "drain" && order != "resume" {
		return errNoPage
	}
	name := r.PathValue("host") + "/" + r.PathValue("instance")
	workers, err := s.Store.Workers(r.Context())
	if _, err = sectors.Unread(err); err != nil {
		return err
	}
	if !slices.ContainsFunc(workers, func(w jobs.Worker) bool { return w.Name() == name }) {
		return fmt.Errorf("%s %s: %w", order, name, errNoWorker)
	}
	if err := s.Store.SetDraining(r.Context(), name, order == "drain"); err != nil {
		return err
	}
	s.Log.Info("order", "worker", name, "order", order, "by", by(r))
	return nil
}
