//go:build crashpoints

package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
)

// crashes are the points that this package has, derived from the table. Those in
// the middle of a light stage's work on files are internal/files'.
func crashes(row *jobs.Row) map[crash.Role][]crash.Point {
	at := map[crash.Role][]crash.Point{
		crash.Worker: {crash.BeforeClaim, crash.AfterClaim, crash.AfterRename, crash.AfterCompletion},
	}
	if row.Batched() {
		at[crash.Worker] = []crash.Point{crash.BeforeClaim, crash.AfterClaim, crash.MidWork, crash.AfterPush, crash.AfterCompletion}
	}
	if row.Heavy {
		at[crash.Worker] = append(at[crash.Worker], crash.MidWork)
		at[crash.Child] = []crash.Point{crash.AfterClaim, crash.MidWork, crash.AfterRename}
	}
	return at
}

// TestCrashes kills a process at every point; the stage ends done all the same, and
// a dead worker costs no attempt.
func TestCrashes(t *testing.T) {
	t.Parallel()
	n := 0
	for _, row := range jobs.Stages {
		for role, points := range crashes(row) {
			for _, point := range points {
				n++
				name := crash.Name(role, row.Stage, point)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					id := w.sector().ID
					w.prepare(id, row.Stage)
					once := filepath.Join(w.Dir, "crashed")
					victim := w.process("LPSEAL_CRASH="+name, "LPSEAL_CRASH_ONCE="+once)
					task := w.schedule(id, row.Stage, false)
					await(t, "the crash", func() bool { _, err := os.Stat(once); return err == nil })
					attempt := 1
					if role == crash.Worker {
						require.Error(t, victim.Wait())
						w.run(w.options("w0"))
						if w.load(id).Stage(row.Stage).State != jobs.Done {
							task = w.schedule(id, row.Stage, true)
						}
					} else {
						sr := w.awaitState(task, jobs.Faulted)
						require.Equal(t, jobs.Transient, sr.Fault.Class, sr.Fault.Text)
						task, attempt = w.schedule(id, row.Stage, false), 2
					}
					sr := w.awaitState(task, jobs.Done)
					require.Equal(t, attempt, sr.Attempt)
				})
			}
		}
	}
	fmt.Printf("crash points of worker: %d\n", n)
}

// prepare does the work of the stages before s.
func (w *world) prepare(id jobs.SectorID, s jobs.Stage) {
	w.t.Helper()
	worker, err := New(w.options("w0"))
	require.NoError(w.t, err)
	worker.life = w.ctx
	for _, row := range jobs.Stages {
		if row.Stage == s || row.Recovery {
			return
		}
		if row.Stage == jobs.Finalize && jobs.RowOf(s).Recovery {
			return // leave them something to recover
		}
		task := w.schedule(id, row.Stage, false)
		if row.Batched() {
			b, err := w.store.Batch(w.ctx, w.load(id).Stage(row.Stage).Batch)
			require.NoError(w.t, err)
			require.NoError(w.t, worker.laneOf(row).handleBatch(w.ctx, b.Task()))
		} else {
			require.NoError(w.t, worker.laneOf(row).handle(w.ctx, task))
		}
		require.Equal(w.t, jobs.Done, w.load(id).Stage(row.Stage).State)
	}
}

func (w *Worker) laneOf(row *jobs.Row) *lane {
	for _, l := range w.lanes {
		if l.decl.Class == row.Classes[0] {
			return l
		}
	}
	return nil
}

// TestCrashesOfSharedChildren kills a process at every point of the stages whose works
// share a child, with two works in hand or in turn. Both end done; what had not begun
// when a child died, or was a dead worker's, costs no attempt.
func TestCrashesOfSharedChildren(t *testing.T) {
	t.Parallel()
	for _, row := range jobs.Stages {
		if row.Sharing == jobs.NoSharing {
			continue
		}
		for role, points := range crashes(row) {
			for _, point := range points {
				name := crash.Name(role, row.Stage, point)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					w.Lockstep, w.Warm, w.Gather = 2, time.Minute, 300*time.Millisecond
					tasks := make([]jobs.TaskRef, 2)
					for i := range tasks {
						tasks[i].ID = w.sector().ID
						w.prepare(tasks[i].ID, row.Stage)
					}
					once := filepath.Join(w.Dir, "crashed")
					victim := w.process("LPSEAL_CRASH="+name, "LPSEAL_CRASH_ONCE="+once)
					for i := range tasks {
						tasks[i] = w.schedule(tasks[i].ID, row.Stage, false)
					}
					await(t, "the crash", func() bool { _, err := os.Stat(once); return err == nil })
					most := 1
					if role == crash.Worker {
						require.Error(t, victim.Wait())
						w.run(w.options("w0"))
					} else if row.Sharing != jobs.Together || point != crash.AfterClaim {
						most = 2 // it was at work
					}
					for i, task := range tasks {
						id, again := task.ID, role == crash.Worker
						await(t, task.String()+" is done", func() bool {
							switch sr := w.load(id).Stage(row.Stage); {
							case sr.State == jobs.Done:
								return true
							case sr.State == jobs.Faulted || again:
								again = false
								tasks[i] = w.schedule(id, row.Stage, sr.State != jobs.Faulted)
							}
							return false
						})
						require.LessOrEqual(t, w.load(id).Stage(row.Stage).Attempt, most)
					}
				})
			}
		}
	}
}
