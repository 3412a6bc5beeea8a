package queue

import (
	"fmt"
	"log/slog"
	"strings"
)

// logger gives asynq's lines to slog. Its notes on starting and stopping are only
// of interest to who looks for them.
type logger struct{ log *slog.Logger }

func (l logger) Debug(args ...any) { l.log.Debug(fmt.Sprint(args...)) }
func (l logger) Info(args ...any)  { l.log.Debug(fmt.Sprint(args...)) }
func (l logger) Fatal(args ...any) { l.log.Error(fmt.Sprint(args...)) }

// Warn leaves to the error handler what it says better: that a task failed, and why.
func (l logger) Warn(args ...any) {
	text := fmt.Sprint(args...)
	if strings.HasPrefix(text, "revoke task id=") || strings.HasPrefix(text, "Retry exhausted for task id=") {
		l.log.Debug(text)
		return
	}
	l.log.Warn(text)
}

// Error says what went wrong, but for one thing that asynq takes for an error: its
// scheduler, when it stops, wants to close a client that is not its own.
func (l logger) Error(args ...any) {
	text := fmt.Sprint(args...)
	if strings.Contains(text, "redis connection is shared") {
		l.log.Debug(text)
		return
	}
	l.log.Error(text)
}
