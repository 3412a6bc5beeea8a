package native

import (
	"context"
	"fmt"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/ffi/native/sha256mb"
	"github.com/lpseal/lpseal/jobs"
)

// VerifyVanilla checks C1's output against a seal with everything set: that it is
// for this seal and seed, opens exactly the challenges the seed asks for, and that
// every opening holds: data in CommD, replica and columns in CommR, each label
// hashed from its parents, the replica encoded from label and data. A nil error
// means what a SNARK of it would say; any changed byte is refused, with a fault of
// class Input that names the part.
func VerifyVanilla(s jobs.Seal, c1 []byte) error {
	r, err := newReplica(s)
	if err != nil {
		return fmt.Errorf("verify vanilla proof of %s: %w", s.ID, err)
	}
	v, err := r.verifier(s)
	if err != nil {
		return fmt.Errorf("verify vanilla proof of %s: %w", s.ID, err)
	}
	proof, err := parseVanilla(c1)
	if err != nil {
		return fmt.Errorf("verify vanilla proof of %s: %w", s.ID, err)
	}
	if err := v.proof(context.Background(), 1, proof); err != nil {
		return fmt.Errorf("verify vanilla proof of %s: %w", s.ID, err)
	}
	return nil
}

// verifier is what a vanilla proof must agree with.
type verifier struct {
	replica
	seed, commR node
	graph       *sdr.Graph
}

func (r replica) verifier(s jobs.Seal) (v verifier, err error) {
	v.replica = r
	if v.seed, err = random("seed", s.Seed); err != nil {
		return v, err
	}
	if v.commR, err = replicaCommitment(s.CommR); err != nil {
		return v, err
	}
	v.graph = v.replica.graph()
	return v, nil
}

// proof checks a proof with as many threads. What does not hold is a fault of class Input.
func (v verifier) proof(ctx context.Context, threads int, p *vanillaProof) error {
	if err := v.outline(p); err != nil {
		return jobs.Failf(jobs.Input, "%w", err)
	}
	challenges, partitions := v.challenges(v.seed, v.commR), p.Proofs[v.treeName()]
	return spread(ctx, threads, len(challenges), func() func(int) error {
		return func(at int) error {
			k, i, c := at/v.Challenges, at%v.Challenges, challenges[at]
			if err := v.challenge(&partitions[k][i], c); err != nil {
				return jobs.Failf(jobs.Input, "partition %d, challenge %d (node %d): %w", k, i, c, err)
			}
			return nil
		}
	})
}

// outline checks all but the openings.
func (v verifier) outline(p *vanillaProof) error {
	for _, is := range []struct {
		what      string
		got, want node
	}{
		{"comm_r", p.CommR, v.commR},
		{"comm_d", p.CommD, v.commD},
		{"replica_id", p.ReplicaID, v.id},
		{"seed", p.Seed, v.seed},
		{"ticket", p.Ticket, v.ticket},
	} {
		if is.got != is.want {
			return fmt.Errorf("%s is %x, want %x", is.what, is.got, is.want)
		}
	}
	if p.RegisteredProof != v.name() {
		return fmt.Errorf("registered_proof is %q, want %q", p.RegisteredProof, v.name())
	}
	partitions, ok := p.Proofs[v.treeName()]
	if !ok || len(p.Proofs) != 1 {
		return fmt.Errorf("vanilla_proofs are not of shape %s alone", v.treeName())
	}
	if len(partitions) != v.Partitions {
		return fmt.Errorf("%d partitions, want %d", len(partitions), v.Partitions)
	}
	for k, partition := range partitions {
		if len(partition) != v.Challenges {
			return fmt.Errorf("partition %d has %d challenges, want %d", k, len(partition), v.Challenges)
		}
	}
	return nil
}

func (v verifier) challenge(p *challengeProof, c uint64) error {
	commC, commRLast := p.Columns.Challenged.Inclusion.Root, p.CommR.Root
	if commR, err := poseidonHash(commC, commRLast); err != nil || commR != v.commR {
		return fmt.Errorf("the roots of tree-c and tree-r-last do not compose to CommR")
	}
	if err := v.forest().holds(&p.CommR, c, commRLast, poseidonHash); err != nil {
		return fmt.Errorf("tree-r-last: %w", err)
	}
	if err := v.columns(&p.Columns, c, commC); err != nil {
		return err
	}
	return v.hashed(p, c)
}

// hashed checks what SHA-256 binds: the data in CommD, and the labels.
func (v verifier) hashed(p *challengeProof, c uint64) error {
	data := forest{base: v.Shape.data()}
	if err := data.holds(&p.CommD, c, v.commD, shaNodes); err != nil {
		return fmt.Errorf("tree-d: %w", err)
	}
	return v.labels(p, c)
}

// columns checks the labels of the node and its parents against tree-c.
func (v verifier) columns(p *columns, c uint64, commC node) error {
	if len(p.Base) != sdr.BaseParents || len(p.Expander) != sdr.ExpanderParents {
		return fmt.Errorf("%d and %d parents", len(p.Base), len(p.Expander))
	}
	if err := v.column(&p.Challenged, uint32(c), commC); err != nil {
		return err
	}
	var parents [sdr.Parents]uint32
	v.graph.Parents(uint32(c), &parents)
	for i, column := range slices.Concat(p.Base, p.Expander) {
		if err := v.column(&column, parents[i], commC); err != nil {
			return fmt.Errorf("parent %d: %w", i, err)
		}
	}
	return nil
}

func (v verifier) column(p *columnProof, index uint32, commC node) error {
	if p.Column.Index != index {
		return fmt.Errorf("column of node %d, want %d", p.Column.Index, index)
	}
	if len(p.Column.Rows) != v.Layers {
		return fmt.Errorf("column of %d labels, want %d", len(p.Column.Rows), v.Layers)
	}
	hash, err := poseidonHash(p.Column.Rows...)
	if err != nil {
		return fmt.Errorf("column of node %d: %w", index, err)
	}
	if hash != p.Inclusion.Leaf {
		return fmt.Errorf("the labels of node %d are not those of its column", index)
	}
	if err := v.forest().holds(&p.Inclusion, uint64(index), commC, poseidonHash); err != nil {
		return fmt.Errorf("tree-c, node %d: %w", index, err)
	}
	return nil
}

// labels checks the node's label in every layer, and that the replica is the last
// one plus the data. That the columns are whole is checked before.
func (v verifier) labels(p *challengeProof, c uint64) error {
	if len(p.Labels) != v.Layers {
		return fmt.Errorf("%d labels, want %d", len(p.Labels), v.Layers)
	}
	labels := p.Columns.Challenged.Column.Rows
	for i, proof := range p.Labels {
		layer := i + 1
		if proof.Layer != layer || proof.Node != c || !slices.Equal(proof.Parents, p.Columns.parents(layer)) {
			return fmt.Errorf("layer %d: the label is not of this node and these parents", layer)
		}
		var msg [sdr.LabelParents * sdr.LabelSize]byte
		for k, parent := range proof.Parents {
			copy(msg[k*nodeSize:], parent[:])
		}
		if sdr.Label(v.id, layer, c, msg[:]) != labels[i] {
			return fmt.Errorf("layer %d: the label is not the hash of its parents", layer)
		}
	}
	last := p.Labels[v.Layers-1]
	if e := p.Encoding; e.Layer != last.Layer || e.Node != last.Node || !slices.Equal(e.Parents, last.Parents) {
		return fmt.Errorf("the encoding is not by the last layer's label")
	}
	key, data := labels[v.Layers-1], p.CommD.Leaf
	if _, err := fr.LittleEndian.Element((*[nodeSize]byte)(&data)); err != nil {
		return fmt.Errorf("the data is no field element: %w", err)
	}
	var replica node
	encode(replica[:], key[:], data[:])
	if replica != p.CommR.Leaf {
		return fmt.Errorf("the replica is not the label plus the data")
	}
	return nil
}

func shaNodes(nodes ...node) (out node, err error) {
	sha256mb.HashRow(out[:], slices.Concat(nodes[0][:], nodes[1][:]))
	return out, nil
}
