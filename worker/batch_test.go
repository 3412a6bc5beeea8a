package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

// ended waits until a batch is done, and its handler has returned.
func (w *world) ended(name string) *jobs.Batch {
	w.t.Helper()
	var b *jobs.Batch
	await(w.t, name+" ends", func() (over bool) {
		var err error
		b, err = w.store.Batch(w.ctx, name)
		require.NoError(w.t, err)
		return !b.Open()
	})
	return b
}

func (w *world) sectors(n int) (ids []jobs.SectorID) {
	for range n {
		ids = append(ids, w.sector().ID)
	}
	return ids
}

// TestOneBadMemberDoesNotBlockTheRest: what the chain client takes out of a batch
// has its own fault, and a member that is not wanted any more is left out.
func TestOneBadMemberDoesNotBlockTheRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := w.sectors(5)
	bad, aborted := ids[1], ids[3]
	w.chain.Doom(w.load(bad).Meaning(jobs.PreCommit), jobstest.Fate{TakenOut: jobs.Failf(jobs.Deadline, "expired ticket")})
	b := w.batch(jobs.PreCommit, ids...)
	r, err := w.store.Apply(w.ctx, aborted, jobs.RolledBack{To: jobs.SDR, ByOrder: true}, "test", time.Now())
	require.NoError(t, err)
	require.Equal(t, 2, r.Stage(jobs.PreCommit).Fence)
	w.run(w.options("w0"))
	b = w.ended(b.ID)
	require.Contains(t, b.Note, "3 of 4 sectors sent in ")
	message := ""
	for _, id := range ids {
		sr := w.load(id).Stage(jobs.PreCommit)
		switch id {
		case bad:
			require.Equal(t, jobs.Faulted, sr.State)
			require.Equal(t, jobs.Deadline, sr.Fault.Class)
			require.Equal(t, "expired ticket", sr.Fault.Text)
		case aborted:
			require.Equal(t, jobs.Idle, sr.State)
			require.Empty(t, sr.Message)
		default:
			require.Equal(t, jobs.Done, sr.State)
			require.NotEmpty(t, sr.Message)
			require.Contains(t, []string{"", message}, message)
			message = sr.Message
			require.Equal(t, 1, sr.Claim)
		}
	}
	require.Equal(t, 3, w.chain.Sent(jobs.PreCommit))
}

// TestAMemberThatCannotBeReadDoesNotBlockTheRest, such as one that a newer lpseal wrote to: it is free when the batch has ended.
func TestAMemberThatCannotBeReadDoesNotBlockTheRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := w.sectors(3)
	b := w.batch(jobs.PreCommit, ids...)
	key := "lpseal:{" + ids[1].String() + "}"
	require.NoError(t, w.rdb.HSet(w.ctx, key, "of-a-newer-version", "1").Err())
	w.run(w.options("w0"))
	b = w.ended(b.ID)
	require.Contains(t, b.Note, "2 of 2 sectors sent in ")
	require.Equal(t, 2, w.chain.Sent(jobs.PreCommit))
	require.NoError(t, w.rdb.HDel(w.ctx, key, "of-a-newer-version").Err())
	r := w.load(ids[1])
	require.Equal(t, jobs.Queued, r.Stage(jobs.PreCommit).State)
	require.Equal(t, jobs.TaskAbsent, jobs.MemberTask(b, r.Task(jobs.PreCommit)))
}

// TestABatchIsDeliveredAgain: whoever was answered for is left alone, the others are
// answered for by the new delivery, and nothing is sent twice.
func TestABatchIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := w.sectors(3)
	b := w.batch(jobs.PreCommit, ids...)
	// An earlier delivery sent all, told one record and died.
	now := time.Now()
	b, err := w.store.ApplyBatch(w.ctx, b, jobs.BatchClaimed{Task: b.Task(), Worker: "h9/dead@run"}, "test", now)
	require.NoError(t, err)
	var requests []jobs.PreCommitRequest
	for _, id := range ids {
		r, err := w.store.Apply(w.ctx, id, jobs.Claimed{Task: w.load(id).Task(jobs.PreCommit), Worker: "h9/dead@run"}, "test", now)
		require.NoError(t, err)
		requests = append(requests, jobs.PreCommitRequest{Meaning: r.Meaning(jobs.PreCommit), Seal: r.Seal(), TicketEpoch: r.Ticket.Epoch})
	}
	sent, err := w.chain.SendPreCommits(w.ctx, b.ID, requests)
	require.NoError(t, err)
	_, err = w.store.Apply(w.ctx, ids[0], jobs.Completed{Task: w.load(ids[0]).Task(jobs.PreCommit), Claim: 1, Result: jobs.Result{Message: sent[0].Message}}, "test", now)
	require.NoError(t, err)
	w.redeliver(b.ID)

	w.run(w.options("w0"))
	require.Contains(t, w.ended(b.ID).Note, "2 of 2 sectors sent")
	for i, id := range ids {
		sr := w.load(id).Stage(jobs.PreCommit)
		require.Equal(t, jobs.Done, sr.State)
		require.Equal(t, sent[i].Message, sr.Message)
		require.Equal(t, [2]int{1, 1}, [2]int{sr.Attempt, sr.Delivery}, "the batch was delivered again, not its members")
	}
	require.Equal(t, 3, w.chain.Sent(jobs.PreCommit))
}

// TestABatchThatNobodyWantsSendsNothing, and ends all the same.
func TestABatchThatNobodyWantsSendsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := w.sectors(2)
	b := w.batch(jobs.PreCommit, ids...)
	for _, id := range ids {
		_, err := w.store.Apply(w.ctx, id, jobs.RolledBack{To: jobs.SDR, ByOrder: true}, "test", time.Now())
		require.NoError(t, err)
	}
	w.run(w.options("w0"))
	require.Equal(t, "0 of 0 sectors sent", w.ended(b.ID).Note)
	require.Zero(t, w.chain.Sent(jobs.PreCommit))
}

// TestTroubleOfTheMessageIsEveryMembers fault, of its own class.
func TestTroubleOfTheMessageIsEveryMembers(t *testing.T) {
	t.Parallel()
	for _, class := range []jobs.FaultClass{jobs.Transient, jobs.Funds} {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ids := w.sectors(3)
			w.chain.Fail("SendPreCommits", fmt.Errorf("sending: %w", jobs.Failf(class, "injected")))
			b := w.batch(jobs.PreCommit, ids...)
			w.run(w.options("w0"))
			require.Contains(t, w.ended(b.ID).Note, "0 of 3")
			for _, id := range ids {
				sr := w.load(id).Stage(jobs.PreCommit)
				require.Equal(t, jobs.Faulted, sr.State)
				require.Equal(t, class, sr.Fault.Class)
			}
		})
	}
}
