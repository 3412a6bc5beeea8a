package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// joins is what the aggregate child of a test does.
type joins func(seals []jobs.Seal, snarks [][]byte) ([]byte, error)

func (j joins) Aggregate(_ context.Context, seals []jobs.Seal, snarks [][]byte) ([]byte, error) {
	return j(seals, snarks)
}

// joinerOf is the child that a test asked for: it does what act says.
func joinerOf(act string) func(context.Context) (jobs.Aggregator, error) {
	verb, of, _ := strings.Cut(act, "=")
	do := joins(func(seals []jobs.Seal, snarks [][]byte) ([]byte, error) {
		switch verb {
		case "join":
			var names []string
			for _, s := range seals {
				names = append(names, fmt.Sprintf("%s %x %x %s %s", s.ID, s.Ticket, s.Seed, s.CommD, s.CommR))
			}
			return append([]byte(strings.Join(names, "; ")+": "), bytes.Join(snarks, []byte("+"))...), nil
		case "fault":
			return nil, fmt.Errorf("aggregate: %w", jobs.Failf(jobs.Busy, "the SRS is missing"))
		case "panic":
			panic("no such proof")
		case "exit":
			fmt.Fprintln(os.Stderr, "leaving early")
			os.Exit(3)
		case "noise":
			fmt.Println("a library that prints")
			return nil, nil
		case "die":
			signal, _ := strconv.Atoi(of)
			_ = syscall.Kill(os.Getpid(), syscall.Signal(signal)) // whose signal may come a moment later
		case "hang":
			_ = os.WriteFile(of, []byte(strconv.Itoa(os.Getpid())), 0o644)
		}
		select {}
	})
	return func(context.Context) (jobs.Aggregator, error) {
		if verb == "unbuilt" {
			return nil, errors.New("no such prover")
		}
		return do, nil
	}
}

func aggregatorOf(t *testing.T, act string) *Aggregator {
	a, err := NewAggregator(ChildConfig{Args: []string{"aggregate", act}})
	require.NoError(t, err)
	return a
}

var testCID = cid.MustParse("baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq")

var twoSeals = []jobs.Seal{
	{ID: jobs.SectorID{Miner: 1000, Number: 7}, Proof: proof, Ticket: []byte{1}, Seed: []byte{2}, CommD: testCID, CommR: testCID},
	{ID: jobs.SectorID{Miner: 1000, Number: 5}, Proof: proof, Ticket: []byte{3}, Seed: []byte{4}, CommD: testCID, CommR: testCID},
}

func TestAggregatesAreMadeInAChild(t *testing.T) {
	t.Parallel()
	out, err := aggregatorOf(t, "join").Aggregate(t.Context(), twoSeals, [][]byte{{'a'}, {'b'}})
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("s-t01000-7 01 02 %[1]s %[1]s; s-t01000-5 03 04 %[1]s %[1]s: a+b", testCID), string(out), "in the order given")
}

// TestEndingsOfAnAggregateChild: whatever becomes of it, whoever asked lives and learns why.
func TestEndingsOfAnAggregateChild(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		act   string
		class jobs.FaultClass
		text  []string
	}{
		{"fault", jobs.Busy, []string{"the SRS is missing"}},
		{"panic", jobs.Bug, []string{"no such proof", "aggregate_test.go"}},
		{"unbuilt", jobs.Bug, []string{"no such prover"}},
		{"exit", jobs.Bug, []string{"exit code 3", "leaving early"}},
		{"noise", jobs.Bug, []string{"the child process' report"}},
		{"die=11", jobs.Transient, []string{crashed, "SIGSEGV"}},
		{"die=6", jobs.Transient, []string{crashed, "SIGABRT"}},
		{"die=9", jobs.Transient, []string{"from outside", "SIGKILL"}},
	} {
		t.Run(c.act, func(t *testing.T) {
			t.Parallel()
			out, err := aggregatorOf(t, c.act).Aggregate(t.Context(), twoSeals, make([][]byte, 2))
			require.Nil(t, out)
			fault, ok := jobs.Classify(t.Context(), err)
			require.True(t, ok)
			require.Equal(t, c.class, fault.Class, fault.Text)
			for _, text := range c.text {
				require.Contains(t, fault.Text, text)
			}
		})
	}
}

// TestAHangingAggregate is given up at its limit and when nobody waits any more, and holds up
// the next one no longer than that.
func TestAHangingAggregate(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "hangs")
	a := aggregatorOf(t, "hang="+file)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := a.Aggregate(ctx, twoSeals, nil)
		ended <- err
	}()
	pid := 0
	require.Eventually(t, func() bool {
		b, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(string(b))
		return pid != 0
	}, time.Minute, time.Millisecond)
	waiting, stop := context.WithCancel(t.Context())
	stop()
	_, err := a.Aggregate(waiting, twoSeals, nil)
	require.ErrorIs(t, err, context.Canceled, "one at a time")
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)

	a.limit = time.Nanosecond
	_, err = a.Aggregate(t.Context(), twoSeals, nil)
	fault, ok := jobs.Classify(t.Context(), err)
	require.True(t, ok)
	require.Equal(t, jobs.Transient, fault.Class)
	require.Contains(t, fault.Text, "longer than 1ns")
}

// TestAnAggregateEndsWithWhoAsked: a scheduler that was killed leaves nothing running.
func TestAnAggregateEndsWithWhoAsked(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	in, request, err := os.Pipe()
	require.NoError(t, err)
	child, err := os.StartProcess(self, []string{self, "aggregate", "hang"}, &os.ProcAttr{Files: []*os.File{in, nil, os.Stderr}})
	require.NoError(t, err)
	require.NoError(t, in.Close())
	_, err = request.WriteString(`{"seals":[],"snarks":[]}`)
	require.NoError(t, err)
	require.NoError(t, request.Close())
	state, err := child.Wait()
	require.NoError(t, err)
	require.Equal(t, exitCalled, state.ExitCode())
}

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	var kept tail
	for range 2 * mostWords / 10 {
		_, _ = kept.Write([]byte("some line\n"))
	}
	_, _ = kept.Write([]byte("panic: the end\n"))
	require.Len(t, kept.kept, mostWords)
	require.Contains(t, kept.words(), "panic: the end")
}
