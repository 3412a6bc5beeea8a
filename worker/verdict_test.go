package worker

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

func TestDiagnose(t *testing.T) {
	t.Parallel()
	crash := jobs.StageRecord{Faults: 2, Fault: jobs.Failf(jobs.Transient, crashed+" (SIGSEGV)")}
	other := jobs.StageRecord{Faults: 2, Fault: jobs.Failf(jobs.Transient, "node is down")}
	for name, c := range map[string]struct {
		st     *status
		words  string
		before jobs.StageRecord
		want   jobs.FaultClass
		text   string
	}{
		"no status":             {want: jobs.Transient, text: "with its shim"},
		"not ended":             {st: &status{}, want: jobs.Transient, text: "with its shim"},
		"OOM kill":              {st: &status{Ended: true, Exit: -1, Signal: "SIGKILL", OOMKill: true}, want: jobs.Busy, text: "for memory"},
		"kill":                  {st: &status{Ended: true, Exit: -1, Signal: "SIGKILL"}, want: jobs.Transient, text: "from outside (SIGKILL)"},
		"limit":                 {st: &status{Ended: true, Exit: -1, Signal: "SIGXFSZ"}, want: jobs.Busy, text: "ulimit"},
		"crash of C code":       {st: &status{Ended: true, Exit: -1, Signal: "SIGSEGV"}, want: jobs.Transient, text: crashed},
		"crash under Go":        {st: &status{Ended: true, Exit: 2}, words: "SIGSEGV: segmentation violation\nPC=0x0", want: jobs.Transient, text: "(SIGSEGV)"},
		"fatal error in cgo":    {st: &status{Ended: true, Exit: 2}, words: "fatal error: unexpected signal during runtime execution\n[signal SIGBUS: bus error code=0x2]", want: jobs.Transient, text: "(SIGBUS)"},
		"nil pointer in Go":     {st: &status{Ended: true, Exit: 2}, words: "panic: runtime error: nil\n[signal SIGSEGV: segmentation violation]", want: jobs.Bug, text: "exit code 2"},
		"third crash running":   {st: &status{Ended: true, Exit: -1, Signal: "SIGSEGV"}, before: crash, want: jobs.Bug, text: crashed},
		"crash after others":    {st: &status{Ended: true, Exit: -1, Signal: "SIGSEGV"}, before: other, want: jobs.Transient, text: crashed},
		"Rust out of memory":    {st: &status{Ended: true, Exit: -1, Signal: "SIGABRT"}, words: "memory allocation of 68719476736 bytes failed", want: jobs.Busy, text: "no memory"},
		"no thread of cgo's":    {st: &status{Ended: true, Exit: 2}, words: "runtime/cgo: pthread_create failed: Resource temporarily unavailable\nSIGABRT: abort", want: jobs.Busy, text: "no thread"},
		"Go out of memory":      {st: &status{Ended: true, Exit: 2}, words: "fatal error: runtime: out of memory", want: jobs.Busy, text: "no memory"},
		"Rust on a full disk":   {st: &status{Ended: true, Exit: 101}, words: "Os { code: 28, message: \"No space left on device\" }", want: jobs.Busy, text: "disk is full"},
		"result not written":    {st: &status{Ended: true, Exit: exitNoReport}, words: "permission denied", want: jobs.Bug, text: "permission denied"},
		"ended without a word":  {st: &status{Ended: true}, want: jobs.Bug, text: "exit code 0"},
		"called off by a stray": {st: &status{Ended: true, Exit: exitCalled}, want: jobs.Transient, text: "from outside"},
	} {
		f := diagnose(c.st, c.words, c.before)
		require.Equal(t, c.want, f.Class, "%s: %s", name, f.Text)
		require.Contains(t, f.Text, c.text, name)
	}
}

func TestLastWords(t *testing.T) {
	t.Parallel()
	dump := strings.Repeat("goroutine\n", 500)
	require.Equal(t, "a\nb", lastWords("a\nb\n"))
	words := lastWords(strings.Repeat("log\n", 50) + "panic: it was me\n\n" + dump)
	require.Contains(t, words, "panic: it was me")
	require.LessOrEqual(t, strings.Count(words, "\n"), 12)
	require.Contains(t, lastWords("memory allocation of 1 bytes failed\nSIGABRT: abort\n"+dump), "memory allocation")
}

// TestAWorldThatCannotBeMade, such as a prover that was built for another CPU: the
// machine is to blame and not the sector, so no attempt is spent.
func TestAWorldThatCannotBeMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options("w0")
	o.Child.Env = append(o.Child.Env, noWorldEnv+"=built for another CPU")
	w.run(o)
	sr := w.awaitState(w.schedule(w.sector().ID, jobs.SDR, false), jobs.Faulted)
	require.Equal(t, jobs.Busy, sr.Fault.Class)
	require.Contains(t, sr.Fault.Text, "child process on h1: built for another CPU")
}

// TestAChildThatDoesNotAnswer may have the work or not: the queue brings it again, and
// the folder's lock tells. The sector has nothing to do with it.
func TestAChildThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	d := &delivery{}
	o, err := d.judged(t.Context(), fmt.Errorf("engage: %w", errNoAnswer))
	require.ErrorIs(t, err, errNoAnswer)
	require.Nil(t, o.fault)
	o, err = d.judged(t.Context(), syscall.ENOSPC)
	require.NoError(t, err)
	require.Equal(t, jobs.Busy, o.fault.Class)
}
