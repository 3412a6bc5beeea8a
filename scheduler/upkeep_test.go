package scheduler_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
	"github.com/lpseal/lpseal/scheduler"
)

var _ scheduler.Forgetful = (*chain.Client)(nil)

// journaled is a chain client with a journal that speaks of some sectors.
type journaled struct {
	*jobstest.Chain
	about []jobs.SectorID
	ended map[jobs.SectorID]bool
}

func (j *journaled) Forget(ctx context.Context, ended func(context.Context, []jobs.SectorID) (map[jobs.SectorID]bool, error)) (n int, err error) {
	j.ended, err = ended(ctx, j.about)
	return len(j.ended), err
}

// The journal is told which sectors have left the pipeline; a chain client without one is left alone.
func TestMessagesAreForgotten(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	require.NoError(t, p.ForgetMessages(p.ctx))
	open, done := p.add(), p.add()
	require.Equal(t, jobs.Committed, p.driveHome(done).Outcome)
	client := &journaled{Chain: p.chain, about: []jobs.SectorID{open, done}}
	s, err := scheduler.New(scheduler.Options{
		Store: p.store, Queues: p.queues, Chain: client, Policy: p.policy, Clock: p.clock, Name: "s2", Log: quiet, Period: time.Second,
	})
	require.NoError(t, err)
	require.NoError(t, s.ForgetMessages(p.ctx))
	require.Equal(t, map[jobs.SectorID]bool{open: false, done: true}, client.ended)
}
