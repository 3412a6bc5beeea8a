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

// residentMemory is not asked for: what is available is not known either.
func residentMemory(int) uint64 { return 0 }
