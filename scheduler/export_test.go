package scheduler

import "context"

// PollJob is the periodic job's handler.
func (s *Scheduler) PollJob(ctx context.Context) error { return s.pollJob(ctx) }
