package jobs

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
)

// shortage is something that a machine runs out of: as the system says it, and in the words
// of libraries and runtimes that hand on texts alone.
type shortage struct {
	errs         []error
	words        []string // lower case
	what, remedy string
}

var shortages = []shortage{
	{[]error{syscall.ENOSPC, syscall.EDQUOT}, []string{"no space left on device", "disk quota exceeded"},
		"the disk is full", "free space, raise the quota or add a path"},
	{[]error{syscall.EFBIG}, []string{"file too large"},
		"a file reached the limit of this host", "raise ulimit -f"},
	{[]error{syscall.ENOMEM}, []string{"cannot allocate memory", "out of memory", "memory allocation of", "failed to lock memory"},
		"no memory is left", "give the lane less width or the machine more memory"},
	{[]error{syscall.EAGAIN}, []string{"resource temporarily unavailable", "failed to create new os thread"},
		"no thread could be started", "give the lane less width or the machine more memory, or raise ulimit -u"},
	{[]error{syscall.EMFILE, syscall.ENFILE}, []string{"too many open files"},
		"too many files are open", "raise ulimit -n"},
}

// ShortageIn finds in a text, such as the last words of a program or a library's error, what
// the machine ran out of; empty if it names nothing of the kind.
func ShortageIn(text string) (what, remedy string) {
	text = strings.ToLower(text)
	for _, s := range shortages {
		if slices.ContainsFunc(s.words, func(word string) bool { return strings.Contains(text, word) }) {
			return s.what, s.remedy
		}
	}
	return "", ""
}

// SystemFault classifies an error of the operating system; nil for any other. What is wrong
// with the machine burns no attempts, and a missing file may lie elsewhere.
func SystemFault(err error) *Fault {
	for _, s := range shortages {
		if slices.ContainsFunc(s.errs, func(e error) bool { return errors.Is(err, e) }) {
			return Failf(Busy, "%s: %w; %s", s.what, err, s.remedy)
		}
	}
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return Failf(Busy, "not permitted: %w; let the user lpseal runs as read and write there (chown, or mount it writable)", err)
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ESTALE):
		return Failf(Transient, "%w; look at the disk", err)
	case errors.Is(err, fs.ErrNotExist):
		f := Failf(Input, "%w", err)
		f.Missing = true
		return f
	}
	return nil
}
