//go:build !purego

package sha256mb

import "github.com/klauspost/cpuid/v2"

//go:generate go run -C ../../../tools ./sha256asm -of nodes -pkg sha256mb -out ../ffi/native/sha256mb/nodes_amd64.s -stubs ../ffi/native/sha256mb/nodes_amd64.go

// extensions says whether this CPU has what the assembly needs.
var extensions = cpuid.CPU.Supports(cpuid.SHA, cpuid.AVX)

// hashTwos hashes nodes of dst two at a time, and says how many are done.
func hashTwos(dst, src []byte) int {
	twos := len(dst) / (2 * NodeSize)
	if twos == 0 || !extensions {
		return 0
	}
	hashPairs(&dst[0], &src[0], twos)
	return 2 * twos
}
