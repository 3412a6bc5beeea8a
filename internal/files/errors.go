package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

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
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return jobs.Failf(jobs.Busy, "%s: no space left: %w; free space, raise the quota or lower MaxStorage in %s", what, err, MetaFile)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return jobs.Failf(jobs.Busy, "%s: not permitted: %w; let the user lpseal runs as read and write there (chown, or mount it writable)", what, err)
	case errors.Is(err, fs.ErrNotExist):
		f := jobs.Failf(jobs.Input, "%s: %w", what, err)
		f.Missing = true
		return f
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return jobs.Failf(jobs.Transient, "%s: %w; look at the disk and at the limit of open files", what, err)
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
