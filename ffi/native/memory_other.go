//go:build !linux

package native

func availableMemory() (bytes uint64, known bool) { return 0, false }
