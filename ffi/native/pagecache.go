package native

import "os"

// What is written starts on its way to the disk at once, and what will be read is asked for
// ahead: the disk works while the processors do, and a sync at the end finds little to do.

// cacheWorth is the largest layer, in bytes, that is worth keeping in the system's memory
// for the stage that reads it: those of larger sectors would push out everything else and
// still not be there when they are read.
const cacheWorth = 1 << 30

// worthStarting is the least that is started on its way by itself.
const worthStarting = 64 << 10

// writeBehind bounds what a file that is written in order has in the system's memory.
type writeBehind struct {
	file    *os.File
	drop    bool // forget what is on disk
	mark    int64
	settled int64 // bytes that are on disk
}

// behindPiece is how much is on its way at a time.
const behindPiece = 8 << 20

// reached tells that the first n bytes are written and on their way. It waits for those
// before the last piece.
func (b *writeBehind) reached(n int64) {
	if n-b.mark < behindPiece {
		return
	}
	if b.mark > b.settled {
		settle(b.file, b.settled, b.mark-b.settled, b.drop)
	}
	b.settled, b.mark = b.mark, n
}
