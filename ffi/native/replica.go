package native

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/jobs"
)

// node is a tree node, a label, a commitment or a random value.
type node [nodeSize]byte

// replica is a seal with what follows from it.
type replica struct {
	spec
	ticket node
	commD  node
	id     node // what binds labels to sector, ticket and data
}

// newReplica derives the replica of a seal.
func newReplica(s jobs.Seal) (replica, error) {
	spec, err := interactive(s.Proof)
	if err != nil {
		return replica{}, err
	}
	return spec.replica(s)
}

// replica checks ID, Ticket and CommD of the seal, and derives.
func (s spec) replica(seal jobs.Seal) (r replica, err error) {
	r.spec = s
	if r.ticket, err = random("ticket", seal.Ticket); err != nil {
		return r, err
	}
	if r.commD, err = dataCommitment(seal.CommD); err != nil {
		return r, err
	}
	if r.id, err = seal.ReplicaID(); err != nil {
		return r, jobs.Failf(jobs.Bug, "%w", err)
	}
	return r, nil
}

func (r replica) graph() *sdr.Graph {
	return sdr.NewGraph(r.porepID(), r.Nodes(), r.version == v1)
}

// challenges are the nodes that seed asks to open, partition after partition. Node 0
// is never among them.
func (r replica) challenges(seed, commR node) []uint64 {
	if r.synthetic() {
		return r.syntheticSet(commR).selected(seed, r.Challenges*r.Partitions)
	}
	var msg [2*nodeSize + 4]byte
	copy(msg[:], r.id[:])
	copy(msg[nodeSize:], seed[:])
	out := make([]uint64, r.Challenges*r.Partitions)
	for j := range out {
		binary.LittleEndian.PutUint32(msg[2*nodeSize:], uint32(j))
		h := sha256.Sum256(msg[:])
		out[j] = modulo(h, uint64(r.Nodes()-1)) + 1
	}
	return out
}

// random takes 32 bytes of chain randomness; all zeros are a caller's mistake.
func random(what string, b []byte) (n node, err error) {
	if len(b) != nodeSize || node(b) == (node{}) {
		return n, jobs.Failf(jobs.Bug, "the %s is %x, want %d bytes that are not all zero", what, b, nodeSize)
	}
	return node(b), nil
}

func dataCommitment(c cid.Cid) (node, error) {
	b, err := commcid.CIDToDataCommitmentV1(c)
	if err != nil {
		return node{}, jobs.Failf(jobs.Bug, "CommD %s: %w", c, err)
	}
	return node(b), nil
}

func replicaCommitment(c cid.Cid) (node, error) {
	b, err := commcid.CIDToReplicaCommitmentV1(c)
	if err != nil {
		return node{}, jobs.Failf(jobs.Bug, "CommR %s: %w", c, err)
	}
	return node(b), nil
}

func dataCID(n node) (cid.Cid, error) {
	c, err := commcid.DataCommitmentV1ToCID(n[:])
	if err != nil {
		return cid.Undef, fmt.Errorf("CID of data commitment %x: %w", n, err)
	}
	return c, nil
}

func replicaCID(n node) (cid.Cid, error) {
	c, err := commcid.ReplicaCommitmentV1ToCID(n[:])
	if err != nil {
		return cid.Undef, fmt.Errorf("CID of replica commitment %x: %w", n, err)
	}
	return c, nil
}
