package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

// retention keeps completed tasks visible for a day. Their IDs stay taken for as
// long, which is right: a delivery never comes back.
const retention = 24 * time.Hour

// The poller's own jobs, on [jobs.SchedulerQueue].
const (
	PollType    = "poll"
	AdvanceType = "advance"
)

// Queues enqueues tasks and reads what became of them.
type Queues struct {
	rdb       redis.UniversalClient
	client    *asynq.Client
	inspector *asynq.Inspector
}

// New makes queues on a client, which the caller closes.
func New(rdb redis.UniversalClient) *Queues {
	return &Queues{
		rdb:       rdb,
		client:    asynq.NewClientFromRedisClient(rdb),
		inspector: asynq.NewInspectorFromRedisClient(rdb),
	}
}

// Enqueue puts a task on a queue, with everything the stage's row says. A task of
// this ID that is there already, in any state, is success: an earlier try may have
// put it there, and the poller reads what became of it.
func (q *Queues) Enqueue(ctx context.Context, to jobs.Queue, t jobs.TaskRef) error {
	row := jobs.RowOf(t.Stage)
	if row == nil {
		return fmt.Errorf("enqueue %s: %q is not a stage", t, t.Stage)
	}
	return q.enqueue(ctx, to, row, t.String(), t.Payload())
}

// EnqueueBatch puts a batch's task on queue chain, as Enqueue does a sector's.
func (q *Queues) EnqueueBatch(ctx context.Context, t jobs.BatchRef) error {
	row := jobs.RowOf(t.Stage)
	if row == nil || !row.Batched() {
		return fmt.Errorf("enqueue %s: %q is not a stage with batches", t, t.Stage)
	}
	return q.enqueue(ctx, jobs.Queue{Class: jobs.ClassChain}, row, t.String(), t.Payload())
}

func (q *Queues) enqueue(ctx context.Context, to jobs.Queue, row *jobs.Row, id string, payload []byte) error {
	_, err := q.client.EnqueueContext(ctx, asynq.NewTask(row.Stage.TaskType(), payload),
		asynq.TaskID(id), asynq.Queue(to.String()),
		asynq.Timeout(row.Timeout), asynq.MaxRetry(row.MaxRetry), asynq.Retention(retention))
	if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
		return fmt.Errorf("enqueue %s on %s: %w", id, to, err)
	}
	return nil
}

// advance is the payload of an advance task.
type advance struct {
	Sector  jobs.SectorID `json:"sector"`
	Version int64         `json:"version"`
}

// Advance asks a scheduler to look at a sector now. The record's version is part of
// the task's ID, so many who ask are one. It is a short cut only: the poll does the
// same a little later.
func (q *Queues) Advance(ctx context.Context, id jobs.SectorID, version int64) error {
	payload, err := json.Marshal(advance{id, version})
	if err != nil {
		return fmt.Errorf("advance %s: %w", id, err)
	}
	_, err = q.client.EnqueueContext(ctx, asynq.NewTask(AdvanceType, payload),
		asynq.TaskID(fmt.Sprintf("%s.v%d", id, version)), asynq.Queue(jobs.SchedulerQueue),
		asynq.Timeout(advanceTimeout), asynq.MaxRetry(0))
	if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
		return fmt.Errorf("advance %s: %w", id, err)
	}
	return nil
}

// Cancel ends the context of a task's handler, wherever it runs. It is a message
// that may be lost, and asynq will retry the task: to stop work for good, raise the
// record's fence.
func (q *Queues) Cancel(_ context.Context, _ string, t jobs.TaskRef) error {
	if err := q.inspector.CancelProcessing(t.String()); err != nil {
		return fmt.Errorf("cancel %s: %w", t, err)
	}
	return nil
}

// Delete takes a task out of its queue. One that is absent is success; one that is
// active cannot be deleted, which is an error.
func (q *Queues) Delete(_ context.Context, queue string, t jobs.TaskRef) error {
	err := q.inspector.DeleteTask(queue, t.String())
	if err != nil && !errors.Is(err, asynq.ErrTaskNotFound) && !errors.Is(err, asynq.ErrQueueNotFound) {
		return fmt.Errorf("delete %s from %s: %w", t, queue, err)
	}
	return nil
}

// Close ends the use of the queues. It leaves the client open, which its maker
// closes.
func (q *Queues) Close() error { return nil }
