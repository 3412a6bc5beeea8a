package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"
)

// comparison is one line of a table: what both provers took for the same work.
type comparison struct {
	what         string
	ours, theirs float64 // seconds
	wanted       string  // of theirs/ours, by the project's own targets
}

// compareProvers does the same work with both provers, on one core and on all, and
// writes their part of the page.
func compareProvers(program string, sizes []string, once bool) error {
	m, err := newMeter(program, once)
	if err != nil {
		return err
	}
	defer m.close()
	var out bytes.Buffer
	fmt.Fprintf(&out, "## The provers\n\nWritten by `make bench-ffi`: the pure-Go prover beside filecoin-ffi, built for this CPU, each sealing the same sector of committed capacity "+
		"in the same run, with the graph's parent cache there. Files lie in %s. Figures are of one machine, and a busy one makes them worse; ratios outlive it. "+
		"Above 1, the pure-Go prover is that many times as fast.\n\n| | |\n|---|---|\n", m.where)
	for _, row := range machine() {
		fmt.Fprintf(&out, "| %s | %s |\n", row[0], row[1])
	}
	for _, size := range sizes {
		if err := m.compareSize(&out, size); err != nil {
			return fmt.Errorf("%s: %w", size, err)
		}
	}
	if err := m.compareVerifiers(&out); err != nil {
		return err
	}
	if err := m.compareWarmth(&out); err != nil {
		return err
	}
	if once {
		return nil
	}
	return writePart(proversPart, out.String())
}

// compareSize writes the two tables of a sector size.
func (m *meter) compareSize(w io.Writer, size string) error {
	if err := m.makeParents(size); err != nil {
		return err
	}
	ours, theirs, err := m.seals(size, true)
	if err != nil {
		return err
	}
	tree, err := m.treeD(size, true)
	if err != nil {
		return err
	}
	pair, err := m.lockstep(size)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\n### %s, one core\n\n`taskset -c %s %s`, then the same with `filcrypto`\n\n", size, benchCore, strings.Join(m.sealLine(size, "native", 1), " "))
	table(w, append([]comparison{tree, {"sdr", ours.Seconds.SDR, theirs.Seconds.SDR, "1.0"}, {"sdr, each of two sectors in lockstep", pair, theirs.Seconds.SDR, ""}}, later(ours, theirs)...))
	fmt.Fprintf(w, "\nTwo sectors in lockstep (`%s`): %.2f times as fast for each as one alone; 1.8 is wanted. What bounds it: a label is 20 blocks, a block 32 SHA256RNDS2, "+
		"and CPUs begin one in two cycles but give its result after four; so two sectors take 2,560 cycles for a label of each at the least, which one sector alone takes too "+
		"(2,432 with the next label's first block hashed meanwhile). A third would gain nothing.\n", strings.Join(m.lockstepLine(size), " "), ours.Seconds.SDR/pair)

	ours, all, err := m.seals(size, false)
	if err != nil {
		return err
	}
	if tree, err = m.treeD(size, false); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n### %s, all cores\n\n`%s`, then the same with `filcrypto`, whose sdr is the faster of its one-core and its multicore mode\n\n", size, strings.Join(m.sealLine(size, "native", 0), " "))
	sdr := comparison{"sdr", ours.Seconds.SDR, math.Min(theirs.Seconds.SDR, all.Seconds.SDR), "1.0"}
	table(w, append([]comparison{tree, sdr}, later(ours, all)...))
	return nil
}

// later are the stages after the layers.
func later(ours, theirs sealTimes) []comparison {
	return []comparison{
		{"tree_rc", ours.Seconds.TreeRC, theirs.Seconds.TreeRC, "2.5 with AVX-512 IFMA, 1.0 without"},
		{"c1", ours.Seconds.C1, theirs.Seconds.C1, ""},
	}
}

// compareVerifiers writes the table of Groth16 verification.
func (m *meter) compareVerifiers(w io.Writer) error {
	one, err := m.bench("BenchmarkVerify", "200x", false)
	if err != nil {
		return err
	}
	batch, err := m.verifyBatch()
	if err != nil {
		return err
	}
	ours, theirs := one["Verify/lpseal"][whole]/1e9, one["Verify/peer=filecoin-ffi"][whole]/1e9
	fmt.Fprint(w, "\n### Groth16 verification\n\nA proof of a 2 KiB sector on one thread, its public inputs derived from the seal; ten proofs are checked as one combination.\n\n")
	table(w, []comparison{{"one proof", ours, theirs, "0.5"}, {"each of ten proofs", batch, theirs, "1.0"}})
	return nil
}

func table(w io.Writer, rows []comparison) {
	fmt.Fprint(w, "| | native | filcrypto | times as fast | wanted |\n|---|---:|---:|---:|---|\n")
	for _, r := range rows {
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %s |\n", r.what, duration(r.ours), duration(r.theirs), r.theirs/r.ours, r.wanted)
	}
}

func duration(seconds float64) string {
	if seconds < 0.1 {
		return fmt.Sprintf("%.2f ms", seconds*1e3)
	}
	return fmt.Sprintf("%.2f s", seconds)
}
