package worker

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// bootID tells two starts of the machine apart.
var bootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
})

// startTime is when a process started, in clock ticks since boot: with the boot id
// it tells a process from a later one of the same number.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, fmt.Errorf("start time of process %d: %w", pid, err)
	}
	// The second field, the name in brackets, may hold anything; counted from its
	// end, the start time (field 22) is the 20th.
	rest := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(rest) < 20 {
		return 0, fmt.Errorf("start time of process %d: short stat %q", pid, b)
	}
	return strconv.ParseUint(rest[19], 10, 64)
}

// residentMemory is what the processes of a group have in memory, in bytes.
func residentMemory(group int) (total uint64) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is a good one
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// As for startTime: counted from the name's end, the group is the 3rd field and
		// the resident pages are the 22nd.
		rest := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(rest) < 22 || rest[2] != strconv.Itoa(group) {
			continue
		}
		pages, _ := strconv.ParseUint(rest[21], 10, 50)
		total += pages * uint64(os.Getpagesize())
	}
	return total
}
