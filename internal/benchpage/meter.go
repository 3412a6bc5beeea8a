package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/lpseal/lpseal/ffi/native/sdr"
)

// benchCore is the core of what is measured on one.
const benchCore = "0"

// meter runs what is compared. Both provers read the same parent caches and write to
// memory where the system has a folder for that: disks are not compared.
type meter struct {
	program string
	tests   string // ffi/filcrypto's benchmarks
	dir     string
	where   string // the kind of folder, for the page
	once    bool
}

func newMeter(program string, once bool) (*meter, error) {
	m := &meter{program: program, once: once, where: "a temporary folder"}
	const memory = "/dev/shm"
	parent := ""
	if info, err := os.Stat(memory); err == nil && info.IsDir() {
		parent, m.where = memory, "memory (`"+memory+"`)"
	}
	dir, err := os.MkdirTemp(parent, "lpseal-bench-")
	if err != nil {
		return nil, err
	}
	m.dir, m.tests = dir, filepath.Join(dir, "filcrypto.test")
	build := exec.Command("go", "test", "-c", "-tags", "filcrypto,nofvm", "-o", m.tests, "./ffi/filcrypto")
	build.Env = append(os.Environ(), "GOWORK=") // the library is attached by go.work
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		m.close()
		return nil, fmt.Errorf("build ffi/filcrypto's benchmarks: %w", err)
	}
	return m, nil
}

func (m *meter) close() { _ = os.RemoveAll(m.dir) }

// makeParents writes the graph's parent cache, so that no time has it in.
func (m *meter) makeParents(size string) error {
	proof, ok := map[string]byte{"2KiB": 5, "8MiB": 6, "512MiB": 7}[size]
	if !ok {
		return fmt.Errorf("sizes are 2KiB, 8MiB and 512MiB")
	}
	bytes, err := humanize.ParseBytes(size)
	if err != nil {
		return err
	}
	folder := m.parents()
	file, err := sdr.NewGraph([32]byte{proof}, int(bytes)/sdr.LabelSize, false).OpenCache(context.Background(), folder, runtime.NumCPU())
	if err != nil {
		return err
	}
	return file.Close()
}

func (m *meter) parents() string { return filepath.Join(m.dir, "parents") }

// sealTimes is what of `lpseal bench seal --json` is compared.
type sealTimes struct {
	C1      string `json:"c1_sha256"`
	Seconds struct {
		SDR    float64 `json:"sdr"`
		TreeRC float64 `json:"tree_rc"`
		C1     float64 `json:"c1"`
	} `json:"seconds"`
}

func (m *meter) sealLine(size, backend string, threads int) []string {
	return []string{m.program, "bench", "seal", "--sector-size", size, "--threads", fmt.Sprint(threads), "--json", "--backend", backend}
}

// seals seals the same sector with both. Equal digests show that both did the same work.
func (m *meter) seals(size string, oneCore bool) (ours, theirs sealTimes, err error) {
	threads := 0
	if oneCore {
		threads = 1
	}
	if err = m.json(&ours, m.sealLine(size, "native", threads), oneCore); err != nil {
		return ours, theirs, err
	}
	if err = m.json(&theirs, m.sealLine(size, "filcrypto", threads), oneCore); err != nil {
		return ours, theirs, err
	}
	if ours.C1 != theirs.C1 {
		err = fmt.Errorf("the provers made different vanilla proofs")
	}
	return ours, theirs, err
}

func (m *meter) lockstepLine(size string) []string {
	return []string{m.program, "bench", "labels", "--sector-size", size, "--sectors", "2", "--json"}
}

// lockstep is the time of one sector's layers when two are labelled together, on one core.
func (m *meter) lockstep(size string) (seconds float64, err error) {
	var t struct {
		NS float64 `json:"ns_per_label"`
	}
	bytes, err := humanize.ParseBytes(size)
	if err != nil {
		return 0, err
	}
	const layers = 2 // of these sizes
	err = m.json(&t, m.lockstepLine(size), true)
	return t.NS * layers * float64(bytes) / sdr.LabelSize / 1e9, err
}

// treeD compares a piece's way to tree-d.
func (m *meter) treeD(size string, oneCore bool) (comparison, error) {
	times := map[string]string{"512MiB": "2x"}[size]
	if times == "" {
		times = "10x"
	}
	got, err := m.bench("BenchmarkTreeD/^"+size, times, oneCore)
	name := "TreeD/" + size
	return comparison{"tree_d: fr32, CommP and tree of a piece", got[name+"/lpseal"][whole] / 1e9, got[name+"/peer=filecoin-ffi"][whole] / 1e9, "1.2"}, err
}

// bench runs one of ffi/filcrypto's benchmarks, and gives its figures by name and unit.
func (m *meter) bench(name, times string, oneCore bool) (map[string]map[string]float64, error) {
	if m.once {
		times = "1x"
	}
	out, err := m.run([]string{m.tests, "-test.run", "^$", "-test.bench", "^" + strings.Replace(name, "/", "$/", 1) + "$", "-test.benchtime", times}, oneCore)
	if err != nil {
		return nil, err
	}
	results, err := parse(string(out))
	if err != nil {
		return nil, err
	}
	by := map[string]map[string]float64{}
	for _, r := range results {
		by[r.name] = r.metrics
	}
	return by, nil
}

// verifyBatch is the time of one proof when ten are verified together.
func (m *meter) verifyBatch() (seconds float64, err error) {
	times := "50x"
	if m.once {
		times = "1x"
	}
	out, err := m.run([]string{"go", "test", "-run", "^$", "-bench", "^BenchmarkVerifyBatch$", "-benchtime", times, "-cpu", "1", "./ffi/native"}, false)
	if err != nil {
		return 0, err
	}
	results, err := parse(string(out))
	if err != nil {
		return 0, err
	}
	return results[len(results)-1].metrics["ns/proof"] / 1e9, nil
}

// json runs a program that prints an object.
func (m *meter) json(into any, line []string, oneCore bool) error {
	out, err := m.run(line, oneCore)
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(line, " "), err)
	}
	return nil
}

// run runs a program, on one core or with several for the library's labels too.
func (m *meter) run(line []string, oneCore bool) ([]byte, error) {
	env := append(os.Environ(), "TMPDIR="+m.dir, "FIL_PROOFS_PARENT_CACHE="+m.parents())
	if oneCore {
		line = append([]string{"taskset", "-c", benchCore}, line...)
	} else {
		env = append(env, "FIL_PROOFS_USE_MULTICORE_SDR=1")
	}
	fmt.Fprintln(os.Stderr, strings.Join(line, " "))
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env, cmd.Stderr = env, os.Stderr
	return cmd.Output()
}
