// Command benchpage runs the benchmarks and writes docs/benchmarks.md from them.
//
//	go run ./internal/benchpage          run the pipeline's, write their part of the page
//	go run ./internal/benchpage --once   run each once, to see that it still does
//	go run ./internal/benchpage --ffi P  compare the provers in program P, write theirs
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// suite is one benchmark function, with what it says and what is wanted of it.
type suite struct {
	pkg, name string
	time      string // go test's -benchtime
	title     string
	says      string
	untimed   bool // an iteration's time means nothing: figures of its own do
}

var suites = []suite{
	{"./scheduler", "HandOff", "20x", "Hand-off from one stage to the next",
		"From one stage's completion to the next one's start, through a redis-server, a scheduler and asynq. Wanted: p99 of 300 ms at most.", true},
	{"./scheduler", "Poll", "10x", "A whole poll",
		"Reading records, chain and task facts, deciding and writing, for 1,000 due sectors among more and more that are not due; `acting` ones " +
			"are each given their next stage. Wanted at 100,000 sectors: 500 ms at most, and flat in what is not due. `rpc/poll` is calls to the Filecoin node.", false},
	{"./jobs/queue", "WakeUp", "20x", "Waking an idle lane",
		"From enqueueing a task to its handler's start. The peer is an asynq server with its defaults.", false},
	{"./chain", "Batching", "1x", "Messages of 1,000 sectors",
		"Pre-commits and commits of 1,000 sectors, one by one and in batches, on the embedded node: what the messages use and pay by its gas model (a table by " +
			"method and sector, calibrated on a recorded network; see chain/devnet/gas.go) at a base fee held at 0.1 nanoFIL. docs/how-to/lotus.md sets some beside a Lotus node's.", true},
	{"./chain", "ProofToPush", "100x", "From a proof to its message",
		"From a proof that is ready to its message in the mempool at batch size 1: asking the chain, checking and pricing, journaling with fsync, signing, pushing.", false},
	{"./chain", "Watching", "5x", "Watching 10,000 messages",
		"An epoch's look at 10,000 messages of ten senders that wait in the mempool. `rpc/epoch` grows with senders, not with messages that have nothing new; a test holds that.", false},
	{"./internal/e2e", "Idle", "1x", "Redis while idle",
		"What 20 worker processes of four lanes and one scheduler ask of Redis while nothing is to be done (commands inside scripts count, too), and the share of " +
			"one processor that it takes.", true},
	{"./ffi/native", "Seal8MiB", "3x", "Sealing an 8 MiB sector whole",
		"tree_d, sdr, tree_rc with its three self-checks' proof, and c1, by the pure-Go prover on two threads.", false},
	{"./ffi/native", "CommP8MiB", "2s", "CommP of 8 MiB",
		"The peer is go-commp-utils, which Filecoin's tools use; ours writes tree-d as well.", false},
}

func main() {
	once := flag.Bool("once", false, "run each benchmark once and write nothing")
	program := flag.String("ffi", "", "compare the provers of this program, built with filecoin-ffi, and write their part of "+page)
	sizes := flag.String("sizes", "8MiB,512MiB", "with -ffi: sector sizes")
	flag.Parse()
	if *program != "" {
		if err := compareProvers(*program, strings.Split(*sizes, ","), *once); err != nil {
			fmt.Fprintln(os.Stderr, "benchpage:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*once); err != nil {
		fmt.Fprintln(os.Stderr, "benchpage:", err)
		os.Exit(1)
	}
}

func run(once bool) error {
	var out bytes.Buffer
	head(&out)
	for _, s := range suites {
		if once {
			s.time = "1x"
		}
		text, err := s.run()
		if err != nil {
			return fmt.Errorf("%s in %s: %w", s.name, s.pkg, err)
		}
		results, err := parse(text)
		if err != nil {
			return fmt.Errorf("%s in %s: %w", s.name, s.pkg, err)
		}
		s.write(&out, results)
	}
	if once {
		return nil
	}
	return writePart(pipelinePart, out.String())
}

func (s suite) args() []string {
	return []string{"test", "-run", "^$", "-bench", "^Benchmark" + s.name + "$", "-benchtime", s.time, "-count", "1", "-timeout", "20m", s.pkg}
}

// run runs the benchmark. What it prints is shown as it comes, too.
func (s suite) run() (string, error) {
	cmd := exec.Command("go", s.args()...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, &out), os.Stderr
	err := cmd.Run()
	return out.String(), err
}

// head says where the figures come from.
func head(w io.Writer) {
	fmt.Fprint(w, "# Benchmarks\n\nWritten by `make bench`; figures are of one machine and one run, and a busy machine makes them worse. Ratios outlive machines: "+
		"a peer is measured in the same run.\n\n| | |\n|---|---|\n")
	for _, m := range machine() {
		fmt.Fprintf(w, "| %s | %s |\n", m[0], m[1])
	}
}

// write writes the suite's part of the page.
func (s suite) write(w io.Writer, results []result) {
	fmt.Fprintf(w, "\n## %s\n\n%s\n\n`CGO_ENABLED=0 go %s`\n\n", s.title, s.says, strings.Join(s.args(), " "))
	columns := units(results)
	if s.untimed {
		columns = slices.DeleteFunc(columns, func(u string) bool { return u == whole })
	}
	compared := peers(results)
	row := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	titles := append([]string{""}, columns...)
	if compared != nil {
		titles = append(titles, "time, peer's = 1")
	}
	row(titles)
	fmt.Fprintln(w, "|---"+strings.Repeat("|---:", len(titles)-1)+"|")
	for _, r := range results {
		cells := []string{r.label()}
		for _, u := range columns {
			cells = append(cells, r.value(u))
		}
		if compared != nil {
			cells = append(cells, compared[r.name])
		}
		row(cells)
	}
}
