package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// result is one line that go test printed of a benchmark.
type result struct {
	name    string // without Benchmark and the number of processors
	metrics map[string]float64
	order   []string // units, as printed
}

var (
	line  = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)
	peer  = "/peer="
	whole = "ns/op"
)

// parse reads the output of go test -bench.
func parse(text string) ([]result, error) {
	var out []result
	for l := range strings.Lines(text) {
		m := line.FindStringSubmatch(strings.TrimSpace(l))
		if m == nil {
			continue
		}
		r := result{name: m[1], metrics: map[string]float64{}}
		fields := strings.Fields(m[2])
		for i := 0; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", l, err)
			}
			r.metrics[fields[i+1]] = v
			r.order = append(r.order, fields[i+1])
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, errors.New("go test printed no results")
	}
	return out, nil
}

// label is the name without the benchmark's own.
func (r result) label() string {
	_, rest, _ := strings.Cut(r.name, "/")
	return strings.ReplaceAll(strings.ReplaceAll(rest, "peer=", ""), "_", " ")
}

// units are the columns of all results.
func units(results []result) []string {
	var out []string
	for _, r := range results {
		for _, u := range r.order {
			if !slices.Contains(out, u) {
				out = append(out, u)
			}
		}
	}
	return out
}

// value prints a figure with its unit.
func (r result) value(unit string) string {
	v, ok := r.metrics[unit]
	switch {
	case !ok:
		return ""
	case unit == whole && v >= 1e6:
		return fmt.Sprintf("%.1f ms", v/1e6)
	case unit == whole:
		return fmt.Sprintf("%.1f µs", v/1e3)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// peers gives each result's time relative to the peer's, by name; nil if there is
// no peer.
func peers(results []result) map[string]string {
	var base float64
	for _, r := range results {
		if strings.Contains(r.name, peer) {
			base = r.metrics[whole]
		}
	}
	if base == 0 {
		return nil
	}
	out := map[string]string{}
	for _, r := range results {
		out[r.name] = fmt.Sprintf("%.3g", r.metrics[whole]/base)
	}
	return out
}
