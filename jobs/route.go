package jobs

import (
	"fmt"
	"slices"
	"strings"
)

// route chooses the queue for a stage, or says why there is none.
func route(row *Row, r *Record, f *Facts) (Queue, Reason) {
	switch row.Place {
	case AtChain:
		return Queue{Class: ClassChain}, Reason{}
	case Anywhere:
		return anywhere(row, f)
	}
	return atHome(row, r.Home, f)
}

// serving are the queues with a fit lane on a worker that takes work, among those
// of a class that keep wants, each with its total width.
func serving(f *Facts, class Class, keep func(Worker, Queue) bool) map[Queue]int {
	out := map[Queue]int{}
	for _, w := range f.Workers {
		if w.Draining {
			continue
		}
		for _, l := range w.Lanes {
			if l.Class != class || l.Unfit != "" {
				continue
			}
			for _, q := range l.Queues(w.Host) {
				if keep(w, q) {
					out[q] += l.Width
				}
			}
		}
	}
	return out
}

// alive says that some fit lane serves the queue of this name.
func alive(name string, f *Facts) bool {
	q, err := ParseQueue(name)
	if err != nil {
		return false
	}
	if q.Class == ClassChain {
		return true
	}
	return len(serving(f, q.Class, func(_ Worker, s Queue) bool { return s == q })) > 0
}

// unserved says, behind where a stage is queued, that nobody takes it from there.
func unserved(sr StageRecord, f *Facts) string {
	q, err := ParseQueue(sr.Queue)
	if sr.State != Queued || err != nil || alive(sr.Queue, f) {
		return ""
	}
	return fmt.Sprintf(": no live worker has a fit %s lane for that%s", q.Class, TakenOut(f.Workers, q.Class))
}

// shortest is the queue with the least expected wait; ties go by name, so that
// every scheduler chooses the same.
func shortest(queues map[Queue]int, f *Facts) (best Queue, ok bool) {
	names := make([]Queue, 0, len(queues))
	for q := range queues {
		names = append(names, q)
	}
	slices.SortFunc(names, func(a, b Queue) int {
		// Compare (load+1)/width without division.
		x := (f.Load[a.String()] + 1) * queues[b]
		y := (f.Load[b.String()] + 1) * queues[a]
		if x != y {
			return x - y
		}
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
	if len(names) == 0 {
		return Queue{}, false
	}
	return names[0], true
}

func anywhere(row *Row, f *Facts) (Queue, Reason) {
	for _, class := range row.Classes {
		qs := serving(f, class, func(w Worker, q Queue) bool {
			if class == ClassGPU {
				return q.Host == AnyHost
			}
			return q.Host == w.Host
		})
		if q, ok := shortest(qs, f); ok {
			return q, Reason{}
		}
	}
	return Queue{}, Reason{Text: fmt.Sprintf("%s waits for a worker: no live worker has a fit %s lane%s", row.Stage, row.Classes[0], TakenOut(f.Workers, row.Classes[0]))}
}

// TakenOut tells which workers have lanes of a class that take no work, and why, to be put
// behind a sentence that says that none does: empty if no worker has one at all.
func TakenOut(workers []Worker, class Class) string {
	var out []string
	for _, w := range workers {
		if w.Draining && slices.ContainsFunc(w.Lanes, func(l Lane) bool { return l.Class == class }) {
			is := fmt.Sprintf("is drained (lpseal machines resume %s)", w.Name())
			if w.Stopping {
				is = "is stopping"
			}
			out = append(out, w.Name()+" "+is)
			continue
		}
		for _, l := range w.Lanes {
			if l.Class == class && l.Unfit != "" {
				out = append(out, fmt.Sprintf("%s took it out (%s)", w.Name(), l.Unfit))
			}
		}
	}
	if len(out) == 0 {
		return ""
	}
	return ": " + strings.Join(out, ", ")
}

// atHome finds a lane on a host that serves the sector's sealing path.
func atHome(row *Row, home string, f *Facts) (Queue, Reason) {
	served := false
	for _, class := range row.Classes {
		qs := serving(f, class, func(w Worker, q Queue) bool {
			here := slices.ContainsFunc(w.Paths, func(p Path) bool { return p.ID == home })
			served = served || here
			return here && q.Host == w.Host
		})
		if q, ok := shortest(qs, f); ok {
			return q, Reason{}
		}
	}
	if !served && !slices.ContainsFunc(f.Workers, func(w Worker) bool {
		return slices.ContainsFunc(w.Paths, func(p Path) bool { return p.ID == home })
	}) {
		return Queue{}, Reason{Text: fmt.Sprintf("%s waits for the host of path %s: no live worker serves it", row.Stage, home)}
	}
	there := slices.DeleteFunc(slices.Clone(f.Workers), func(w Worker) bool {
		return !slices.ContainsFunc(w.Paths, func(p Path) bool { return p.ID == home })
	})
	return Queue{}, Reason{Text: fmt.Sprintf("%s waits for a lane: no worker that serves path %s has a fit %s lane%s", row.Stage, home, row.Classes[0], TakenOut(there, row.Classes[0]))}
}

// choosePath finds the sealing path for a new sector: most free space wins, among
// the paths whose hosts can run every stage that runs at home.
func choosePath(r *Record, f *Facts) (string, Reason) {
	need := SealingSpace(r.Proof)
	var best Path
	var room uint64
	short, lacking := 0, Reason{}
	for _, w := range f.Workers {
		for _, p := range w.Paths {
			if !p.CanSeal || w.Draining {
				continue
			}
			if why := canSealAt(p.ID, f); !why.OK() {
				lacking = why
				continue
			}
			free := p.room()
			if free < need {
				short++
				continue
			}
			if best.ID == "" || free > room || free == room && p.ID < best.ID {
				best, room = p, free
			}
		}
	}
	switch {
	case best.ID != "":
		return best.ID, Reason{}
	case short > 0:
		return "", Reason{Text: fmt.Sprintf("waits for space: a sector needs %s while it is sealed, and none of %d sealing paths has that much free", Bytes(need), short)}
	case !lacking.OK():
		return "", lacking
	}
	return "", Reason{Text: "waits for a worker: no live worker serves a sealing path"}
}

// room is what may still be promised of the path.
func (p Path) room() uint64 {
	return p.Capacity - min(p.Reserved, p.Capacity)
}

func canSealAt(path string, f *Facts) Reason {
	for _, row := range Stages {
		if row.Place == AtHome && !row.Recovery {
			if _, why := atHome(row, path, f); !why.OK() {
				return why
			}
		}
	}
	return Reason{}
}

// provable says whether some live c2 lane can prove for the connected network
// (design rule 6), and how many there are. foreign: all are native ones, whose proofs
// no real network takes. A lane that is out for a while still counts.
func provable(f *Facts) (why Reason, lanes int, foreign bool) {
	unproven := ""
	for _, w := range f.Workers {
		for _, l := range w.Lanes {
			if l.Class != ClassGPU {
				continue
			}
			lanes++
			switch {
			case l.Prover == NativeProver && !f.Network.Embedded:
			case l.Unproven == "":
				return Reason{}, lanes, false
			default:
				unproven = fmt.Sprintf("%s: %s", w.Name(), l.Unproven)
			}
		}
	}
	switch {
	case lanes == 0:
		return Reason{Text: "waits for a worker: no live worker has a gpu lane for c2"}, lanes, false
	case unproven != "":
		return Reason{Text: fmt.Sprintf("waits for a gpu lane whose proofs network %q takes: %s", f.Network.Name, unproven)}, lanes, false
	}
	return Reason{Text: fmt.Sprintf("the native prover makes no SNARK, so network %q would refuse its proofs and burn the deposit: give a gpu lane the prover filcrypto, then release the sector", f.Network.Name)}, lanes, true
}
