package sdr

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is what a huge page is aligned to: 2 MiB, on the CPUs that matter.
const hugePage = 2 << 20

// adviseHugePages asks for huge pages under buf. Parents lie anywhere in a layer, so with
// small pages nearly every one costs a walk through the page table. A kernel that has none
// refuses, which only costs time.
func adviseHugePages(buf []byte) {
	start := -int(uintptr(unsafe.Pointer(unsafe.SliceData(buf)))) & (hugePage - 1)
	if end := start + (len(buf)-start)&^(hugePage-1); end > start {
		_ = unix.Madvise(buf[start:end], unix.MADV_HUGEPAGE)
	}
}
