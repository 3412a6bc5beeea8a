package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"golang.org/x/sys/unix"
)

// emit prints a result: as one line of JSON with --json, else for people.
func (a *app) emit(v any, human func(io.Writer) error) error {
	if !a.json {
		return human(a.out)
	}
	return json.NewEncoder(a.out).Encode(v)
}

// table prints rows in columns, with a heading.
func table(w io.Writer, heading string, rows func(row func(format string, args ...any))) error {
	return tableOr(w, heading, heading, rows)
}

// tableOr is a table, or the line none where it has no rows: a heading over nothing leaves
// people guessing.
func tableOr(w io.Writer, none, heading string, rows func(row func(format string, args ...any))) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, heading)
	count := 0
	rows(func(format string, args ...any) {
		count++
		line := fmt.Sprintf(format, args...) // a library's error may have several
		fmt.Fprintln(t, strings.ReplaceAll(line, "\n", " "))
	})
	if count == 0 {
		_, err := fmt.Fprintln(w, none)
		return err
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// terminal says that a stream is one: only there a line may be drawn over.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("TERM") != "dumb"
}

// fitted cuts the lines that are written to a terminal at its width: a long last column
// wraps into the next rows otherwise. Elsewhere it changes nothing.
func fitted(w io.Writer) io.Writer {
	if !terminal(w) {
		return w
	}
	size, err := unix.IoctlGetWinsize(int(w.(*os.File).Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return w
	}
	return cutter{w, int(size.Col)}
}

// cutter cuts lines at a width. It is given whole lines.
type cutter struct {
	io.Writer
	width int
}

func (c cutter) Write(p []byte) (int, error) {
	var b bytes.Buffer
	for line := range bytes.Lines(p) {
		text := []rune(strings.TrimSuffix(string(line), "\n"))
		if len(text) > c.width {
			text = append(text[:c.width-1], '…')
		}
		b.WriteString(string(text) + "\n")
	}
	if _, err := c.Writer.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ago writes a time as people read it: how long since.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return brief(now.Sub(t)) + " ago"
}

// brief rounds a duration to what a person wants to know.
func brief(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// or is s, or a dash for what is empty.
func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
