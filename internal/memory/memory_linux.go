package memory

import (
	"bufio"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Total is the machine's RAM in bytes, or what a control group may have of it; 0 is not known.
func Total() uint64 { return here.total() }

// Available is how many bytes could be taken without swapping; known says whether that is known.
func Available() (bytes uint64, known bool) { return here.available() }

// Kills counts the processes that the kernel has killed for memory, in this control group
// where it can be told and else on the whole machine.
func Kills() uint64 { return here.kills() }

// system is where a Linux machine shows itself. Tests make others.
type system struct{ root fs.FS }

var here = system{os.DirFS("/")}

func (s system) total() uint64 {
	all, _ := s.meminfo("MemTotal")
	for _, g := range s.groups() {
		if limit, ok := g.limit(); ok {
			all = min(all, limit)
		}
	}
	return all
}

func (s system) available() (bytes uint64, known bool) {
	bytes, known = s.meminfo("MemAvailable")
	for _, g := range s.groups() {
		limit, limited := g.limit()
		taken, ok := g.taken()
		if limited && ok {
			bytes = min(bytes, limit-min(limit, taken))
		}
	}
	return bytes, known
}

func (s system) kills() uint64 {
	for _, g := range s.groups() {
		if n, ok := s.counter(path.Join(g.dir, g.files.events), "oom_kill"); ok {
			return n
		}
	}
	n, _ := s.counter("proc/vmstat", "oom_kill")
	return n
}

// meminfo reads a line of /proc/meminfo, in bytes.
func (s system) meminfo(name string) (bytes uint64, ok bool) {
	kib, ok := s.counter("proc/meminfo", name+":")
	return kib << 10, ok
}

// group is a control group's folder, and what the files there are called.
type group struct {
	system
	dir   string
	files *groupFiles
}

// groupFiles are those of one version of control groups. inactive and active are the names
// in stat of files in memory: they count as taken, and yet give way. What is not backed by
// a file system's disk, such as tmpfs, is in neither.
type groupFiles struct {
	limits                                []string
	usage, stat, inactive, active, events string
}

var (
	version1 = &groupFiles{[]string{"memory.limit_in_bytes"}, "memory.usage_in_bytes", "memory.stat", "total_inactive_file", "total_active_file", "memory.oom_control"}
	version2 = &groupFiles{[]string{"memory.max", "memory.high"}, "memory.current", "memory.stat", "inactive_file", "active_file", "memory.events"}
)

// groups are this process's control group and those above it, whose limits hold too. A
// container may name a group by a path that it cannot see, whose folder is what it sees as
// the root: folders that are not there have no limit.
func (s system) groups() (out []group) {
	b, err := fs.ReadFile(s.root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	mount, own, files := "sys/fs/cgroup", "", version2
	for line := range strings.Lines(string(b)) {
		// hierarchy:controllers:path; both versions may be there, and the one with the controller counts.
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 {
			continue
		}
		if slices.Contains(strings.Split(f[1], ","), "memory") {
			mount, own, files = "sys/fs/cgroup/memory", f[2], version1
			break
		}
		if f[0] == "0" {
			own = f[2]
		}
	}
	for own = path.Clean("/" + own); ; own = path.Dir(own) {
		out = append(out, group{s, path.Join(mount, own), files})
		if own == "/" {
			return out
		}
	}
}

// limit is what the group may have, in bytes. Above memory.max the kernel kills, and above
// memory.high it has the processes crawl, which is no better for a proof. Version 1 says
// "unlimited" by a number larger than any machine's memory.
func (g group) limit() (bytes uint64, ok bool) {
	for _, name := range g.files.limits {
		if n, limited := g.number(name); limited && (!ok || n < bytes) {
			bytes, ok = n, true
		}
	}
	return bytes, ok
}

// taken is what the group has and would not give way, in bytes.
func (g group) taken() (bytes uint64, ok bool) {
	bytes, ok = g.number(g.files.usage)
	for _, name := range []string{g.files.inactive, g.files.active} {
		cached, _ := g.counter(path.Join(g.dir, g.files.stat), name)
		bytes -= min(bytes, cached)
	}
	return bytes, ok
}

// number reads a file of one number; "max" and a file that is not there are none.
func (g group) number(name string) (uint64, bool) {
	b, err := fs.ReadFile(g.root, path.Join(g.dir, name))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// counter reads a named number, which begins a line of a file.
func (s system) counter(file, name string) (uint64, bool) {
	f, err := s.root.Open(file)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == name {
			n, err := strconv.ParseUint(words[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
