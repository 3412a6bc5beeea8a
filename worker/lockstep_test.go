package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// hours is a lockstep prover that takes an hour for any group, and notes their widths. A
// sector that is called off leaves at once.
type hours struct {
	jobs.Prover
	most   int
	mu     sync.Mutex
	groups []int
}

func (p *hours) Width() int { return p.most }

func (p *hours) SDR(ctx context.Context, _ jobs.Seal, _ string, _ func(jobs.Progress)) error {
	return p.SDRTogether(ctx, []jobs.SDRJob{{Ctx: ctx, Done: func(error) {}}})[0]
}

func (p *hours) SDRTogether(_ context.Context, group []jobs.SDRJob) []error {
	p.mu.Lock()
	p.groups = append(p.groups, len(group))
	p.mu.Unlock()
	done, end := context.WithTimeout(context.Background(), time.Hour)
	defer end()
	errs := make([]error, len(group))
	for i, j := range group {
		select {
		case <-j.Ctx.Done():
			errs[i] = j.Ctx.Err()
			j.Done(errs[i])
		case <-done.Done():
		}
	}
	<-done.Done()
	return errs
}

const large = abi.RegisteredSealProof_StackedDrg32GiBV1_1

func TestMeeting(t *testing.T) {
	t.Parallel()
	// each is when the sectors come, in seconds; gone are those whose context ends 5 s later.
	for _, c := range []struct {
		name   string
		width  int
		come   []int
		gone   map[int]bool
		groups string
	}{
		{"one waits and goes alone", 2, []int{0}, nil, "[1]"},
		{"two", 2, []int{0, 16}, nil, "[2]"},
		{"the second is late", 2, []int{0, 18}, nil, "[1 1]"},
		{"each new one is waited for", 3, []int{0, 16, 32}, nil, "[3]"},
		{"two of three", 3, []int{0, 16}, nil, "[2]"},
		{"the first leaves before the second comes", 2, []int{0, 6}, map[int]bool{0: true}, "[1]"},
		{"a prover without lockstep", 1, []int{0, 0}, nil, "[1 1]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				require.Equal(t, 17*time.Second, gatherFor(large).Truncate(time.Second))
				var begun, closed atomic.Int32
				m := &meeting{closing: func() { closed.Add(1) }}
				p := &hours{most: c.width}
				ended := make(chan error)
				for i, at := range c.come {
					ctx, end := context.WithCancel(t.Context())
					defer end()
					time.AfterFunc(time.Duration(at)*time.Second, func() {
						if c.gone[i] {
							time.AfterFunc(5*time.Second, end)
						}
						ended <- m.joining(p, 3, func() { begun.Add(1) }).SDR(ctx, jobs.Seal{Proof: large}, "", nil)
					})
				}
				for range c.come {
					if err := <-ended; err != nil {
						require.ErrorIs(t, err, context.Canceled)
						require.NotEmpty(t, c.gone)
					}
				}
				require.Equal(t, c.groups, fmt.Sprint(p.groups))
				require.EqualValues(t, len(c.come)-len(c.gone), begun.Load())
				require.EqualValues(t, len(p.groups), closed.Load())
			})
		})
	}
}

// panics is a lockstep prover with a bug.
type panics struct{ jobs.Prover }

func (panics) Width() int { return 2 }

func (panics) SDRTogether(context.Context, []jobs.SDRJob) []error { panic("a bug") }

// TestPanicOfAGroup is every member's.
func TestPanicOfAGroup(t *testing.T) {
	t.Parallel()
	m := &meeting{closing: func() {}}
	var p panics
	ended := make(chan error)
	for range 2 {
		go func() {
			ended <- m.joining(p, 2, func() {}).SDR(t.Context(), jobs.Seal{Proof: large}, "", nil)
		}()
	}
	for range 2 {
		var fault *jobs.Fault
		require.True(t, errors.As(<-ended, &fault))
		require.Equal(t, jobs.Bug, fault.Class)
	}
}

// TestWhoMayJoin: as many as the lane lets, of one stage and one proof type, until the
// group has begun.
func TestWhoMayJoin(t *testing.T) {
	t.Parallel()
	of := func(s jobs.Stage, proof string) *work {
		return &work{request: Request{Task: jobs.TaskRef{Stage: s}, Fields: map[string]string{"proof": proof}}}
	}
	p := &proofProcess{row: jobs.RowOf(jobs.SDR), lane: jobs.Lane{Width: 4, Lockstep: 2}, hand: map[*work]bool{}}
	require.True(t, p.takes(of(jobs.SDR, "8")))
	require.False(t, p.takes(of(jobs.C2, "8")))
	p.hand[of(jobs.SDR, "8")] = true
	require.True(t, p.takes(of(jobs.SDR, "8")))
	require.False(t, p.takes(of(jobs.SDR, "9")), "the graphs differ")
	p.closed = true
	require.False(t, p.takes(of(jobs.SDR, "8")), "its group has begun")
	p.closed = false
	p.hand[of(jobs.SDR, "8")] = true
	require.False(t, p.takes(of(jobs.SDR, "8")), "full")
}
