package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/jobs"
)

// points are the moments at which a role that takes part in a stage can be killed.
// Roles and points of every stage follow from its row; a new row has its crashes at
// once.
func points(row *jobs.Row) map[crash.Role][]crash.Point {
	at := map[crash.Role][]crash.Point{
		crash.Scheduler: {crash.AfterIntent},
		crash.Worker:    {crash.BeforeClaim, crash.AfterClaim, crash.AfterCompletion},
	}
	work := func(role crash.Role, more ...crash.Point) { at[role] = append(at[role], more...) }
	switch {
	case row.Batched(): // the worker of queue chain, in the scheduler's process
		work(crash.Scheduler, crash.AfterPlan, crash.AfterClose)
		work(crash.Worker, crash.MidWork, crash.AfterPush)
	case row.Heavy:
		work(crash.Worker, crash.MidWork, crash.AfterRename)
		work(crash.Child, crash.AfterClaim, crash.MidWork, crash.AfterRename)
	case row.Place == jobs.AtHome: // it moves files away
		work(crash.Worker, crash.MidWork, crash.AfterRename)
	default: // it only reads
		work(crash.Worker, crash.AfterRename)
	}
	return at
}

// crashCase is one process killed once.
type crashCase struct {
	row   *jobs.Row
	role  crash.Role
	point crash.Point
}

func (k crashCase) String() string { return crash.Name(k.role, k.row.Stage, k.point) }

func crashCases() (all []crashCase) {
	for _, row := range jobs.Stages {
		for _, role := range []crash.Role{crash.Scheduler, crash.Worker, crash.Child} {
			for _, point := range points(row)[role] {
				all = append(all, crashCase{row, role, point})
			}
		}
	}
	return all
}

// asynqRecovers is the soonest that asynq by itself gives a killed server's task to
// another: its lease of 30 s must have ended 30 s ago, and the last heartbeat was at
// most 5 s before the crash. Our poller sees the dead owner at once.
const asynqRecovers = 55 * time.Second

// TestCrashMatrix kills each role of each stage at each of its points. The process is
// started again, and the sector ends as it would have: with one message of each
// meaning on chain, no finished layer or tree made again, and no attempt spent but by the
// stage whose child was killed.
func TestCrashMatrix(t *testing.T) {
	t.Parallel()
	cases := crashCases()
	var side errgroup.Group
	side.SetLimit(4 * runtime.NumCPU()) // they wait for the chain most of the time
	for _, k := range cases {
		side.Go(func() error {
			t.Run(k.String(), k.run)
			return nil
		})
	}
	_ = side.Wait()
	fmt.Printf("crash matrix: %d cases\n", len(cases))
}

func (k crashCase) run(t *testing.T) {
	once := filepath.Join(t.TempDir(), "crashed")
	c := newCluster(t, "LPSEAL_CRASH="+k.String(), "LPSEAL_CRASH_ONCE="+once)
	victims := map[crash.Role]*daemon{crash.Scheduler: c.scheduler("s1"), crash.Worker: c.worker(settings{
		host: "h1", instance: "main", lanes: sealing + ", {class: gpu, gpu: a, width: 1}", paths: []string{
			c.path("h1", "seal", files.PathOptions{CanSeal: true}), c.path("h1", "seal2", files.PathOptions{CanSeal: true}),
			c.path("h1", "store", files.PathOptions{CanStore: true}),
		},
	})}
	if k.row.Place == jobs.AtChain {
		victims[crash.Worker] = victims[crash.Scheduler]
	}
	c.alive(2)
	id := c.seal(k.row)

	var crashed os.FileInfo
	c.until("the crash", func() (there bool) {
		var err error
		crashed, err = os.Stat(once)
		return err == nil
	})
	r := c.record(id)
	finished := c.witness(k, r)
	c.until("the sector's end", func() bool {
		if k.row.Stage != jobs.RecoverWipe { // which is for layers to be made again
			finished.look()
		}
		r = c.record(id)
		require.True(t, r.Hold == nil || r.Abandoned, "held: %v", r.Hold)
		return r.Outcome != jobs.Open
	})
	if victim := victims[k.role]; victim != nil {
		c.until("the victim's death", func() bool { return victim.deaths() > 0 }) // the sector's end may be seen before
		require.Equal(t, 1, victim.deaths(), "the %s was killed once", k.role)
	}
	k.ended(c, r)
	k.recovered(c, r, crashed.ModTime())
}

// ended checks the end state.
func (k crashCase) ended(c *cluster, r *jobs.Record) {
	t, stage := c.t, k.row.Stage
	require.Equal(t, jobs.Done, r.Stage(stage).State)
	if stage == jobs.RecoverAbandon {
		require.Equal(t, jobs.Removed, r.Outcome)
		left, err := filepath.Glob(filepath.Join(c.dir, "h1", "*", "*", r.ID.String()))
		require.NoError(t, err)
		require.Empty(t, without(left, "locks"))
		c.sentOnce(r.ID, 0)
		return
	}
	require.Equal(t, jobs.Committed, r.Outcome)
	c.sentOnce(r.ID, 1)
	if k.row.Recovery {
		return // what was recovered from had its own attempts
	}
	for s, sr := range r.Stages {
		attempts := 1
		if k.role == crash.Child && s == stage {
			attempts = 2
		}
		if !unreached(s, sr) {
			require.Equal(t, attempts, sr.Attempt, "attempts of %s", s)
		}
		require.Equal(t, 1, sr.Fence, "%s was not rolled back", s)
	}
}

// unreached says that commit asked for C1's output while the worker was dead that
// serves it, or had not joined again: once or more, for a retry in a batch waits for
// nobody.
func unreached(s jobs.Stage, sr jobs.StageRecord) bool {
	if s != jobs.Commit || sr.Fault == nil || sr.Fault.Class != jobs.Transient {
		return false
	}
	return strings.Contains(sr.Fault.Text, "file service of host h1") || strings.Contains(sr.Fault.Text, "no live host serves path")
}

func without(paths []string, folder string) (kept []string) {
	for _, p := range paths {
		if filepath.Base(filepath.Dir(p)) != folder {
			kept = append(kept, p)
		}
	}
	return kept
}

// landed is what the log says when the chain, and not the worker, tells that a
// message was sent.
var landed = map[jobs.Stage]string{jobs.PreCommit: "pre-commit on chain", jobs.Commit: "committed on chain"}

// recovered checks that the sector went on long before asynq would have seen to it.
func (k crashCase) recovered(c *cluster, r *jobs.Record, crashed time.Time) {
	stage := k.row.Stage
	for _, l := range c.story(r.ID) {
		done := strings.Contains(l.Text, "."+string(stage)+".") && strings.HasSuffix(l.Text, " done")
		sent := landed[stage] != "" && strings.HasPrefix(l.Text, landed[stage])
		after := l.At.After(crashed) && (done || sent || k.point == crash.AfterCompletion)
		// A poll that is under way may end the sector between its last completion and the crash.
		if after || k.point == crash.AfterCompletion && strings.HasPrefix(l.Text, "finished: ") {
			c.t.Logf("%s after the crash: %s", l.At.Sub(crashed), l.Text)
			require.Less(c.t, l.At.Sub(crashed), asynqRecovers/2, l.Text)
			return
		}
	}
	require.Fail(c.t, "nothing went on after the crash")
}
