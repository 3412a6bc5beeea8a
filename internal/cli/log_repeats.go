package cli

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// repeatEvery is how often a warning or error that is written again and again, word for
// word, comes into the log: asynq writes five lines a second while Redis is away.
const repeatEvery = time.Minute

// repeats leaves out warnings and errors that were written a moment ago, and counts them:
// a later line of theirs says in repeated how many there were. Lines that differ in a word
// or an attribute are never left out.
type repeats struct {
	slog.Handler
	as   string // this handler's own attributes and groups, as a part of what is compared
	seen *seen  // by all handlers of one log
}

func newRepeats(h slog.Handler) repeats {
	return repeats{h, "", &seen{lines: map[string]*line{}}}
}

func (r repeats) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		r.as += " " + a.String()
	}
	r.Handler = r.Handler.WithAttrs(attrs)
	return r
}

func (r repeats) WithGroup(name string) slog.Handler {
	r.as, r.Handler = r.as+" "+name+":", r.Handler.WithGroup(name)
	return r
}

func (r repeats) Handle(ctx context.Context, rec slog.Record) error {
	write, late := r.seen.look(r.Handler, r.as, rec)
	var failed error
	for _, l := range late {
		failed = errors.Join(failed, l.handler.Handle(ctx, l.told(rec.Time)))
	}
	if write {
		failed = errors.Join(failed, r.Handler.Handle(ctx, rec))
	}
	return failed
}

// line is what is known of one that was written.
type line struct {
	handler slog.Handler
	record  slog.Record // the latest
	written time.Time
	left    int // out, since then
}

// told is the latest, with how many like it were left out. A log's times only grow.
func (l *line) told(at time.Time) slog.Record {
	r := l.record.Clone()
	r.Time = at
	r.AddAttrs(slog.Int("repeated", l.left))
	return r
}

type seen struct {
	mu    sync.Mutex
	lines map[string]*line
}

// look decides by the records' own times whether one is written, and gives the lines that
// were left out and are due to be told of.
func (s *seen) look(h slog.Handler, as string, rec slog.Record) (write bool, late []*line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := ""
	if rec.Level >= slog.LevelWarn {
		text = keyOf(as, rec)
	}
	if known := s.lines[text]; known != nil {
		known.handler, known.record = h, rec
		known.left++
	}
	for key, l := range s.lines {
		if rec.Time.Sub(l.written) < repeatEvery {
			continue
		}
		if l.left == 0 {
			delete(s.lines, key)
			continue
		}
		late = append(late, &line{l.handler, l.record, l.written, l.left})
		l.written, l.left = rec.Time, 0
	}
	slices.SortFunc(late, func(a, b *line) int { return a.record.Time.Compare(b.record.Time) })
	if text == "" {
		return true, late
	}
	if s.lines[text] != nil {
		return false, late
	}
	s.lines[text] = &line{h, rec, rec.Time, 0}
	return true, late
}

func keyOf(as string, rec slog.Record) string {
	text := rec.Level.String() + " " + rec.Message + as
	rec.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	return text
}
