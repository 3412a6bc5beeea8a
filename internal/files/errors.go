package files

import (
	"context"
	"errors"
	"fmt"

	"github.com/lpseal/lpseal/jobs"
)

// Classify turns an error of the file system into one whose class the poller has a
// remedy for (design §5); what says what was being done. The classes tell what is
// wrong with the machine, which a retry does not burn attempts on, from what is
// wrong with the sector. An error it does not know keeps no class.
func Classify(err error, what string) error {
	var fault *jobs.Fault
	switch {
	case err == nil:
		return nil
	case errors.As(err, &fault), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", what, err)
	}
	if f := jobs.SystemFault(err); f != nil {
		f.Text = what + ": " + f.Text
		return f
	}
	return fmt.Errorf("%s: %w", what, err)
}

// blame names the operation and the sector in what a method returns.
func blame(err *error, op string, id jobs.SectorID) {
	if *err != nil {
		*err = Classify(*err, op+" "+id.String())
	}
}

// missing is an input that may lie elsewhere: recover_locate looks for it.
func missing(format string, args ...any) error {
	f := jobs.Failf(jobs.Input, format, args...)
	f.Missing = true
	return f
}
