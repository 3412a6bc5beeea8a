package queue_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// The states of design rule 2's table: what the record says of the stage, and what
// the queue has of its task. What is done by hand is done as asynqmon does it.
var recordStates = []string{"aborted", "queued", "running", "fault", "done"}

var taskStates = []struct {
	name  string
	state jobs.TaskState
	// again: a stage whose task is like this must be delivered anew.
	again bool
	// runs: the task may still come to a worker.
	runs bool
}{
	{"never enqueued", jobs.TaskAbsent, true, false},
	{"deleted by hand", jobs.TaskAbsent, true, false},
	{"pending", jobs.TaskPending, false, true},
	{"archived and run by hand", jobs.TaskPending, false, true},
	{"scheduled", jobs.TaskScheduled, false, true},
	{"scheduled and run by hand", jobs.TaskPending, false, true},
	{"retry", jobs.TaskRetry, false, true},
	{"retry, archived by hand", jobs.TaskArchived, true, false},
	{"active", jobs.TaskActive, false, true},
	{"active, its worker dead", jobs.TaskActiveDead, true, true},
	{"archived by hand", jobs.TaskArchived, true, false},
	{"archived by asynq", jobs.TaskArchived, true, false},
	{"completed", jobs.TaskCompleted, true, false},
}

var (
	served = jobs.Queue{Class: jobs.ClassCPU, Host: "h1"}
	idle   = jobs.Queue{Class: jobs.ClassCPU, Host: "h2"} // nobody takes from it
	noon   = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
)

// TestRecordStateByTaskState makes every pair of record and task state with real
// asynq, lets Decide see them, and performs what it says.
func TestRecordStateByTaskState(t *testing.T) {
	onBoth(t, func(b *bench) {
		table := &table{bench: b, store: sectors.New(b.rdb), active: map[jobs.SectorID]bool{}, fails: map[jobs.SectorID]bool{}}
		lane := b.serve(queue.Options{Queues: []string{served.String()}, Width: 64, Grace: time.Millisecond, Handler: table.handle})
		for i, record := range recordStates {
			for j, task := range taskStates {
				id := jobs.SectorID{Miner: 1000, Number: abi.SectorNumber(100*i + j)}
				table.test(fmt.Sprintf("%s, task %s", record, task.name), id, record, j)
			}
		}
		lane.Shutdown()
	})
}

type table struct {
	*bench
	store *sectors.Store

	mu     sync.Mutex
	active map[jobs.SectorID]bool // sectors whose handlers stay
	fails  map[jobs.SectorID]bool // and whose end in trouble
}

func (t *table) handle(ctx context.Context, ref jobs.TaskRef) error {
	t.mu.Lock()
	stay, fail := t.active[ref.ID], t.fails[ref.ID]
	t.mu.Unlock()
	if stay {
		<-ctx.Done()
		return ctx.Err()
	}
	if fail {
		return errOutage
	}
	return nil
}

func (t *table) test(name string, id jobs.SectorID, recordState string, row int) {
	t.Helper()
	want := taskStates[row]
	ref, q := t.record(id, recordState, want.name)
	state := t.task(q, ref, want.name)
	require.Equal(t, want.state, state, name)

	// What the poller sees and does.
	r, err := t.store.Load(t.ctx, id)
	require.NoError(t, err)
	facts := &jobs.Facts{
		Now: noon, Network: jobs.Network{Embedded: true, BlockDelay: time.Second},
		Tasks: map[jobs.Stage]jobs.TaskState{jobs.TreeD: state},
		Workers: []jobs.Worker{
			{Host: "h1", Instance: "w", Run: "r", Paths: []jobs.Path{{ID: "p1"}}, Lanes: []jobs.Lane{{Class: jobs.ClassCPU, Width: 1}}},
			{Host: "h2", Instance: "w", Run: "r", Paths: []jobs.Path{{ID: "p1"}}, Lanes: []jobs.Lane{{Class: jobs.ClassCPU, Width: 1}}},
		},
	}
	policy := jobs.DefaultPolicy()
	action, why := jobs.Decide(r, facts, &policy)
	e, again := action.Event.(jobs.Scheduled)
	again = again && e.Stage == jobs.TreeD && e.Again
	inQueue := recordState == "queued" || recordState == "running"
	require.Equal(t, inQueue && want.again, again, "%s: %s", name, why.Text)
	if again {
		next, err := t.store.Apply(t.ctx, id, e, "test", noon)
		require.NoError(t, err)
		delivered := next.Task(jobs.TreeD)
		require.Equal(t, ref.Attempt, delivered.Attempt, "%s: only a sealing fault raises the attempt", name)
		require.Equal(t, ref.Delivery+1, delivered.Delivery, name)
		t.release(id)
		t.enqueue(e.Queue, delivered)
		require.NotEqual(t, jobs.TaskAbsent, t.state(e.Queue, delivered), "%s: the old task blocks nothing", name)
	}

	// What a worker is told that gets the old task all the same.
	_, err = t.store.Apply(t.ctx, id, jobs.Claimed{Task: ref, Worker: "h1/w@r"}, "test", noon)
	if inQueue && !again {
		require.NoError(t, err, "%s: a task that still runs is wanted", name)
		require.True(t, want.runs, name)
	} else {
		require.ErrorIs(t, err, jobs.ErrStale, "%s: nobody runs it twice", name)
	}
}

// record makes a sector whose tree_d is in a state, and names its task and queue.
func (t *table) record(id jobs.SectorID, state, task string) (jobs.TaskRef, jobs.Queue) {
	t.Helper()
	q := idle
	if slices.Contains([]string{"retry", "retry, archived by hand", "active", "active, its worker dead", "archived by asynq", "completed"}, task) {
		q = served
	}
	r := &jobs.Record{ID: id, Version: 1, Created: noon, Proof: abi.RegisteredSealProof_StackedDrg2KiBV1_1}
	require.NoError(t, t.store.Create(t.ctx, r, "test"))
	apply := func(e jobs.Event) *jobs.Record {
		t.Helper()
		r, err := t.store.Apply(t.ctx, id, e, "test", noon)
		require.NoError(t, err)
		return r
	}
	apply(jobs.Placed{Path: "p1"})
	ref := apply(jobs.Scheduled{Stage: jobs.TreeD, Queue: q}).Task(jobs.TreeD)
	if state != "queued" {
		claim := apply(jobs.Claimed{Task: ref, Worker: "h1/w@r"}).Stage(jobs.TreeD).Claim
		switch state {
		case "fault":
			apply(jobs.Failed{Task: ref, Claim: claim, Fault: *jobs.Failf(jobs.Busy, "no room")})
		case "done":
			apply(jobs.Completed{Task: ref, Claim: claim})
		case "aborted":
			apply(jobs.Aborted{Why: "by hand"})
			apply(jobs.Released{})
		}
	}
	return ref, q
}

// task brings a task into a state with asynq and says what the queues read of it.
func (t *table) task(q jobs.Queue, ref jobs.TaskRef, name string) jobs.TaskState {
	t.Helper()
	t.mu.Lock()
	t.active[ref.ID] = name == "active" || name == "active, its worker dead"
	t.fails[ref.ID] = name == "retry" || name == "retry, archived by hand"
	t.mu.Unlock()
	queueName, id := q.String(), ref.String()
	byHand := func(err error) { t.Helper(); require.NoError(t, err, name) }
	put := func(o ...asynq.Option) {
		_, err := t.client.Enqueue(asynq.NewTask(ref.Stage.TaskType(), ref.Payload()),
			append(o, asynq.TaskID(id), asynq.Queue(queueName), asynq.Timeout(time.Hour))...)
		require.NoError(t, err)
	}
	reach := func(want jobs.TaskState) jobs.TaskState {
		t.Helper()
		t.await(name, func() bool { return t.state(q, ref) == want })
		return want
	}
	switch name {
	case "never enqueued":
		return t.state(q, ref)
	case "scheduled":
		put(asynq.ProcessIn(time.Hour))
	case "scheduled and run by hand":
		put(asynq.ProcessIn(time.Hour))
		byHand(t.mon.RunTask(queueName, id))
	case "archived by asynq": // a task of another type under this ID, which the mux refuses
		_, err := t.client.Enqueue(asynq.NewTask("seal:paint", ref.Payload()), asynq.TaskID(id), asynq.Queue(queueName), asynq.Timeout(time.Hour))
		require.NoError(t, err)
		return reach(jobs.TaskArchived)
	default:
		t.enqueue(q, ref)
	}
	switch name {
	case "deleted by hand":
		byHand(t.mon.DeleteTask(queueName, id))
	case "archived by hand":
		byHand(t.mon.ArchiveTask(queueName, id))
	case "archived and run by hand":
		byHand(t.mon.ArchiveTask(queueName, id))
		byHand(t.mon.RunTask(queueName, id))
	case "retry":
		return reach(jobs.TaskRetry)
	case "retry, archived by hand":
		reach(jobs.TaskRetry)
		byHand(t.mon.ArchiveTask(queueName, id))
	case "active":
		return reach(jobs.TaskActive)
	case "active, its worker dead":
		reach(jobs.TaskActive)
		return jobs.TaskActiveDead // as the scheduler has it, which knows the heartbeats
	case "completed":
		return reach(jobs.TaskCompleted)
	}
	info, err := t.mon.GetTaskInfo(queueName, id)
	state := t.state(q, ref)
	if state == jobs.TaskAbsent {
		require.ErrorIs(t, err, asynq.ErrTaskNotFound)
	} else {
		require.NoError(t, err)
		require.Equal(t, info.State.String(), string(state), "the queues and asynqmon agree")
	}
	return state
}

// release lets new tasks of a sector wait or end quietly.
func (t *table) release(id jobs.SectorID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active[id], t.fails[id] = false, false
}
