package worker

import (
	"bufio"
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

// oomKills counts the processes that the kernel has killed for memory, in this
// control group where it can be told and else on the whole machine.
func oomKills() uint64 {
	if b, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		for line := range strings.Lines(string(b)) {
			if group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
				if n, ok := counter(filepath.Join("/sys/fs/cgroup", group, "memory.events"), "oom_kill"); ok {
					return n
				}
			}
		}
	}
	n, _ := counter("/proc/vmstat", "oom_kill")
	return n
}

func counter(path, name string) (uint64, bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			n, err := strconv.ParseUint(v, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
