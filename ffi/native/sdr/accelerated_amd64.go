//go:build !purego

package sdr

import "github.com/klauspost/cpuid/v2"

//go:generate go run -C ../../../tools ./sha256asm -of labels -pkg sdr -out ../ffi/native/sdr/label_amd64.s -stubs ../ffi/native/sdr/label_amd64.go

// extensions says whether this CPU has what the assembly needs.
var extensions = cpuid.CPU.Supports(cpuid.SHA, cpuid.AVX)

// Width is how many sectors in lockstep make the best use of a core: with the SHA
// extensions the rounds of two take little longer than those of one.
func Width() int {
	if extensions {
		return 2
	}
	return 1
}

// callNodes bounds what is labelled without a chance for Go's scheduler to stop the
// goroutine: about a millisecond.
const callNodes = 1 << 10

// accelerated labels a window if this CPU and the number of sectors allow.
func (l *Labeler) accelerated(w window) bool {
	if !extensions || l.Sectors() > 2 {
		return false
	}
	if w.nodes() == 0 {
		return true
	}
	first, above := labelFirst1, labelAbove1
	if l.Sectors() == 2 {
		first, above = labelFirst2, labelAbove2
	}
	current, replicas, layer := &w.current[0], &l.replicas[0], uint64(w.layer)
	last := &w.parents[len(w.parents)-Parents]
	for done := 0; done < w.nodes(); done += callNodes {
		node, n := uint64(w.first+done), uint64(min(callNodes, w.nodes()-done))
		parents := &w.parents[Parents*done]
		if w.layer == 1 {
			first(current, parents, last, replicas, layer, node, n)
		} else {
			above(current, &w.previous[0], parents, last, replicas, layer, node, n)
		}
	}
	return true
}
