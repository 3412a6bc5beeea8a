package configs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a configuration.
type Problem struct {
	Key    string `json:"key"`              // dotted, such as worker.lanes[1].class
	Value  string `json:"value,omitempty"`  // as written; empty for a missing or secret one
	Origin string `json:"origin,omitempty"` // where it was written: a flag, a variable, FILE:LINE; empty for a default
	What   string `json:"what"`
	Remedy string `json:"remedy,omitempty"`
}

func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Key)
	if p.Value != "" {
		fmt.Fprintf(&b, " = %s", p.Value)
	}
	if p.Origin != "" {
		fmt.Fprintf(&b, " (%s)", p.Origin)
	}
	fmt.Fprintf(&b, ": %s", strings.TrimPrefix(p.What, p.Value+" is ")) // the value was shown already
	if p.Remedy != "" {
		fmt.Fprintf(&b, "; %s", p.Remedy)
	}
	return b.String()
}

// Problems takes the single problems out of an error of this package.
func Problems(err error) []*Problem {
	if p := (*Problem)(nil); errors.As(err, &p) {
		var joined interface{ Unwrap() []error }
		if !errors.As(err, &joined) {
			return []*Problem{p}
		}
		var out []*Problem
		for _, e := range joined.Unwrap() {
			out = append(out, Problems(e)...)
		}
		return out
	}
	return nil
}

// Nearest gives the known name that a person may have meant, or "".
func Nearest(name string, known []string) string {
	best, least := "", 3 // two slips of the finger
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(strings.ToLower(name), k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost = 1 + min(diag, row[j], row[j+1])
			}
			diag, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
