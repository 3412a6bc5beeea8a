//go:build !linux

package sdr

// StayOnCores does nothing: only Linux lets a thread choose its processors.
func StayOnCores() (undo func()) { return func() {} }
