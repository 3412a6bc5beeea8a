package native

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// availableMemory is what a process can still take, in bytes: what the kernel says, and
// what the process's control group (version 2) leaves of its limit.
func availableMemory() (bytes uint64, known bool) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemAvailable:" {
			kib, err := strconv.ParseUint(f[1], 10, 64)
			bytes, known = kib<<10, err == nil
		}
	}
	if left, limited := groupMemory(); known && limited {
		bytes = min(bytes, left)
	}
	return bytes, known
}

// groupMemory is what is left of the limit of the control group. Files in memory count as
// used there, and yet give way: they are not counted here.
func groupMemory() (left uint64, limited bool) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	path, ok := strings.CutPrefix(strings.TrimSpace(string(own)), "0::")
	if !ok {
		return 0, false
	}
	number := func(file string) (uint64, error) {
		b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", path, file))
		if err != nil {
			return 0, err
		}
		return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	}
	limit, err := number("memory.max") // "max" is no number: no limit
	if err != nil {
		return 0, false
	}
	used, err := number("memory.current")
	if err != nil {
		return 0, false
	}
	stat, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", path, "memory.stat"))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(stat)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "file" {
			if files, err := strconv.ParseUint(f[1], 10, 64); err == nil {
				used -= min(used, files)
			}
		}
	}
	return limit - min(limit, used), true
}
