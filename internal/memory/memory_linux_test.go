package memory

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const (
	mib     = 1 << 20
	meminfo = "MemTotal:       1048576 kB\nMemFree:          10 kB\nMemAvailable:    524288 kB\n" // 1 GiB, of which half is free
	// unlimited is how version 1 says it.
	unlimited = "9223372036854771712\n"
)

// systemOf makes a machine of files.
func systemOf(files map[string]string) system {
	root := fstest.MapFS{"proc/meminfo": {Data: []byte(meminfo)}, "proc/vmstat": {Data: []byte("oom_kill_x 1\noom_kill 7\n")}}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return system{root}
}

func TestControlGroups(t *testing.T) {
	t.Parallel()
	const v1, v2 = "4:memory:/docker/ab\n1:cpu:/x\n0::/\n", "0::/system.slice/lpseal.service\n"
	for name, c := range map[string]struct {
		files            map[string]string
		total, available uint64
		kills            uint64
	}{
		"no control groups": {nil, 1024 * mib, 512 * mib, 7},
		"version 2": {map[string]string{
			"proc/self/cgroup": v2,
			"sys/fs/cgroup/system.slice/lpseal.service/memory.max":     "67108864\n",
			"sys/fs/cgroup/system.slice/lpseal.service/memory.current": "50331648\n",
			"sys/fs/cgroup/system.slice/lpseal.service/memory.stat":    "anon 1\nfile 33554432\nshmem 8388608\ninactive_file 16777216\nactive_file 8388608\n",
			"sys/fs/cgroup/system.slice/lpseal.service/memory.events":  "oom 5\noom_kill 3\n",
		}, 64 * mib, 40 * mib, 3}, // files in memory give way, but not those of a tmpfs
		"version 2, unlimited": {map[string]string{
			"proc/self/cgroup": v2,
			"sys/fs/cgroup/system.slice/lpseal.service/memory.max":     "max\n",
			"sys/fs/cgroup/system.slice/lpseal.service/memory.current": "50331648\n",
		}, 1024 * mib, 512 * mib, 7},
		"version 2, throttled before it is killed": {map[string]string{
			"proc/self/cgroup": v2,
			"sys/fs/cgroup/system.slice/lpseal.service/memory.max":     "67108864\n",
			"sys/fs/cgroup/system.slice/lpseal.service/memory.high":    "50331648\n",
			"sys/fs/cgroup/system.slice/lpseal.service/memory.current": "16777216\n",
			"sys/fs/cgroup/system.slice/memory.max":                    "max\n",
			"sys/fs/cgroup/system.slice/memory.high":                   "134217728\n",
			"sys/fs/cgroup/system.slice/memory.current":                "117440512\n",
		}, 48 * mib, 16 * mib, 7},
		"version 2, the slice above is full": {map[string]string{
			"proc/self/cgroup": v2,
			"sys/fs/cgroup/system.slice/lpseal.service/memory.max":     "67108864\n",
			"sys/fs/cgroup/system.slice/lpseal.service/memory.current": "0\n",
			"sys/fs/cgroup/system.slice/memory.max":                    "33554432\n",
			"sys/fs/cgroup/system.slice/memory.current":                "41943040\n", // for a moment it may have more
			"sys/fs/cgroup/system.slice/memory.stat":                   "inactive_file 0\n",
		}, 32 * mib, 0, 7},
		"version 1": {map[string]string{
			"proc/self/cgroup": v1,
			"sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes": "67108864\n",
			"sys/fs/cgroup/memory/docker/ab/memory.usage_in_bytes": "50331648\n",
			"sys/fs/cgroup/memory/docker/ab/memory.stat":           "inactive_file 1\ntotal_inactive_file 16777216\ntotal_active_file 8388608\n",
			"sys/fs/cgroup/memory/docker/ab/memory.oom_control":    "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":           unlimited,
			"sys/fs/cgroup/memory.max":                             "1\n", // of no controller
		}, 64 * mib, 40 * mib, 2},
		"version 1, of a container that sees its group as the root": {map[string]string{
			"proc/self/cgroup":                           v1,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "134217728\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "67108864\n",
		}, 128 * mib, 64 * mib, 7},
		"version 1, with other controllers, unlimited": {map[string]string{
			"proc/self/cgroup": "2:cpu,memory:/a\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": unlimited,
			"sys/fs/cgroup/memory/a/memory.usage_in_bytes": "67108864\n",
		}, 1024 * mib, 512 * mib, 7},
		"a path out of what is shown, and lines that say nothing": {map[string]string{
			"proc/self/cgroup":         "\nx:y\n0::/../other\n",
			"sys/fs/cgroup/memory.max": "67108864\n",
		}, 64 * mib, 512 * mib, 7},
	} {
		s := systemOf(c.files)
		require.Equal(t, c.total, s.total(), name)
		available, known := s.available()
		require.True(t, known, name)
		require.Equal(t, c.available, available, name)
		require.Equal(t, c.kills, s.kills(), name)
	}
	_, known := system{fstest.MapFS{}}.available()
	require.False(t, known)
}

// TestHere: this machine has some memory, and can give no more than it has.
func TestHere(t *testing.T) {
	t.Parallel()
	free, known := Available()
	require.True(t, known)
	require.Positive(t, free)
	require.LessOrEqual(t, free, Total())
}
