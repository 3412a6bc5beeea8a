package scheduler_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/scheduler"
)

func TestASectorGoesFromAddedToCommitted(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	r := p.driveHome(id)
	require.Equal(t, jobs.Committed, r.Outcome)
	for _, row := range jobs.Stages {
		if sr := r.Stage(row.Stage); row.Recovery {
			require.Equal(t, jobs.Idle, sr.State, row.Stage)
		} else {
			require.Equal(t, jobs.Done, sr.State, row.Stage)
			require.Equal(t, [3]int{1, 1, 1}, [3]int{sr.Fence, sr.Attempt, sr.Delivery}, "%s was delivered once", row.Stage)
		}
	}
	require.Equal(t, int64(r.Ticket.At)-900, int64(r.Ticket.Epoch))
	require.Equal(t, r.PreCommitEpoch+10, r.Seed.Epoch)
	require.Equal(t, 1, p.chain.Sent(jobs.PreCommit))
	require.Equal(t, 1, p.chain.Sent(jobs.Commit))

	space, err := p.store.Reservations(p.ctx, "path-h1")
	require.NoError(t, err)
	require.Empty(t, space, "the reservation is released")
	due, err := p.store.Due(p.ctx, p.clock.Now().Add(time.Hour), 0)
	require.NoError(t, err)
	require.Empty(t, due, "a finished sector is not due")
}

func TestTheTicketOfAYoungChainHasANegativeEpoch(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	p.chain.Advance(-9_900)
	r := p.driveTo(p.add(), jobs.TreeRC)
	require.Equal(t, int64(100-900), int64(r.Ticket.Epoch))
	require.Len(t, r.Ticket.Value, 32)
}

func TestPollActsOnWhatIsDueAndOnNothingElse(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	idle, due := p.add(), p.add()
	require.NoError(t, p.store.SetDue(p.ctx, idle, p.clock.Now().Add(time.Hour)))

	report, err := p.Poll(p.ctx)
	require.NoError(t, err)
	require.Equal(t, 1, report.Due)
	require.Equal(t, 1, report.Looked)
	require.Equal(t, 3, report.Acted, "placed, tree_d and sdr queued")
	require.Zero(t, report.Errors)
	require.Empty(t, p.record(idle).Stages)
	require.Equal(t, []jobs.Stage{jobs.TreeD, jobs.SDR}, queued(p.record(due)))

	report, err = p.Poll(p.ctx)
	require.NoError(t, err)
	require.Zero(t, report.Due, "it was just looked at")
	p.clock.Advance(p.policy.Look)
	report, err = p.Poll(p.ctx)
	require.NoError(t, err)
	require.Equal(t, 1, report.Looked)
	require.Zero(t, report.Acted)
}

// TestAClockThatWasWrong: what a scheduler put off while its host was days ahead is looked at
// when the clock is right again, and not days later.
func TestAClockThatWasWrong(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	p.add()
	const ahead = 48 * time.Hour
	p.clock.Advance(ahead)
	_, err := p.Poll(p.ctx)
	require.NoError(t, err)
	p.clock.Advance(-ahead)
	report, err := p.Poll(p.ctx)
	require.NoError(t, err)
	require.Equal(t, 1, report.Looked)

	p.policy.Look = sectors.Horizon / 4
	patient, held := p.scheduler("s2"), p.add()
	p.apply(held, jobs.Held{Hold: jobs.Hold{Reason: "look"}})
	_, err = patient.Poll(p.ctx)
	require.NoError(t, err)
	due := func() []jobs.SectorID {
		ids, err := p.store.Due(p.ctx, p.clock.Now(), 0)
		require.NoError(t, err)
		return ids
	}
	require.NotContains(t, due(), held, "nothing is put off so far otherwise")
	p.clock.Advance(sectors.Horizon / 2)
	require.Contains(t, due(), held)
}

func TestTwoSchedulersAtOnceWriteEachIntentOnce(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	other := p.scheduler("s2")
	var ids []jobs.SectorID
	for range 8 {
		ids = append(ids, p.add())
	}
	for round := range 200 {
		open := 0
		for _, id := range ids {
			require.NoError(t, p.store.SetDue(p.ctx, id, p.clock.Now()))
		}
		var polls sync.WaitGroup
		for _, s := range []*scheduler.Scheduler{p.Scheduler, other} {
			polls.Go(func() {
				report, err := s.Poll(p.ctx)
				assert.NoError(t, err)
				assert.Zero(t, report.Errors)
			})
		}
		polls.Wait()
		for _, id := range ids {
			r := p.record(id)
			if r.Outcome != jobs.Open {
				continue
			}
			open++
			for _, s := range queued(r) {
				p.finish(id, s)
			}
		}
		if open == 0 {
			break
		}
		require.Less(t, round, 199, "sectors left over")
		p.chain.Advance(1)
		p.clock.Advance(time.Second)
	}
	for _, id := range ids {
		r := p.record(id)
		require.Equal(t, jobs.Committed, r.Outcome)
		for stage, sr := range r.Stages {
			require.Equal(t, [3]int{1, 1, 1}, [3]int{sr.Fence, sr.Attempt, sr.Delivery}, "%s of %s", stage, id)
		}
	}
	require.Equal(t, len(ids), p.chain.Sent(jobs.PreCommit))
	require.Equal(t, len(ids), p.chain.Sent(jobs.Commit))
}

func TestRPCCallsDoNotGrowWithSectorsForWhichNothingChanged(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	// Each waits for its pre-commit to land; then for the seed, with store running.
	waiting := func(n int) (rpc uint64) {
		for range n {
			id := p.add()
			p.driveTo(id, jobs.Store)
			p.claim(id, jobs.Store)
			p.finish(id, jobs.PreCommit)
			p.look(id)
		}
		p.clock.Advance(p.policy.Look)
		report, err := p.Poll(p.ctx)
		require.NoError(t, err)
		require.Zero(t, report.Errors)
		require.GreaterOrEqual(t, report.Looked, n)
		return report.RPC
	}
	few := waiting(1)
	require.Equal(t, few, waiting(5), "messages are asked for together")

	p.chain.Advance(7)
	p.clock.Advance(p.policy.Look)
	report, err := p.Poll(p.ctx)
	require.NoError(t, err)
	require.Equal(t, 6, report.Acted, "every pre-commit landed")
	require.Equal(t, few+6, report.RPC, "and its info was asked for once")
	for range 3 {
		p.clock.Advance(p.policy.Look)
		report, err = p.Poll(p.ctx)
		require.NoError(t, err)
		require.Equal(t, 6, report.Looked)
		require.LessOrEqual(t, report.RPC, few, "waiting for the seed asks nothing of a sector")
	}
}

func TestStagesThatNeedNoChainGoOnWhileTheNodeIsAway(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	id := p.add()
	p.driveTo(id, jobs.TreeRC)
	atSea := p.add()
	p.driveTo(atSea, jobs.PreCommit)
	p.finish(atSea, jobs.PreCommit)
	p.look(atSea)

	p.chain.Fail("*", jobs.Failf(jobs.Transient, "connection refused"))
	p.fail(id, jobs.TreeRC, jobs.Failf(jobs.Transient, "the disk was away"))
	p.clock.Advance(time.Minute)
	report, err := p.Poll(p.ctx)
	require.NoError(t, err)
	require.Equal(t, 2, p.record(id).Stage(jobs.TreeRC).Attempt, "tree_rc is tried again")
	require.Equal(t, 1, report.Errors, "nothing is decided for the sector whose message nobody knows")
	require.Equal(t, jobs.Done, p.record(atSea).Stage(jobs.PreCommit).State)
	require.ErrorContains(t, p.Advance(p.ctx, atSea), "connection refused")
	due, err := p.store.Due(p.ctx, p.clock.Now(), 0)
	require.NoError(t, err)
	require.Empty(t, due, "it is tried again, behind the others")

	p.chain.Fail("*", nil)
	p.driveHome(id)
	p.driveHome(atSea)
}

func TestANewSchedulerWithoutANodeSaysSo(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	p.chain.Fail("*", errors.New("connection refused"))
	_, err := p.Poll(p.ctx)
	require.ErrorContains(t, err, "ask the Filecoin node")
}

func TestARecordThatCannotBeReadDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	p := startMini(t)
	bad, good := p.add(), p.add()
	require.NoError(t, p.rdb.HSet(p.ctx, "lpseal:{"+bad.String()+"}", "of_a_newer_lpseal", "1").Err())
	report, err := p.Poll(p.ctx)
	require.NoError(t, err)
	require.Equal(t, 1, report.Errors)
	require.NotEmpty(t, queued(p.record(good)))
}
