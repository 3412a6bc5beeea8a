package native

import "os"

// cacheWorth is the largest layer, in bytes, that is worth keeping in the system's memory
// for the stage that reads it: those of larger sectors would push out everything else and
// still not be there when they are read.
const cacheWorth = 1 << 30

// writeBehind has a file that is written in order go to disk while it is written, and not
// by the gigabyte when the system or a sync wants it.
type writeBehind struct {
	file    *os.File
	drop    bool  // forget what is on disk
	started int64 // bytes that are on their way
	settled int64 // bytes that are on disk
}

// behindPiece is how much is on its way at a time.
const behindPiece = 8 << 20

// reached tells that the first n bytes are written.
func (b *writeBehind) reached(n int64) {
	if n-b.started < behindPiece {
		return
	}
	b.settle(n)
	b.settled, b.started = b.started, n
}
