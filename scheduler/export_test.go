package scheduler

import "context"

// Forgetful is what ForgetMessages wants of a chain client.
type Forgetful = forgetful

// ForgetMessages is the chore of that name.
func (s *Scheduler) ForgetMessages(ctx context.Context) error { return s.forgetMessages(ctx) }

// PollJob is the periodic job's handler.
func (s *Scheduler) PollJob(ctx context.Context) error { return s.pollJob(ctx) }
