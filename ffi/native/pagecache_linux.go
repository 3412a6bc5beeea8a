package native

import (
	"os"

	"golang.org/x/sys/unix"
)

// Errors of these are left to the sync that ends a file, which reports them, and to the
// read itself.

// startWriting starts bytes of a file on their way to the disk.
func startWriting(f *os.File, at, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), at, n, unix.SYNC_FILE_RANGE_WRITE)
}

// settle waits until bytes of a file are on disk; with drop, they are forgotten then.
func settle(f *os.File, at, n int64, drop bool) {
	_ = unix.SyncFileRange(int(f.Fd()), at, n, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	if drop {
		_ = unix.Fadvise(int(f.Fd()), at, n, unix.FADV_DONTNEED)
	}
}

// willRead asks for bytes of a file that are read soon.
func willRead(f *os.File, at, n int64) {
	_ = unix.Fadvise(int(f.Fd()), at, n, unix.FADV_WILLNEED)
}
