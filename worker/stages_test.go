package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// TestEveryStageRuns runs the table in its order on one sector, each stage claimed,
// run and completed as the scheduler would order it.
func TestEveryStageRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.options("w0"))
	id := w.sector().ID
	for _, row := range jobs.Stages {
		task := w.schedule(id, row.Stage, false)
		sr := w.awaitState(task, jobs.Done)
		w.awaitTask(task, jobs.TaskCompleted)
		require.Equal(t, 1, sr.Attempt, "%s", row.Stage)
		require.Equal(t, 1, sr.Claim, "%s", row.Stage)
		require.Contains(t, sr.Worker, "h1/w0@", "%s", row.Stage)
	}
	r := w.load(id)
	require.True(t, r.CommR.Defined())
	require.NotEmpty(t, r.PoRep)
	require.NotNil(t, r.Stored)
	require.NotEmpty(t, r.Stage(jobs.PreCommit).Message)
	require.NotEmpty(t, r.Stage(jobs.Commit).Message)
	load, err := w.queues.Load(w.ctx)
	require.NoError(t, err)
	require.NotZero(t, load[jobs.SchedulerQueue], "finished stages enqueue advance")
}

// TestEveryFaultOfEveryStage injects a sealing error of each class into each stage:
// the handler returned nil (the task is completed, with no retry), and the hash
// holds class, text and attempt.
func TestEveryFaultOfEveryStage(t *testing.T) {
	t.Parallel()
	for _, row := range jobs.Stages {
		t.Run(string(row.Stage), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.run(w.options("w0"))
			for _, class := range jobs.FaultClasses {
				fault := jobs.Failf(class, "injected %s into %s", class, row.Stage)
				if row.Place == jobs.AtChain {
					w.chain.Fail("SendPreCommits", fault)
					w.chain.Fail("SendCommits", fault)
				} else {
					w.set(t, scene{Fault: fault})
				}
				task := w.schedule(w.sector().ID, row.Stage, false)
				sr := w.awaitState(task, jobs.Faulted)
				w.awaitTask(task, jobs.TaskCompleted)
				require.Equal(t, class, sr.Fault.Class)
				require.Contains(t, sr.Fault.Text, fault.Text)
				require.Equal(t, 1, sr.Fault.Attempt)
				require.False(t, sr.Fault.At.IsZero())
				require.Equal(t, 1, sr.Faults)
			}
		})
	}
}
