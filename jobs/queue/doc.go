// Package queue is all of lpseal's dealings with asynq.
//
// Names, IDs, time limits and retries come from the stage table, so no task can be
// enqueued without them: [Queues.Enqueue] is the only way in. A task is a cheap
// wake-up that says which delivery of which stage of which sector is wanted; the
// truth is in the sector's record (design rules 1 and 2).
//
// [Queues.Serve] runs a lane, [Queues.ServeScheduler] the poller's own jobs, and
// [Queues.Maintenance] looks after queues whose servers died. All of them share one
// rule for errors: what a handler returns is trouble with the infrastructure, and
// spends no retry.
package queue
