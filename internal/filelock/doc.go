// Package filelock locks files against other processes of this machine, and against
// whoever else in this process opened them.
//
// A lock is a flock: it belongs to the open file, not to a process or a path. The kernel
// lets go when the last open copy of that file is closed, however its holder ended, so
// no dead process keeps one and nothing has to be cleaned up: lock files stay. A child
// that inherits the open file holds the lock too.
//
// That is also why there are two ways to let go. Closing the file leaves the lock to
// the children that have it. [Release] ends it for all of them: a child that is just
// being forked, for whatever other purpose, has every file open until it execs, and
// would make a lock that was only closed look held for that moment.
//
// Linux and macOS, local file systems.
package filelock
