package native

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/lpseal/lpseal/jobs"
)

// forest is a Merkle tree whose lower rows are cut into base trees of equal size, each
// in a file of its own: tree-c and tree-r-last. A row's nodes are counted over all
// base trees.
type forest struct {
	base  tree
	above []int // arities of the rows over the base trees' roots, from below
}

// trees is the number of base trees.
func (f forest) trees() int {
	n := 1
	for _, arity := range f.above {
		n *= arity
	}
	return n
}

// arities are how many nodes each row's parents have, from the leaves up.
func (f forest) arities() []int {
	return append(slices.Repeat([]int{f.base.arity}, f.base.height()), f.above...)
}

// grow builds one base tree after the other, each as parallel as it likes, and gives
// the root over them.
func (f forest) grow(build func(k int) (root node, err error)) (node, error) {
	roots := make([]node, f.trees())
	for k := range roots {
		var err error
		if roots[k], err = build(k); err != nil {
			return node{}, err
		}
	}
	rows, err := f.crown(roots)
	if err != nil {
		return node{}, err
	}
	return rows[len(rows)-1][0], nil
}

// crown gives the rows from the base trees' roots, which are the first, to the root.
func (f forest) crown(roots []node) ([][]node, error) {
	rows := [][]node{roots}
	for _, arity := range f.above {
		var row []node
		for children := range slices.Chunk(rows[len(rows)-1], arity) {
			n, err := poseidonHash(children...)
			if err != nil {
				return nil, jobs.Failf(jobs.Input, "a base tree's root is no field element: %w", err)
			}
			row = append(row, n)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// outline is the path of a leaf with places and no nodes yet.
func (f forest) outline(leaf int) opening {
	o := opening{Paths: make([][]step, 1+len(f.above))}
	for row, arity := range f.arities() {
		path := &o.Paths[max(0, row+1-f.base.height())]
		*path = append(*path, step{Hashes: make([]node, arity-1), Index: leaf % arity})
		leaf /= arity
	}
	return o
}

// rowReader reads len(dst) neighbours of a row, from node first on.
type rowReader func(row, first int, dst []node) error

// open collects the path of a leaf from what read gives.
func (f forest) open(leaf int, read rowReader) (opening, error) {
	o := f.outline(leaf)
	var group [maxArity]node
	steps := o.steps()
	for row, arity := range f.arities() {
		s, children := steps[row], group[:arity]
		if err := read(row, leaf-s.Index, children); err != nil {
			return o, err
		}
		if row == 0 {
			o.Leaf = children[s.Index]
		}
		copy(s.Hashes[copy(s.Hashes, children[:s.Index]):], children[s.Index+1:])
		leaf /= arity
	}
	if err := read(len(steps), 0, group[:1]); err != nil {
		return o, err
	}
	o.Root = group[0]
	return o, nil
}

// holds checks that o is the path of a leaf from its place up to root.
func (f forest) holds(o *opening, leaf uint64, root node, hash func(...node) (node, error)) error {
	if len(o.Paths) != 1+len(f.above) || len(o.Paths[0]) != f.base.height() {
		return fmt.Errorf("a path of other rows than %d in a base tree and %d above", f.base.height(), len(f.above))
	}
	for _, path := range o.Paths[1:] {
		if len(path) != 1 {
			return fmt.Errorf("a path of %d rows above a base tree, want 1", len(path))
		}
	}
	n, steps := o.Leaf, slices.Concat(o.Paths...)
	for row, arity := range f.arities() {
		s := steps[row]
		if len(s.Hashes) != arity-1 {
			return fmt.Errorf("row %d: %d siblings, want %d", row, len(s.Hashes), arity-1)
		}
		if s.Index != int(leaf)%arity {
			return fmt.Errorf("row %d: place %d, want %d", row, s.Index, int(leaf)%arity)
		}
		var err error
		if n, err = hash(slices.Insert(slices.Clone(s.Hashes), s.Index, n)...); err != nil {
			return fmt.Errorf("row %d: %w", row, err)
		}
		leaf /= uint64(arity)
	}
	if n != o.Root || n != root {
		return fmt.Errorf("the path leads to %x and names %x, want %x", n, o.Root, root)
	}
	return nil
}

// forestFiles are the stored rows of a forest, a file for each base tree.
type forestFiles struct {
	forest
	lowest int // row
	files  []input
	rows   [][]node // from the base trees' roots up
}

// openForest opens the files of a forest that holds the rows from lowest up.
func openForest(cache, kind string, f forest, lowest int) (t forestFiles, err error) {
	t = forestFiles{forest: f, lowest: lowest}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	var roots []node
	for k := range f.trees() {
		in, err := openNodes(filepath.Join(cache, jobs.TreeFile(kind, k, f.trees())), f.base.nodes(lowest))
		if err != nil {
			return t, err
		}
		t.files = append(t.files, in)
		root, err := in.node(f.base.nodes(lowest) - 1)
		if err != nil {
			return t, err
		}
		roots = append(roots, root)
	}
	t.rows, err = f.crown(roots)
	return t, err
}

// read is a [rowReader] of the stored rows, and of those above the base trees. Children
// of one node lie in one base tree.
func (t forestFiles) read(row, first int, dst []node) error {
	if above := row - t.base.height(); above >= 0 {
		copy(dst, t.rows[above][first:])
		return nil
	}
	width := t.base.width(row)
	return t.files[first/width].neighbours(t.base.first(row)-t.base.first(t.lowest)+first%width, dst)
}

// root is the node over all base trees.
func (t forestFiles) root() node { return t.rows[len(t.rows)-1][0] }

// close lets go of files that were only read.
func (t forestFiles) close() {
	for _, f := range t.files {
		_ = f.Close()
	}
}

// createForest makes the output of base tree k.
func createForest(cache, kind string, f forest, k int) (*output, error) {
	return create(filepath.Join(cache, jobs.TreeFile(kind, k, f.trees())))
}
