package memory

import "golang.org/x/sys/unix"

// Total is the machine's RAM in bytes; 0 is not known.
func Total() uint64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return n
}

// Available is not known: macOS has no such figure.
func Available() (bytes uint64, known bool) { return 0, false }

// Kills is always 0: macOS does not count them.
func Kills() uint64 { return 0 }
