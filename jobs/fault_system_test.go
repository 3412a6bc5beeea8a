package jobs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSystemFaults(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]struct {
		class   FaultClass
		missing bool
		text    string
	}{
		syscall.ENOSPC: {Busy, false, "add a path"},
		syscall.EDQUOT: {Busy, false, "raise the quota"},
		syscall.EFBIG:  {Busy, false, "ulimit -f"},
		syscall.ENOMEM: {Busy, false, "more memory"},
		syscall.EAGAIN: {Busy, false, "ulimit -u"},
		syscall.EMFILE: {Busy, false, "ulimit -n"},
		syscall.ENFILE: {Busy, false, "ulimit -n"},
		syscall.EACCES: {Busy, false, "chown"},
		syscall.EPERM:  {Busy, false, "chown"},
		syscall.EROFS:  {Busy, false, "writable"},
		syscall.EIO:    {Transient, false, "look at the disk"},
		syscall.ESTALE: {Transient, false, "look at the disk"},
		syscall.ENOENT: {Input, true, "/d/layer"},
		fs.ErrNotExist: {Input, true, "/d/layer"},
	} {
		f := SystemFault(fmt.Errorf("write: %w", &os.PathError{Op: "write", Path: "/d/layer", Err: err}))
		require.NotNil(t, f, err)
		require.Equal(t, want.class, f.Class, err)
		require.Equal(t, want.missing, f.Missing, err)
		require.Contains(t, f.Text, want.text)
		require.Contains(t, f.Text, "write /d/layer: "+err.Error())
	}
	require.Nil(t, SystemFault(errors.New("no space left on device")), "what it says is nobody's word")
	require.Nil(t, SystemFault(syscall.EINVAL))
	require.Nil(t, SystemFault(nil))
}

func TestShortageIn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Os { code: 28, message: \"No space left on device\" }":                        "the disk is full",
		"Disk quota exceeded (os error 122)":                                           "the disk is full",
		"failed to write layer data: File too large (os error 27)":                     "a file reached the limit of this host",
		"fatal error: runtime: out of memory":                                          "no memory is left",
		"memory allocation of 68719476736 bytes failed":                                "no memory is left",
		"could not mmap: Cannot allocate memory (os error 12)":                         "no memory is left",
		"runtime/cgo: pthread_create failed: Resource temporarily unavailable":         "no thread could be started",
		"runtime: failed to create new OS thread (have 5 already; errno=11)":           "no thread could be started",
		"Too many open files (os error 24)":                                            "too many files are open",
		"permission denied":                                                            "",
		"panic: runtime error: index out of range [5] with length 3, all is in memory": "",
	} {
		what, remedy := ShortageIn(text)
		require.Equal(t, want, what, text)
		require.Equal(t, want == "", remedy == "", text)
	}
}
