package sdr

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// LabelSize is the length of a label: a field element below 2^254, little-endian.
const LabelSize = 32

// LabelParents is how many labels one label hashes: the parents, repeated to 37.
const LabelParents = 37

// prefixSize is replica id, layer, node and zeros up to a whole SHA-256 block.
const prefixSize = 64

// Labeler computes labels of one replica. It is for one goroutine at a time.
type Labeler struct {
	msg [prefixSize + LabelParents*LabelSize]byte
}

// NewLabeler makes a Labeler for a replica.
func NewLabeler(replicaID [32]byte) *Labeler {
	l := new(Labeler)
	copy(l.msg[:], replicaID[:])
	return l
}

// Label is the label of a node whose LabelParents parent labels are already in order
// and repeated, as [Repeat] gives them. Layers count from 1. Node 0 has no parents.
func (l *Labeler) Label(layer int, node uint64, parents []byte) [LabelSize]byte {
	copy(l.msg[prefixSize:], parents)
	l.at(layer, node)
	return l.sum(prefixSize + len(parents))
}

func (l *Labeler) at(layer int, node uint64) {
	binary.BigEndian.PutUint32(l.msg[32:], uint32(layer))
	binary.BigEndian.PutUint64(l.msg[36:], node)
}

func (l *Labeler) sum(n int) [LabelSize]byte {
	h := sha256.Sum256(l.msg[:n])
	h[LabelSize-1] &= 0x3f
	return h
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

// reportEvery is the number of nodes between two looks at the context: about 20 ms.
const reportEvery = 1 << 14

// Layer fills current with the labels of a layer, counted from 1. cache is the
// graph's, previous the layer below (nil for layer 1). report, which may be nil, is
// told now and then how many nodes are done. It returns ctx's error when ctx ends.
func (l *Labeler) Layer(ctx context.Context, layer int, cache ParentCache, current, previous []byte, report func(nodes int)) error {
	if layer == 1 {
		previous = nil
	}
	nodes := len(current) / LabelSize
	for start := 0; start < nodes; {
		n := min(reportEvery, nodes-start)
		parents, err := cache.window(start, n)
		if err != nil {
			return fmt.Errorf("read parents: %w", err)
		}
		if layer == 1 {
			l.first(parents, current, start)
		} else {
			l.above(layer, parents, current, previous, start)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if start += n; report != nil {
			report(start)
		}
	}
	return nil
}

// first labels nodes of layer 1, which have base parents only, from start on: as many
// as the window has.
func (l *Labeler) first(window []uint32, current []byte, start int) {
	const period = BaseParents * LabelSize
	parents := l.msg[prefixSize:]
	for i := range len(window) / Parents {
		node := start + i
		l.at(1, uint64(node))
		prefetch(window, i, current, nil)
		size := prefixSize
		if node > 0 {
			of := (*[Parents]uint32)(window[Parents*i:])
			for k, p := range of[:BaseParents] {
				*slot(parents, k) = *slot(current, int(p))
			}
			for at := period; at < len(parents); at += period {
				copy(parents[at:], parents[:period])
			}
			size = len(l.msg)
		}
		*slot(current, node) = l.sum(size)
	}
}

// above labels nodes of the layers that have expander parents too.
func (l *Labeler) above(layer int, window []uint32, current, previous []byte, start int) {
	const period = Parents * LabelSize
	parents := l.msg[prefixSize:]
	for i := range len(window) / Parents {
		node := start + i
		l.at(layer, uint64(node))
		prefetch(window, i, current, previous)
		size := prefixSize
		if node > 0 {
			of := (*[Parents]uint32)(window[Parents*i:])
			for k, p := range of[:BaseParents] {
				*slot(parents, k) = *slot(current, int(p))
			}
			for k, p := range of[BaseParents:] {
				*slot(parents, BaseParents+k) = *slot(previous, int(p))
			}
			copy(parents[period:2*period], parents[:period])
			copy(parents[2*period:], parents[:period])
			size = len(l.msg)
		}
		*slot(current, node) = l.sum(size)
	}
}

func slot(labels []byte, i int) *[LabelSize]byte {
	return (*[LabelSize]byte)(labels[i*LabelSize:])
}
