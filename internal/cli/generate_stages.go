package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// writeStages prints the stage table and its picture.
func writeStages(w io.Writer) error {
	heading(w, "Stages", `The pipeline is one table in the program, `+"`jobs.Stages`"+`; queues, timeouts, pages, metrics and the fault
tests are made from it. `+"`lpseal stages`"+` prints it.`)
	fmt.Fprint(w, "\n## The pipeline\n\nAn arrow says what must be done first. A dotted one is chain randomness that the stage is bound to; `landed` means that\nthe chain shows the message's effect at confidence. Sectors with synthetic proofs take another order where the table says so.\n\n")
	writePipeline(w)
	var stages, recovery [][]string
	for _, r := range jobs.Stages {
		if r.Recovery {
			recovery = append(recovery, []string{
				code(r.Stage), r.Title, r.Cause, r.EndState, list(r.Classes), place(r.Place), r.Timeout.String(), code(r.Stage.TaskType()),
			})
			continue
		}
		stages = append(stages, []string{
			code(r.Stage), r.Title, or(after(r.After, r.AfterSynthetic), "–"), or(string(r.Draw), "–"), list(r.Classes), place(r.Place),
			yes(r.Heavy), r.Timeout.String(), strconv.Itoa(r.MaxRetry), code(r.Stage.TaskType()),
		})
	}
	fmt.Fprint(w, "\n## Stages\n\nRetries are asynq's and for infrastructure only: a crash, a lost lease, a shutdown. A sealing error never uses them; the\npoller chooses its remedy.\n")
	rows(w, []string{"stage", "what it does", "after", "bound to", "lane class", "where", "child process", "timeout", "retries", "asynq type"}, stages)
	fmt.Fprint(w, "\n## Recovery jobs\n\nNone of them starts by itself: a fault or an order asks for it.\n")
	rows(w, []string{"stage", "what it does", "cause", "when it is done", "lane class", "where", "timeout", "asynq type"}, recovery)
	writeNeeds(w)
	return nil
}

// writeNeeds prints the table of resources for the sizes that people seal.
func writeNeeds(w io.Writer) {
	const threads = 16
	fmt.Fprintf(w, "\n## Needs\n\n"+`What one run of a stage takes of a host at most, by prover; formulas and sources are in `+"`jobs/need.go`"+`, here with %d threads.
A stage starts only if that much is left beside what runs; else it waits, and spends no attempt. A worker does not start
with a lane that could never run one of its stages. `+"`host.memory` and `host.cores`"+` bound what stages may take.
`, threads)
	sizes := []abi.RegisteredSealProof{sealProofs["2kib"], sealProofs["8mib"], sealProofs["512mib"], sealProofs["32gib"], sealProofs["64gib"]}
	head := []string{"stage", "prover"}
	for _, p := range sizes {
		size, _ := p.SectorSize()
		head = append(head, size.ShortString())
	}
	var body [][]string
	for _, stage := range proving {
		for _, prover := range []string{jobs.NativeProver, "filcrypto"} {
			if stage == jobs.TreeD && prover != jobs.NativeProver {
				continue // it makes none
			}
			line := []string{code(stage), prover}
			for _, p := range sizes {
				line = append(line, needText(jobs.NeedOf(stage, p, prover, threads, true)))
			}
			body = append(body, line)
		}
	}
	rows(w, head, body)
	fmt.Fprint(w, "\nOn the home path a sector takes `jobs.SealingSpace`, 15.2 times its size, reserved before it is placed.\n")
}

// writePipeline draws the table as a Mermaid flow chart.
func writePipeline(w io.Writer) {
	fmt.Fprintln(w, "```mermaid\nflowchart LR")
	first := map[jobs.Stage]bool{}
	for _, r := range jobs.Stages {
		if r.Recovery {
			continue
		}
		first[r.Stage] = true
		fmt.Fprintf(w, "  %s[\"%s<br/><small>%s</small>\"]\n", r.Stage, r.Stage, strings.ReplaceAll(list(r.Classes), ", ", " or "))
		if r.Draw != jobs.DrawNothing {
			fmt.Fprintf(w, "  %s([%s]) -.-> %s\n", r.Draw, r.Draw, r.Stage)
		}
		for _, before := range r.After {
			delete(first, before)
			label := ""
			if jobs.RowOf(before).Place == jobs.AtChain {
				label = "|landed|"
			}
			fmt.Fprintf(w, "  %s -->%s %s\n", before, label, r.Stage)
		}
	}
	for _, r := range jobs.Stages {
		if first[r.Stage] { // nothing comes after it
			fmt.Fprintf(w, "  %s --> %s([%s]) -.->|first WindowPoSt| %s([%s])\n", r.Stage, jobs.Committed, jobs.Committed, jobs.Proven, jobs.Proven)
		}
	}
	fmt.Fprintln(w, "```")
}

func place(p jobs.Place) string {
	switch p {
	case jobs.AtHome:
		return "the sector's home host"
	case jobs.AtChain:
		return "a scheduler"
	}
	return "any host"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "–"
}

// code is text as it is typed.
func code[T ~string](s T) string { return "`" + string(s) + "`" }
