package groth16

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// VerifyingKey is the public half of a circuit's parameters. It never changes after
// parsing and serves any number of goroutines.
type VerifyingKey struct {
	alpha              bls.G1Affine
	beta, gamma, delta bls.G2Affine
	ic                 []bls.G1Affine // one for the constant, then one for each input
}

// ParseVerifyingKey reads a .vk file: every point uncompressed, on the curve and in
// its subgroup, and not a byte more. Whether it is the key of the network's ceremony
// is for the caller to know: keys of the same circuit have the same file name.
func ParseVerifyingKey(file []byte) (*VerifyingKey, error) {
	r := reader{rest: file}
	vk := new(VerifyingKey)
	var prover bls.G1Affine // beta and delta in G1 are for the prover
	r.g1(&vk.alpha)
	r.g1(&prover)
	r.g2(&vk.beta)
	r.g2(&vk.gamma)
	r.g1(&prover)
	r.g2(&vk.delta)
	count := r.count()
	if r.err == nil && len(r.rest) != count*bls.SizeOfG1AffineUncompressed {
		r.err = fmt.Errorf("%d bytes left for %d input points", len(r.rest), count)
	}
	if r.err != nil {
		return nil, fmt.Errorf("parse verifying key: %w", r.err)
	}
	vk.ic = make([]bls.G1Affine, count)
	for i := range vk.ic {
		r.g1(&vk.ic[i])
	}
	if r.err != nil {
		return nil, fmt.Errorf("parse verifying key: %w", r.err)
	}
	if count == 0 {
		return nil, errors.New("parse verifying key: no input points")
	}
	return vk, nil
}

// Inputs is the number of public inputs that the circuit has.
func (vk *VerifyingKey) Inputs() int { return len(vk.ic) - 1 }

// Keys parses each verifying key once, whatever file it comes from: it keeps them by
// the SHA-256 of their bytes. The zero value is empty, and safe for any number of
// goroutines. It forgets nothing, so give it files of your own choice only.
type Keys struct{ parsed sync.Map }

// Parse is [ParseVerifyingKey], remembered.
func (k *Keys) Parse(file []byte) (*VerifyingKey, error) {
	digest := sha256.Sum256(file)
	if vk, ok := k.parsed.Load(digest); ok {
		return vk.(*VerifyingKey), nil
	}
	vk, err := ParseVerifyingKey(file)
	if err != nil {
		return nil, err
	}
	kept, _ := k.parsed.LoadOrStore(digest, vk)
	return kept.(*VerifyingKey), nil
}
