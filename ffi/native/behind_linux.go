package native

import "golang.org/x/sys/unix"

// settle starts the bytes up to n on their way, waits for those that were started before,
// and forgets them. Errors are left to the sync that ends the file, which reports them.
func (b *writeBehind) settle(n int64) {
	fd := int(b.file.Fd())
	_ = unix.SyncFileRange(fd, b.started, n-b.started, unix.SYNC_FILE_RANGE_WRITE)
	if b.started == b.settled {
		return
	}
	_ = unix.SyncFileRange(fd, b.settled, b.started-b.settled, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	if b.drop {
		_ = unix.Fadvise(fd, b.settled, b.started-b.settled, unix.FADV_DONTNEED)
	}
}
