package worker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lpseal/lpseal/jobs"
)

// outcome is how a stage ended: with a result or a fault.
type outcome struct {
	result *jobs.Result
	fault  *jobs.Fault
	// alien: the fault says nothing about this machine, such as a lock that another
	// stage of the sector holds.
	alien bool
	// process names the processes whose death is the fault: one death is one fault
	// to the lane, however many works it cost.
	process string
}

func failed(f *jobs.Fault) outcome { return outcome{fault: f} }

// classify is [jobs.Classify] that knows the operating system's errors as well.
func classify(ctx context.Context, err error) (*jobs.Fault, bool) {
	var fault *jobs.Fault
	if !errors.As(err, &fault) {
		// A file that a stage misses is its own to tell: whose it is, nobody knows here.
		if f := jobs.SystemFault(err); f != nil && !f.Missing {
			return f, true
		}
	}
	return jobs.Classify(ctx, err)
}

// crashed starts the text of a fault for a proof process that died of a signal.
const crashed = "the proof process crashed"

// crashesTolerated is how many such faults in a row are put down to a flipped bit
// or a GPU that fell off the bus; the next one is a bug in the proof code, which no
// retry mends, and holds the sector with its last words.
const crashesTolerated = 2

// diagnose says what killed a proof process that left no result. words are its last
// ones, before the stage's record, which remembers the faults in a row.
func diagnose(st *status, words string, before jobs.StageRecord) *jobs.Fault {
	fail := func(c jobs.FaultClass, format string, args ...any) *jobs.Fault {
		f := jobs.Failf(c, format, args...)
		f.Text += lastOutput(words)
		return f
	}
	if st == nil || !st.Ended {
		return fail(jobs.Transient, "the child process was killed together with its shim, or the machine restarted")
	}
	signal := st.Signal
	if signal == "" {
		signal = runtimeSignal(words)
	}
	lacked, remedy := jobs.ShortageIn(words)
	switch {
	case st.OOMKill:
		return fail(jobs.Busy, "the kernel killed the proof process for memory: give the lane less width or the machine more memory")
	case lacked != "":
		return fail(jobs.Busy, "the proof process died of a shortage: %s: %s", lacked, remedy)
	case signal == "SIGKILL", signal == "SIGTERM", signal == "SIGINT", signal == "SIGHUP", st.Exit == exitCalled:
		return fail(jobs.Transient, "the proof process was stopped from outside (%s)", ending(st))
	case signal == "SIGXCPU", signal == "SIGXFSZ":
		return fail(jobs.Busy, "the proof process met a limit of this host (%s): raise ulimit", signal)
	case signal != "":
		class := jobs.Transient
		if before.Faults >= crashesTolerated && before.Fault != nil && strings.HasPrefix(before.Fault.Text, crashed) {
			class = jobs.Bug
		}
		return fail(class, crashed+" (%s)", signal)
	}
	return fail(jobs.Bug, "the proof process ended without a result (%s)", ending(st))
}

func lastOutput(words string) string {
	if words == "" {
		return ""
	}
	return "; last output:\n" + words
}

// obituary starts the line in which a Go or Rust program says what it dies of.
var obituary = regexp.MustCompile(`^(panic: |fatal error: |thread '.*' .*panicked|SIG[A-Z]+: |memory allocation of )`)

// lastWords picks the lines about a program's end: those around its obituary, for
// long dumps may follow it, or simply the last ones.
func lastWords(output string) string {
	const before, all = 4, 12
	lines := strings.Split(strings.TrimSpace(output), "\n")
	from := max(0, len(lines)-all)
	if at := slices.IndexFunc(lines, obituary.MatchString); at >= 0 {
		from = min(from, max(0, at-before))
	}
	return strings.Join(lines[from:min(len(lines), from+all)], "\n")
}

var fatalSignal = regexp.MustCompile(`(?m)^(?:SIG[A-Z]+|\[signal SIG[A-Z]+): `)

// runtimeSignal is the signal that a Go program died of, as its runtime tells: it
// catches those of C and Rust code, prints a dump and exits with code 2. A signal
// within a panic is a Go program's own nil pointer, not a crash.
func runtimeSignal(words string) string {
	if strings.Contains(words, "panic: ") {
		return ""
	}
	m := fatalSignal.FindString(words)
	return strings.TrimSuffix(strings.TrimPrefix(m, "[signal "), ": ")
}

func ending(st *status) string {
	if st.Signal != "" {
		return st.Signal
	}
	return fmt.Sprintf("exit code %d", st.Exit)
}

// accuses says that a fault speaks against the machine rather than the sector: two
// running take the lane out (design rule 10). A bad piece or an empty wallet would
// fail on any machine.
func (o outcome) accuses() bool {
	if o.fault == nil || o.alien {
		return false
	}
	switch o.fault.Class {
	case jobs.Busy, jobs.Bug:
		return true
	}
	return strings.HasPrefix(o.fault.Text, crashed)
}

func signalName(s syscall.Signal) string { return unix.SignalName(s) }
