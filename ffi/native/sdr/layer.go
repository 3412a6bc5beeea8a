package sdr

import (
	"context"
	"fmt"
)

// Labeler computes the layers of one replica, or of several in lockstep. It is for one
// goroutine at a time.
//
// The layers of several replicas lie in one buffer, their labels of a node side by side:
// the graph is one, and with two sectors a node's labels fill a line of the processor's
// cache, so that memory is asked as often as for one.
type Labeler struct {
	replicas []byte    // ids, one after the other
	messages []message // one for each replica
}

// NewLabeler makes a Labeler for replicas of one graph.
func NewLabeler(replicaIDs ...[32]byte) *Labeler {
	l := &Labeler{messages: make([]message, len(replicaIDs))}
	for i, id := range replicaIDs {
		l.replicas = append(l.replicas, id[:]...)
		copy(l.messages[i][:], id[:])
	}
	return l
}

// Sectors is how many replicas are labelled in lockstep.
func (l *Labeler) Sectors() int { return len(l.messages) }

// reportEvery is the number of nodes between two looks at the context: about 20 ms.
const reportEvery = 1 << 14

// Layer fills current with the labels of a layer, counted from 1. cache is the
// graph's, previous the layer below (nil for layer 1). Both buffers have LabelSize bytes
// for each node and sector. report, which may be nil, is told now and then how many nodes
// are done, whose labels do not change any more. It returns ctx's error when ctx ends.
func (l *Labeler) Layer(ctx context.Context, layer int, cache ParentCache, current, previous []byte, report func(nodes int)) error {
	if layer == 1 {
		previous = nil
	}
	nodes := len(current) / (LabelSize * l.Sectors())
	for start := 0; start < nodes; {
		n := min(reportEvery, nodes-start)
		parents, err := cache.window(start, n)
		if err != nil {
			return fmt.Errorf("read parents: %w", err)
		}
		w := window{layer: layer, first: start, parents: parents, current: current, previous: previous}
		if start == 0 {
			l.nodeZero(w)
			w.first, w.parents = 1, parents[Parents:]
		}
		if !l.accelerated(w) {
			l.portable(w)
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

// window is a run of nodes to label, with their parents.
type window struct {
	layer             int
	first             int // node
	parents           []uint32
	current, previous []byte
}

// nodes is how many there are.
func (w window) nodes() int { return len(w.parents) / Parents }

// nodeZero labels the node that has no parents.
func (l *Labeler) nodeZero(w window) {
	for i := range l.messages {
		m := &l.messages[i]
		m.at(w.layer, 0)
		*slot(w.current, i) = m.sum(prefixSize)
	}
}

// portable labels a window, one sector after the other in every node.
func (l *Labeler) portable(w window) {
	sectors := l.Sectors()
	for n := range w.nodes() {
		node := w.first + n
		of := (*[Parents]uint32)(w.parents[Parents*n:])
		for i := range l.messages {
			m := &l.messages[i]
			m.at(w.layer, uint64(node))
			labels := m[prefixSize:]
			period := BaseParents * LabelSize
			for k, p := range of[:BaseParents] {
				*slot(labels, k) = *slot(w.current, int(p)*sectors+i)
			}
			if w.layer > 1 {
				period = Parents * LabelSize
				for k, p := range of[BaseParents:] {
					*slot(labels, BaseParents+k) = *slot(w.previous, int(p)*sectors+i)
				}
			}
			for at := period; at < len(labels); at += period {
				copy(labels[at:], labels[:period])
			}
			*slot(w.current, node*sectors+i) = m.sum(len(m))
		}
	}
}

func slot(labels []byte, i int) *[LabelSize]byte {
	return (*[LabelSize]byte)(labels[i*LabelSize:])
}
