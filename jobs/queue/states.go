package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

// asynq's keys, as v0.26 has them. Its Inspector reads one task or one queue at a
// time with scripts that slow down as a queue grows; a poll needs thousands at
// once. A test holds these against the Inspector.
const queuesKey = "asynq:queues"

func queueKey(queue, part string) string { return "asynq:{" + queue + "}:" + part }

// chunk bounds a pipeline.
const chunk = 500

// Ref is a task in the queue its record names.
type Ref struct {
	Task  fmt.Stringer // a [jobs.TaskRef] or [jobs.BatchRef]
	Queue string
}

// asynq gives whoever takes a task a lease of leaseLength, and renews the leases of
// what runs every 5 s. One that was not for as long as silence belongs to nobody who
// lives: the server was killed, or has lost Redis.
const (
	leaseLength = 30 * time.Second
	silence     = 15 * time.Second
)

// States reads what became of tasks, in order, in pipelines. A task that is not in
// its queue is [jobs.TaskAbsent]. An active one whose lease nobody renews is
// [jobs.TaskActiveDead]: sooner than the lease's end tells asynq. Of one that was
// claimed, record and heartbeats know more.
func (q *Queues) States(ctx context.Context, refs []Ref) ([]jobs.TaskState, error) {
	states := make([]jobs.TaskState, 0, len(refs))
	for part := range slices.Chunk(refs, chunk) {
		pipe := q.rdb.Pipeline()
		cmds := make([]*redis.StringCmd, len(part))
		for i, ref := range part {
			cmds[i] = pipe.HGet(ctx, queueKey(ref.Queue, "t:"+ref.Task.String()), "state")
		}
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("read the states of %d tasks: %w", len(refs), err)
		}
		for i, cmd := range cmds {
			state, err := cmd.Result()
			switch {
			case errors.Is(err, redis.Nil):
				states = append(states, jobs.TaskAbsent)
			case err != nil:
				return nil, fmt.Errorf("read the state of %s: %w", part[i].Task, err)
			case !slices.Contains(jobs.TaskStates, jobs.TaskState(state)):
				return nil, fmt.Errorf("read the state of %s: asynq says %q, which lpseal does not know", part[i].Task, state)
			default:
				states = append(states, jobs.TaskState(state))
			}
		}
	}
	return states, q.findAbandoned(ctx, refs, states)
}

// findAbandoned tells active tasks apart by their leases. They are few: as many as
// lanes are wide. One without a lease is [Queues.DropOrphans]'s.
func (q *Queues) findAbandoned(ctx context.Context, refs []Ref, states []jobs.TaskState) error {
	pipe := q.rdb.Pipeline()
	ends := map[int]*redis.FloatCmd{}
	for i, state := range states {
		if state == jobs.TaskActive {
			ends[i] = pipe.ZScore(ctx, queueKey(refs[i].Queue, "lease"), refs[i].Task.String())
		}
	}
	if len(ends) == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read the leases of %d tasks: %w", len(ends), err)
	}
	alive := float64(time.Now().Add(leaseLength - silence).Unix())
	for i, cmd := range ends {
		if end, err := cmd.Result(); err == nil && end < alive {
			states[i] = jobs.TaskActiveDead
		}
	}
	return nil
}

// Names lists every queue that ever had a task.
func (q *Queues) Names(ctx context.Context) ([]string, error) {
	names, err := q.rdb.SMembers(ctx, queuesKey).Result()
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// Load counts the tasks that wait or run, by queue.
func (q *Queues) Load(ctx context.Context) (map[string]int, error) {
	names, err := q.Names(ctx)
	if err != nil || len(names) == 0 {
		return map[string]int{}, err
	}
	pipe := q.rdb.Pipeline()
	counts := map[string][]*redis.IntCmd{}
	for _, name := range names {
		counts[name] = []*redis.IntCmd{
			pipe.LLen(ctx, queueKey(name, "pending")), pipe.LLen(ctx, queueKey(name, "active")),
			pipe.ZCard(ctx, queueKey(name, "scheduled")), pipe.ZCard(ctx, queueKey(name, "retry")),
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("count tasks of %d queues: %w", len(names), err)
	}
	load := make(map[string]int, len(names))
	for name, cmds := range counts {
		for _, cmd := range cmds {
			load[name] += int(cmd.Val())
		}
	}
	return load, nil
}
