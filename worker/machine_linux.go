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
	if n, ok := counter(cgroupFile("memory.events"), "oom_kill"); ok {
		return n
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

// hostMemory is the machine's RAM in bytes, or what its control group may have of it.
func hostMemory() uint64 {
	all := meminfo("MemTotal")
	if most, ok := number(cgroupFile("memory.max")); ok {
		all = min(all, most)
	}
	return all
}

// availableMemory is how much the system could give without swapping; 0 is not known.
func availableMemory() uint64 {
	free := meminfo("MemAvailable")
	most, ok := number(cgroupFile("memory.max"))
	taken, known := number(cgroupFile("memory.current"))
	if ok && known {
		cached, _ := counter(cgroupFile("memory.stat"), "inactive_file")
		free = min(free, most-min(most, taken-min(taken, cached)))
	}
	return free
}

// meminfo reads a line of /proc/meminfo, in bytes.
func meminfo(name string) uint64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 53)
			return n << 10
		}
	}
	return 0
}

// number reads a file of one number; "max" and a file that is not there are none.
func number(path string) (uint64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// cgroupRoot is where control groups are mounted.
var cgroupRoot = "/sys/fs/cgroup"

// cgroupFile is a file of this process' control group (version 2), or of the
// container's root where the group's own path is not shown.
func cgroupFile(name string) string {
	root := cgroupRoot
	if b, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		for line := range strings.Lines(string(b)) {
			if group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
				return filepath.Join(root, group, name)
			}
		}
	}
	return filepath.Join(root, name)
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
