package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// The exit codes, a contract with scripts.
const (
	exitOK       = 0
	exitFailure  = 1 // something went wrong
	exitUsage    = 2 // the command line or the configuration is wrong
	exitNotFound = 3 // there is no such sector, worker or file
	exitRefused  = 4 // the state does not allow it: a conflict, or a confirmation is missing
	exitDown     = 5 // Redis or the node cannot be reached
)

// codedError has an exit code and hints for a person.
type codedError struct {
	code  int
	err   error
	hints []string
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func usage(hint, format string, args ...any) error {
	return &codedError{exitUsage, fmt.Errorf(format, args...), []string{hint}}
}

func notFound(hint, format string, args ...any) error {
	return &codedError{exitNotFound, fmt.Errorf(format, args...), []string{hint}}
}

// unopened is the error of a file that a person named: it is not there, or cannot be read.
func unopened(hint string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return notFound(hint, "%w", err)
	}
	return err
}

func refused(hint, format string, args ...any) error {
	return &codedError{exitRefused, fmt.Errorf(format, args...), []string{hint}}
}

func down(hint string, err error) error { return &codedError{exitDown, err, []string{hint}} }

// exitCode is the one place where errors become codes.
func exitCode(err error) int {
	var coded *codedError
	var problem *configs.Problem
	var network *net.OpError
	var fault *jobs.Fault
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &problem):
		return exitUsage
	case errors.Is(err, sectors.ErrNotFound), errors.Is(err, sectors.ErrNoDeal):
		return exitNotFound
	case errors.Is(err, jobs.ErrRefused), errors.Is(err, jobs.ErrStale), errors.Is(err, sectors.ErrConflict), errors.Is(err, sectors.ErrExists), errors.Is(err, sectors.ErrNoSpace):
		return exitRefused
	case sectors.Collides(err):
		return exitRefused
	case errors.Is(err, syscall.EADDRINUSE):
		return exitRefused
	case errors.As(err, &network) && network.Op == "listen":
		return exitUsage
	case errors.As(err, &network), errors.Is(err, sectors.ErrUnknown), errors.Is(err, context.DeadlineExceeded):
		return exitDown
	case errors.As(err, &fault):
		return faultCode(fault)
	}
	return exitFailure
}

func faultCode(f *jobs.Fault) int {
	switch f.Class {
	case jobs.Transient:
		return exitDown
	case jobs.Busy, jobs.Funds, jobs.Rejected, jobs.Data, jobs.Deadline:
		return exitRefused
	}
	return exitFailure
}

// report tells a person what went wrong: one line for each error, hints under them.
func report(w io.Writer, err error) {
	if problems := configs.Problems(err); len(problems) > 0 {
		for _, p := range problems {
			fmt.Fprintf(w, "lpseal: %s\n", p)
		}
	} else {
		for line := range strings.SplitSeq(jobs.TextOf(err), "\n") {
			fmt.Fprintf(w, "lpseal: %s\n", line)
		}
	}
	for _, h := range hints(err) {
		if h != "" {
			fmt.Fprintf(w, "  hint: %s\n", h)
		}
	}
}

// hints are what a person can do: as the error says, or as its kind tells.
func hints(err error) []string {
	var coded *codedError
	var problem *configs.Problem
	var network *net.OpError
	switch {
	case errors.As(err, &coded):
		return coded.hints
	case errors.As(err, &problem):
		return []string{"lpseal config check repeats this test"}
	case errors.Is(err, sectors.ErrNotFound):
		return []string{"lpseal sectors list shows the sectors that there are"}
	case errors.Is(err, sectors.ErrNoDeal):
		return []string{"lpseal deals list shows those that wait, with --refused those that are refused"}
	case errors.Is(err, syscall.EADDRINUSE):
		return []string{"choose another address, or stop what listens there: ss -ltnp names it"}
	case errors.Is(err, fs.ErrPermission):
		return []string{"let this user read and write there (chown), or name another place"}
	case errors.As(err, &network) && network.Op == "listen":
		return []string{"write HOST:PORT with an address of this host, such as 127.0.0.1:8645"}
	}
	return nil
}
