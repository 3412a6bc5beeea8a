package sdr

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const processors = "/sys/devices/system/cpu/"

// StayOnCores keeps the calling goroutine, until undo, on the processors that share a
// third-level cache with the one it runs on: the parents fetched ahead, and the lately
// made labels, are there. Which of them is left to the kernel, who knows what else runs.
// It does nothing where the process was given a set of processors: that is a choice.
func StayOnCores() (undo func()) {
	runtime.LockOSThread()
	var given unix.CPUSet
	if err := unix.SchedGetaffinity(0, &given); err != nil {
		return runtime.UnlockOSThread
	}
	group, err := cacheGroup()
	online, onlineErr := coresIn(processors + "online")
	if err != nil || onlineErr != nil || !worthStaying(given.Count(), online.Count(), group.Count()) {
		return runtime.UnlockOSThread
	}
	if err := unix.SchedSetaffinity(0, &group); err != nil {
		return runtime.UnlockOSThread
	}
	return func() {
		if unix.SchedSetaffinity(0, &given) == nil {
			runtime.UnlockOSThread() // else the thread ends with its goroutine
		}
	}
}

// cacheGroup gives the processors that share a third-level cache with this one.
func cacheGroup() (unix.CPUSet, error) {
	var cpu uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		return unix.CPUSet{}, fmt.Errorf("getcpu: %w", errno)
	}
	return coresIn(fmt.Sprintf("%scpu%d/cache/index3/shared_cpu_list", processors, cpu))
}

func coresIn(path string) (set unix.CPUSet, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return set, err
	}
	cores, err := parseCores(string(b))
	for _, c := range cores {
		set.Set(c)
	}
	return set, err
}
