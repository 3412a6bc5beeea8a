package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lpseal/lpseal/jobs"
)

// Aggregator joins proofs in a child process, one aggregate at a time (design rule 7): the
// process that sends messages must not die, hang or run out of memory with the library
// that does the work. Other than a heavy stage's child, this one ends with the process
// that asked: an aggregate takes seconds to minutes, and its batch asks again.
type Aggregator struct {
	child ChildConfig
	limit time.Duration
	turn  chan struct{} // held by the aggregate in the making, for it takes all cores
}

var _ jobs.Aggregator = (*Aggregator)(nil)

// aggregateLimit bounds one aggregate. SnarkPack's authors joined 8192 proofs in 9 seconds
// on 32 cores (https://eprint.iacr.org/2021/529); a batch has time left to go plain.
const aggregateLimit = 10 * time.Minute

// NewAggregator makes one of child, whose program must call [AggregateMain]. Of the
// configuration, Path, Args and Env count.
func NewAggregator(child ChildConfig) (*Aggregator, error) {
	if err := child.complete(); err != nil {
		return nil, err
	}
	return &Aggregator{child: child, limit: aggregateLimit, turn: make(chan struct{}, 1)}, nil
}

// aggregateRequest and aggregateReport are what the two processes say to each other, over
// the child's standard input and output.
type aggregateRequest struct {
	Seals  []jobs.Seal `json:"seals"`
	Snarks [][]byte    `json:"snarks"`
}

type aggregateReport struct {
	Proof []byte      `json:"proof,omitempty"`
	Fault *jobs.Fault `json:"fault,omitempty"`
}

// Aggregate implements [jobs.Aggregator].
func (a *Aggregator) Aggregate(ctx context.Context, seals []jobs.Seal, snarks [][]byte) ([]byte, error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	request, err := json.Marshal(aggregateRequest{seals, snarks})
	if err != nil {
		return nil, fmt.Errorf("aggregate: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, a.limit)
	defer cancel()
	report, err := a.ask(limited, request)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, jobs.Failf(jobs.Transient, "joining %d proofs took longer than %s", len(seals), a.limit)
	case err != nil:
		return nil, fmt.Errorf("aggregate %d sectors: %w", len(seals), err)
	case report.Fault != nil:
		return nil, report.Fault
	}
	return report.Proof, nil
}

// ask runs the child. Its standard input stays open until it has ended: so it knows that
// somebody still waits for it.
func (a *Aggregator) ask(ctx context.Context, request []byte) (*aggregateReport, error) {
	cmd := exec.CommandContext(ctx, a.child.Path, a.child.Args...)
	cmd.Env = slices.Concat(os.Environ(), a.child.Env)
	var out bytes.Buffer
	var said tail
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is its parent's to heed
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	before := oomKills()
	if err := cmd.Start(); err != nil {
		return nil, jobs.Failf(jobs.Busy, "start a child process: %w", err)
	}
	_, _ = in.Write(request) // a child that does not read it has died, and Wait tells of what
	if err := cmd.Wait(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return nil, err
		}
		how := endedAs(exit.ProcessState, before)
		return nil, diagnose(&how, said.words(), jobs.StageRecord{})
	}
	var report aggregateReport
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		return nil, jobs.Failf(jobs.Bug, "the child process' report: %w%s", err, lastOutput(said.words()))
	}
	return &report, nil
}

// AggregateMain is the child's program: it reads one request, has build's Aggregator make
// the proof and writes the report. It returns the exit code.
func AggregateMain(ctx context.Context, in io.Reader, out io.Writer, build func(context.Context) (jobs.Aggregator, error)) int {
	d := json.NewDecoder(in)
	var request aggregateRequest
	if err := d.Decode(&request); err != nil {
		fmt.Fprintf(os.Stderr, "lpseal: aggregate: read the request: %v\n", err)
		return exitNoReport
	}
	go func() {
		// Nothing more comes; the end comes when whoever asked has gone. No call into a
		// library can be stopped otherwise.
		_, _ = io.Copy(io.Discard, in)
		os.Exit(exitCalled)
	}()
	var report aggregateReport
	err := func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = panicked(p)
			}
		}()
		agg, err := build(ctx)
		if err == nil {
			report.Proof, err = agg.Aggregate(ctx, request.Seals, request.Snarks)
		}
		return err
	}()
	if err != nil {
		fault, ok := classify(ctx, err)
		if !ok {
			return exitCalled
		}
		report.Fault = fault
	}
	if err := json.NewEncoder(out).Encode(report); err != nil {
		return exitNoReport
	}
	return exitOK
}

// tail keeps the end of what is written to it.
type tail struct{ kept []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	t.kept = t.kept[max(0, len(t.kept)-mostWords):]
	return len(b), nil
}

func (t *tail) words() string { return lastWords(strings.ToValidUTF8(string(t.kept), "?")) }
