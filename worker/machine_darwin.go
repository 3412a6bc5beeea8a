package worker

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// bootID tells two starts of the machine apart.
var bootID = sync.OnceValues(func() (string, error) {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return id, nil
})

// startTime is when a process started, in microseconds: with the boot id it tells
// a process from a later one of the same number.
func startTime(pid int) (uint64, error) {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0, fmt.Errorf("start time of process %d: %w", pid, err)
	}
	t := p.Proc.P_starttime
	return uint64(t.Sec)*1e6 + uint64(t.Usec), nil
}

// oomKills is always 0: macOS does not count them.
func oomKills() uint64 { return 0 }

// hostMemory is the machine's RAM in bytes.
func hostMemory() uint64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return n
}

// availableMemory is not known: macOS has no such figure.
func availableMemory() uint64 { return 0 }

// residentMemory is not asked for: availableMemory is not known either.
func residentMemory(int) uint64 { return 0 }
