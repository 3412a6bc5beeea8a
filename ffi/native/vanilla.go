package native

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/lpseal/lpseal/jobs"
)

// vanillaProof is the output of filecoin-ffi's SealCommitPhase1, field by field in
// its order: encoding it gives the same bytes.
type vanillaProof struct {
	RegisteredProof string                        `json:"registered_proof"`
	Proofs          map[string][][]challengeProof `json:"vanilla_proofs"` // by shape, partition, challenge
	CommR           node                          `json:"comm_r"`
	CommD           node                          `json:"comm_d"`
	ReplicaID       node                          `json:"replica_id"`
	Seed            node                          `json:"seed"`
	Ticket          node                          `json:"ticket"`
}

// challengeProof opens everything that one challenged node depends on.
type challengeProof struct {
	CommD    opening         `json:"comm_d_proofs"`
	CommR    opening         `json:"comm_r_last_proof"`
	Columns  columns         `json:"replica_column_proofs"`
	Labels   []labelingProof `json:"labeling_proofs"` // one a layer
	Encoding labelingProof   `json:"encoding_proof"`
}

type columns struct {
	Challenged columnProof   `json:"c_x"`
	Base       []columnProof `json:"drg_parents"`
	Expander   []columnProof `json:"exp_parents"`
}

// columnProof is a node's labels in all layers, and their place in tree-c.
type columnProof struct {
	Column struct {
		Index uint32 `json:"index"`
		Rows  []node `json:"rows"`
		Type  null   `json:"_h"`
	} `json:"column"`
	Inclusion opening `json:"inclusion_proof"`
}

// labelingProof is the parents that a label hashes, repeated as it hashes them.
type labelingProof struct {
	Parents []node `json:"parents"`
	Layer   int    `json:"layer_index"`
	Node    uint64 `json:"node"`
}

// null is a field that is always null in the JSON.
type null struct{}

// MarshalJSON writes null.
func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// MarshalJSON writes a node as a list of byte values.
func (n node) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 4*nodeSize+2)
	b = append(b, '[')
	for i, v := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(v), 10)
	}
	return append(b, ']'), nil
}

// encode gives filecoin-ffi's bytes.
func (v *vanillaProof) encode() ([]byte, error) { return json.Marshal(v) }

// parseVanilla reads a proof and refuses every encoding of it but the one that
// filecoin-ffi writes, so that two byte strings never mean the same proof.
func parseVanilla(c1 []byte) (*vanillaProof, error) {
	v := new(vanillaProof)
	if err := json.Unmarshal(c1, v); err != nil {
		return nil, jobs.Failf(jobs.Input, "vanilla proof: %w", err)
	}
	again, err := v.encode()
	if err != nil {
		return nil, jobs.Failf(jobs.Input, "vanilla proof: %w", err)
	}
	if !bytes.Equal(c1, again) {
		return nil, jobs.Failf(jobs.Input, "vanilla proof: not in the one encoding that filecoin-ffi writes")
	}
	return v, nil
}
