package sha256mb

import "crypto/sha256"

// NodeSize is the length of a tree node in bytes.
const NodeSize = sha256.Size

// pairSize is what one node of a row is the digest of.
const pairSize = 2 * NodeSize

// HashRow hashes each pair of nodes of src into one node of dst: one row of a binary
// tree into the row above. src must be twice as long as dst, and not overlap it.
func HashRow(dst, src []byte) {
	if len(src) != 2*len(dst) || len(dst)%NodeSize != 0 {
		panic("sha256mb: the row above does not match the row below")
	}
	done := hashTwos(dst, src)
	for i := done; i < len(dst)/NodeSize; i++ {
		h := sha256.Sum256(src[i*pairSize : (i+1)*pairSize])
		h[NodeSize-1] &= 0x3f
		copy(dst[i*NodeSize:], h[:])
	}
}
