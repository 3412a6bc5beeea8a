package sdr

import (
	"crypto/sha256"
	"encoding/binary"
)

// LabelSize is the length of a label: a field element below 2^254, little-endian.
const LabelSize = 32

// LabelParents is how many labels one label hashes: the parents, repeated to 37.
const LabelParents = 37

// prefixSize is replica id, layer, node and zeros up to a whole SHA-256 block.
const prefixSize = 64

// message is what a label is the digest of. Node 0 has no parents.
type message [prefixSize + LabelParents*LabelSize]byte

// at sets layer and node.
func (m *message) at(layer int, node uint64) {
	binary.BigEndian.PutUint32(m[32:], uint32(layer))
	binary.BigEndian.PutUint64(m[36:], node)
}

// sum hashes the first n bytes.
func (m *message) sum(n int) [LabelSize]byte {
	h := sha256.Sum256(m[:n])
	h[LabelSize-1] &= 0x3f
	return h
}

// Label is the label of a node whose LabelParents parent labels are already in order
// and repeated, as [Repeat] gives them. Layers count from 1. Node 0 has no parents.
func Label(replicaID [32]byte, layer int, node uint64, parents []byte) [LabelSize]byte {
	var m message
	copy(m[:], replicaID[:])
	copy(m[prefixSize:], parents)
	m.at(layer, node)
	return m.sum(prefixSize + len(parents))
}

// Repeat gives the order in which a label hashes parents: base parents alone in
// layer 1, all of them above, again and again up to LabelParents.
func Repeat[T any](layer int, parents []T) []T {
	if layer == 1 {
		parents = parents[:BaseParents]
	}
	out := make([]T, LabelParents)
	for i := range out {
		out[i] = parents[i%len(parents)]
	}
	return out
}
