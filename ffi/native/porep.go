package native

import (
	"errors"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/lpseal/lpseal/ffi/native/groth16"
	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/jobs"
)

// VerifyPoRep checks a Groth16 proof of an interactive PoRep, as the chain does: one
// SNARK for each partition, against public inputs derived from the seal alone, and all
// of them in one combined check.
func VerifyPoRep(vk *groth16.VerifyingKey, s jobs.Seal, proof []byte) error {
	if err := verifyPoRep(vk, s, proof); err != nil {
		return fmt.Errorf("verify PoRep of %s: %w", s.ID, err)
	}
	return nil
}

func verifyPoRep(vk *groth16.VerifyingKey, s jobs.Seal, proof []byte) error {
	r, err := newReplica(s)
	if err != nil {
		return err
	}
	seed, err := random("seed", s.Seed)
	if err != nil {
		return err
	}
	commR, err := replicaCommitment(s.CommR)
	if err != nil {
		return err
	}
	if want := r.Partitions * groth16.ProofSize; len(proof) != want {
		return jobs.Failf(jobs.Input, "the proof has %d bytes, want %d", len(proof), want)
	}
	inputs, err := r.publicInputs(seed, commR)
	if err != nil {
		return jobs.Failf(jobs.Input, "%w", err)
	}
	switch err := vk.Verify(proof, inputs...); {
	case errors.Is(err, groth16.ErrInvalid):
		return classified{jobs.Failf(jobs.Input, "%w", err), err}
	case err != nil:
		return jobs.Failf(jobs.Input, "%w", err)
	}
	return nil
}

// publicInputs gives, for each partition, what the circuit makes public: replica id
// and commitments, then for every challenge its place in tree-d, the parents, and its
// places in the column, tree-r-last and tree-c.
func (r replica) publicInputs(seed, commR node) ([][]fr.Element, error) {
	var common []fr.Element
	for _, n := range []node{r.id, r.commD, commR} {
		e, err := fr.LittleEndian.Element((*[nodeSize]byte)(&n))
		if err != nil {
			return nil, fmt.Errorf("%x is no field element: %w", n, err)
		}
		if e.IsZero() {
			return nil, errors.New("a commitment is zero")
		}
		common = append(common, e)
	}
	graph, challenges := r.graph(), r.challenges(seed, commR)
	partitions := make([][]fr.Element, r.Partitions)
	for k := range partitions {
		in := append([]fr.Element(nil), common...)
		add := func(n uint64) { in = append(in, fr.NewElement(n)) }
		for _, c := range challenges[k*r.Challenges:][:r.Challenges] {
			var parents [sdr.Parents]uint32
			graph.Parents(uint32(c), &parents)
			add(c)
			for _, p := range parents {
				add(uint64(p))
			}
			add(c)
			add(c)
			add(c)
		}
		partitions[k] = in
	}
	return partitions, nil
}
