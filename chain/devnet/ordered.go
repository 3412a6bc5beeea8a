package devnet

import (
	"cmp"
	"hash/maphash"
	"iter"
)

// ordered is an immutable map in key order: set and drop return a new map that shares all but O(log n) nodes with the old one, so
// every tipset can keep its state. The zero value is empty.
type ordered[K cmp.Ordered, V any] struct{ root *treap[K, V] }

// treap is a search tree by key and a heap by a hash of the key, which keeps it balanced whatever the order of insertion.
type treap[K cmp.Ordered, V any] struct {
	key         K
	value       V
	priority    uint64
	size        int
	left, right *treap[K, V]
}

var treapSeed = maphash.MakeSeed()

func (m ordered[K, V]) get(key K) (V, bool) {
	for n := m.root; n != nil; {
		switch c := cmp.Compare(key, n.key); {
		case c == 0:
			return n.value, true
		case c < 0:
			n = n.left
		default:
			n = n.right
		}
	}
	var zero V
	return zero, false
}

func (m ordered[K, V]) has(key K) bool {
	_, ok := m.get(key)
	return ok
}

func (m ordered[K, V]) len() int { return m.root.len() }

func (m ordered[K, V]) set(key K, value V) ordered[K, V] {
	return ordered[K, V]{m.root.set(key, value, maphash.Comparable(treapSeed, key))}
}

func (m ordered[K, V]) drop(key K) ordered[K, V] {
	if !m.has(key) {
		return m
	}
	return ordered[K, V]{m.root.drop(key)}
}

// all yields the entries in key order.
func (m ordered[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { m.root.walk(yield) }
}

func (n *treap[K, V]) len() int {
	if n == nil {
		return 0
	}
	return n.size
}

func (n *treap[K, V]) walk(yield func(K, V) bool) bool {
	return n == nil || n.left.walk(yield) && yield(n.key, n.value) && n.right.walk(yield)
}

// with returns a copy of n over other children.
func (n *treap[K, V]) with(left, right *treap[K, V]) *treap[K, V] {
	c := *n
	c.left, c.right, c.size = left, right, 1+left.len()+right.len()
	return &c
}

func (n *treap[K, V]) set(key K, value V, priority uint64) *treap[K, V] {
	if n == nil {
		return &treap[K, V]{key: key, value: value, priority: priority, size: 1}
	}
	switch c := cmp.Compare(key, n.key); {
	case c == 0:
		same := *n
		same.value = value
		return &same
	case c < 0:
		l := n.left.set(key, value, priority)
		if l.priority <= n.priority {
			return n.with(l, n.right)
		}
		return l.with(l.left, n.with(l.right, n.right))
	default:
		r := n.right.set(key, value, priority)
		if r.priority <= n.priority {
			return n.with(n.left, r)
		}
		return r.with(n.with(n.left, r.left), r.right)
	}
}

func (n *treap[K, V]) drop(key K) *treap[K, V] {
	switch c := cmp.Compare(key, n.key); {
	case c == 0:
		return join(n.left, n.right)
	case c < 0:
		return n.with(n.left.drop(key), n.right)
	default:
		return n.with(n.left, n.right.drop(key))
	}
}

// join merges two trees of which all keys of a are below those of b.
func join[K cmp.Ordered, V any](a, b *treap[K, V]) *treap[K, V] {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority > b.priority:
		return a.with(a.left, join(a.right, b))
	default:
		return b.with(join(a, b.left), b.right)
	}
}
