//go:build !purego

package sdr

import "unsafe"

// prefetchBase asks for the labels of the base parents in a layer that starts at
// labels; prefetchExpander for those of the expander parents. A prefetch never faults.
//
//go:noescape
func prefetchBase(labels unsafe.Pointer, parents *[Parents]uint32)

//go:noescape
func prefetchExpander(labels unsafe.Pointer, parents *[Parents]uint32)
