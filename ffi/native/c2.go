package native

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/lpseal/lpseal/jobs"
)

// The layout of a tagged "proof", as long as a Groth16 proof of one partition.
const (
	tagSize    = 160
	taggedSize = tagSize + sha256.Size
)

// Tag stands in for a proof: [jobs.VanillaTag] padded with zeros to 160 bytes, then
// the SHA-256 of C1's output. It is no SNARK and convinces nobody without that output.
func Tag(c1 []byte) []byte {
	digest := sha256.Sum256(c1)
	return append(tagPrefix(), digest[:]...)
}

func tagPrefix() []byte {
	b := make([]byte, tagSize, taggedSize)
	copy(b, jobs.VanillaTag)
	return b
}

// IsTagged says whether proof is a tag and not a SNARK.
func IsTagged(proof []byte) bool {
	return len(proof) == taggedSize && bytes.HasPrefix(proof, tagPrefix())
}

// Digest gives the SHA-256 of the C1 output that a tagged proof names.
func Digest(proof []byte) (digest [sha256.Size]byte, ok bool) {
	if !IsTagged(proof) {
		return digest, false
	}
	return [sha256.Size]byte(proof[tagSize:]), true
}

// C2 tags C1's output. See [jobs.Prover] and [Tag].
func (*Prover) C2(_ context.Context, s jobs.Seal, c1 []byte) ([]byte, error) {
	if len(c1) == 0 {
		return nil, fmt.Errorf("c2 %s: %w", s.ID, jobs.Failf(jobs.Input, "the vanilla proof is empty"))
	}
	return Tag(c1), nil
}

// Verify checks that proof tags c1, and c1 itself. See [jobs.Prover].
func (*Prover) Verify(_ context.Context, s jobs.Seal, proof, c1 []byte) error {
	if !IsTagged(proof) {
		return fmt.Errorf("verify %s: %w", s.ID, jobs.Failf(jobs.Rejected, "the proof is not one of the native prover"))
	}
	if !bytes.Equal(proof, Tag(c1)) {
		return fmt.Errorf("verify %s: %w", s.ID, jobs.Failf(jobs.Input, "the proof was made from another vanilla proof"))
	}
	return VerifyVanilla(s, c1)
}
