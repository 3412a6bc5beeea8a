//go:build unix

package chain

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile refuses a second holder, in this process or another; the lock ends with the file.
func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errors.New("another process holds it")
	}
	return err
}
