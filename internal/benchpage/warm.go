package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// proofTimes are of one C2 in a process, in seconds.
type proofTimes struct {
	first float64 // to the first constraint: parameters found, circuit begun
	whole float64
}

// compareWarmth writes what a child that stays saves: the first C2 of a process against
// the second.
func (m *meter) compareWarmth(w io.Writer) error {
	line := []string{m.tests, "-test.run", "^$", "-test.bench", "^BenchmarkC2$", "-test.benchtime", "1x", "-test.timeout", "30m"}
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = "ffi/filcrypto"
	cmd.Env = append(os.Environ(), "RUST_LOG=info")
	fmt.Fprintln(os.Stderr, strings.Join(line, " "))
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s%s", strings.Join(line, " "), err, log.String(), out.String())
	}
	proofs, err := parseProofs(log.String())
	if err != nil {
		return err
	}
	if len(proofs) != 2 {
		return fmt.Errorf("BenchmarkC2 logged %d proofs, not 2 (make params-ffi makes its parameters)", len(proofs))
	}
	results, err := parse(out.String())
	if err != nil {
		return err
	}
	cold, warm := proofs[0], proofs[1]
	fmt.Fprint(w, "\n### C2 in a new child and in a warm one\n\nA proof of a 2 KiB sector on all cores, with 1.1 GB of parameters in the system's page cache: the first of a process (cold), and the second. "+
		"The library indexes the parameters once for each process, before the circuit's first constraint; that grows with their file, 47 GiB at 32 GiB.\n\n"+
		"`RUST_LOG=info go test -tags filcrypto,nofvm -run '^$' -bench '^BenchmarkC2$' -benchtime 1x ./ffi/filcrypto`\n\n"+
		"| | cold | warm | saved |\n|---|---:|---:|---:|\n")
	for _, r := range []struct {
		what       string
		cold, warm float64
	}{{"to the first constraint", cold.first, warm.first}, {"to the proof", cold.whole, warm.whole}} {
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", r.what, duration(r.cold), duration(r.warm), duration(r.cold-r.warm))
	}
	if idle, ok := results[0].metrics[idleUnit]; ok {
		fmt.Fprintf(w, "\nBetween proofs the process holds %.0f MB.\n", idle)
	}
	return nil
}

// idleUnit is BenchmarkC2's figure for the memory of a process between proofs.
const idleUnit = "idle-MB"

// logged is a line of the library's log that tells of a proof: when it begins, when its
// circuit does, and when it ends.
var logged = regexp.MustCompile(`(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+) INFO .*(seal_commit_phase2:start|Bellperson .* is being used|seal_commit_phase2:finish)`)

// parseProofs reads the times of all proofs in the library's log.
func parseProofs(log string) (out []proofTimes, err error) {
	var begun time.Time
	for _, m := range logged.FindAllStringSubmatch(log, -1) {
		at, err := time.Parse("2006-01-02T15:04:05.999", m[1])
		if err != nil {
			return nil, err
		}
		switch last := len(out) - 1; {
		case strings.HasSuffix(m[2], "start"):
			begun = at
			out = append(out, proofTimes{})
		case last < 0:
			return nil, errors.New("the log begins within a proof")
		case strings.HasSuffix(m[2], "finish"):
			out[last].whole = at.Sub(begun).Seconds()
		default:
			out[last].first = at.Sub(begun).Seconds()
		}
	}
	return out, nil
}
