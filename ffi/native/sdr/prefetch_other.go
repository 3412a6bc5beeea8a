//go:build !amd64 || purego

package sdr

import "unsafe"

func prefetchBase(unsafe.Pointer, *[Parents]uint32) {}

func prefetchExpander(unsafe.Pointer, *[Parents]uint32) {}
