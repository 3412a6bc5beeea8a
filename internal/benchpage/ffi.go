package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

const ffiPage = "docs/benchmarks-ffi.md"

// sealTimes is what of `lpseal bench seal --json` is compared.
type sealTimes struct {
	C1      string `json:"c1_sha256"`
	Seconds struct {
		TreeD  float64 `json:"tree_d"`
		SDR    float64 `json:"sdr"`
		TreeRC float64 `json:"tree_rc"`
		C1     float64 `json:"c1"`
	} `json:"seconds"`
}

func (t sealTimes) stages() []float64 {
	return []float64{t.Seconds.SDR, t.Seconds.TreeRC, t.Seconds.C1}
}

// compared are the stages that the two provers make differently; tree-d is one code.
var compared = []string{"sdr", "tree_rc", "c1"}

// compareProvers seals the same sector with both provers, on one core and on all,
// and writes the page. Equal digests show that both did the same work.
func compareProvers(program string, sizes []string, once bool) error {
	var out bytes.Buffer
	fmt.Fprint(&out, "# Benchmarks of the provers\n\nWritten by `make bench-ffi`: the pure-Go prover beside filecoin-ffi, each sealing the same sector of committed capacity "+
		"in the same run. Figures are of one machine, and a busy one makes them worse; ratios outlive it. Below 1, the pure-Go prover is faster.\n\n| | |\n|---|---|\n")
	for _, m := range machine() {
		fmt.Fprintf(&out, "| %s | %s |\n", m[0], m[1])
	}
	for _, size := range sizes {
		for _, one := range []bool{true, false} {
			if err := compareOnce(&out, program, size, one); err != nil {
				return err
			}
		}
	}
	if once {
		return nil
	}
	return os.WriteFile(ffiPage, out.Bytes(), 0o644)
}

func compareOnce(w io.Writer, program, size string, oneCore bool) error {
	cores, threads := "all cores", "0"
	if oneCore {
		cores, threads = "one core", "1"
	}
	line := func(backend string) []string {
		l := []string{program, "bench", "seal", "--sector-size", size, "--threads", threads, "--json", "--backend", backend}
		if oneCore {
			l = append([]string{"taskset", "-c", "0"}, l...)
		}
		return l
	}
	ours, err := sealWith(line("native"))
	if err != nil {
		return err
	}
	theirs, err := sealWith(line("filcrypto"))
	if err != nil {
		return err
	}
	if ours.C1 != theirs.C1 {
		return fmt.Errorf("%s: the provers made different vanilla proofs", size)
	}
	fmt.Fprintf(w, "\n## %s, %s\n\n`%s`, then the same with `filcrypto`\n\n| stage | native, s | filcrypto, s | ratio |\n|---|---:|---:|---:|\n", size, cores, strings.Join(line("native"), " "))
	for i, stage := range compared {
		a, b := ours.stages()[i], theirs.stages()[i]
		fmt.Fprintf(w, "| %s | %.3f | %.3f | %.2f |\n", stage, a, b, a/b)
	}
	return nil
}

func sealWith(line []string) (t sealTimes, err error) {
	fmt.Fprintln(os.Stderr, strings.Join(line, " "))
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &t)
	}
	if err != nil {
		return t, fmt.Errorf("%s: %w", strings.Join(line, " "), err)
	}
	return t, nil
}
