package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld says that another open file has the lock.
var ErrHeld = errors.New("another process holds it")

// Mode is whom a lock keeps out.
type Mode int

// The modes: any number of holders share a file, or one has it alone.
const (
	Shared    Mode = unix.LOCK_SH
	Exclusive Mode = unix.LOCK_EX
)

// Lock locks an open file without waiting. [ErrHeld] leaves the file open and unlocked.
func Lock(f *os.File, mode Mode) error {
	for {
		err := unix.Flock(int(f.Fd()), int(mode)|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", f.Name(), ErrHeld)
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("lock %s: %w (locks need a local file system)", f.Name(), err)
		}
	}
}

// Try opens the file at path, which it makes if need be, and locks it without waiting.
// The error is [ErrHeld] where that would be needed.
func Try(path string, mode Mode) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := Lock(f, mode); err != nil {
		_ = f.Close() // opened to be locked, nothing was written
		return nil, err
	}
	return f, nil
}

// A lock is looked at again soon at first, for most are held for as long as a small file
// takes to write, and then less often: a build takes minutes.
const (
	firstLook = time.Millisecond
	slowLook  = 100 * time.Millisecond
)

// Wait is [Try] that waits until the lock is free or ctx ends, whose cause it then
// returns. It does not ask the kernel to wait: a call that does cannot be called off.
// Those who wait are served in no order.
func Wait(ctx context.Context, path string, mode Mode) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for pause := firstLook; ; pause = min(2*pause, slowLook) {
		err := Lock(f, mode)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, ErrHeld) {
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		_ = f.Close() // opened to be locked, nothing was written
		return nil, err
	}
}

// Release unlocks a file for this process and every other one that has it open by
// inheritance, and closes it.
func Release(f *os.File) {
	_ = unix.Flock(int(f.Fd()), unix.LOCK_UN) // fails only where nothing is locked
	_ = f.Close()
}
