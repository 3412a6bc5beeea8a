package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const page = "docs/benchmarks.md"

// The page's parts, in order. Each begins with a comment that names the target which
// writes it, and no other part.
const (
	pipelinePart = "make bench"
	proversPart  = "make bench-ffi"
)

var parts = []string{pipelinePart, proversPart}

func mark(part string) string { return "<!-- written by " + part + " -->\n" }

// writePart puts a part's text in place of what the page had of it.
func writePart(part, text string) error {
	old, err := os.ReadFile(page)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", page, err)
	}
	return os.WriteFile(page, []byte(withPart(string(old), part, text)), 0o644)
}

// withPart gives the page with one part replaced. What stands before the first mark is
// nobody's and goes.
func withPart(page, part, text string) string {
	have := map[string]string{}
	for _, p := range parts {
		_, rest, found := strings.Cut(page, mark(p))
		if !found {
			continue
		}
		for _, other := range parts {
			rest, _, _ = strings.Cut(rest, mark(other))
		}
		have[p] = rest
	}
	have[part] = text
	var out strings.Builder
	for _, p := range parts {
		if have[p] != "" {
			out.WriteString(mark(p) + strings.TrimRight(have[p], "\n") + "\n\n")
		}
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}
