package native

import (
	"context"
	"errors"
	"fmt"

	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/jobs"
)

// C1 opens the challenges of s.Seed and checks the result. See [jobs.Prover].
func (p *Prover) C1(ctx context.Context, s jobs.Seal, f jobs.Folders) ([]byte, error) {
	c1, err := makeVanilla(ctx, s, f)
	if err != nil {
		return nil, fmt.Errorf("c1 %s: %w", s.ID, err)
	}
	if err := VerifyVanilla(s, c1); err != nil {
		return nil, fmt.Errorf("c1 %s: the sealed files do not prove: %w", s.ID, err)
	}
	return c1, nil
}

func makeVanilla(ctx context.Context, s jobs.Seal, f jobs.Folders) ([]byte, error) {
	r, err := newReplica(s)
	if err != nil {
		return nil, err
	}
	seed, err := random("seed", s.Seed)
	if err != nil {
		return nil, err
	}
	commR, err := replicaCommitment(s.CommR)
	if err != nil {
		return nil, err
	}
	o, err := r.openSealed(f)
	if err != nil {
		return nil, err
	}
	defer o.close()

	return o.prove(ctx, seed, commR)
}

// opener reads the sealed sector's files at single nodes.
type opener struct {
	replica
	inputs
	columns, rows forestFiles // tree-c and tree-r-last
	sealed        input
	graph         *sdr.Graph
}

func (r replica) openSealed(f jobs.Folders) (o *opener, err error) {
	o = &opener{replica: r, graph: r.graph()}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	if o.inputs, err = r.openInputs(f.Cache); err != nil {
		return o, err
	}
	if o.columns, err = openForest(f.Cache, treeC, r.forest(), 0); err != nil {
		return o, err
	}
	if o.rows, err = openForest(f.Cache, treeR, r.forest(), r.DiscardedRows()+1); err != nil {
		return o, err
	}
	o.sealed, err = openNodes(f.Sealed, r.Nodes())
	return o, err
}

func (o *opener) close() {
	o.inputs.close()
	o.columns.close()
	o.rows.close()
	if o.sealed.File != nil {
		_ = o.sealed.Close()
	}
}

// prove opens every challenge and gives filecoin-ffi's JSON.
func (o *opener) prove(ctx context.Context, seed, commR node) ([]byte, error) {
	partitions := make([][]challengeProof, o.Partitions)
	for i, c := range o.challenges(seed) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		proof, err := o.challenge(c)
		if err != nil {
			return nil, fmt.Errorf("open node %d: %w", c, err)
		}
		k := i / o.Challenges
		partitions[k] = append(partitions[k], proof)
	}
	v := &vanillaProof{
		RegisteredProof: o.name(),
		Proofs:          map[string][][]challengeProof{o.treeName(): partitions},
		CommR:           commR,
		CommD:           o.commD,
		ReplicaID:       o.id,
		Seed:            seed,
		Ticket:          o.ticket,
	}
	return v.encode()
}

func (o *opener) challenge(c uint64) (p challengeProof, err error) {
	data := o.Shape.data()
	if p.CommD, err = (forest{base: data}).open(int(c), func(row, i int) (node, error) {
		return o.data.node(data.first(row) + i)
	}); err != nil {
		return p, err
	}
	if p.CommR, err = o.forest().open(int(c), o.replicaNode); err != nil {
		return p, err
	}
	if p.Columns.Challenged, err = o.column(uint32(c)); err != nil {
		return p, err
	}
	var parents [sdr.Parents]uint32
	o.graph.Parents(uint32(c), &parents)
	for i, parent := range parents {
		column, err := o.column(parent)
		if err != nil {
			return p, err
		}
		if i < sdr.BaseParents {
			p.Columns.Base = append(p.Columns.Base, column)
		} else {
			p.Columns.Expander = append(p.Columns.Expander, column)
		}
	}
	for layer := 1; layer <= o.Layers; layer++ {
		p.Labels = append(p.Labels, labelingProof{p.Columns.parents(layer), layer, c})
	}
	p.Encoding = p.Labels[o.Layers-1]
	return p, nil
}

// parents gives the labels that the challenged node's label in a layer hashes.
func (c *columns) parents(layer int) []node {
	var labels []node
	for _, p := range c.Base {
		labels = append(labels, p.Column.Rows[layer-1])
	}
	if layer > 1 {
		for _, p := range c.Expander {
			labels = append(labels, p.Column.Rows[layer-2])
		}
	}
	return sdr.Repeat(layer, labels)
}

func (o *opener) column(index uint32) (p columnProof, err error) {
	p.Column.Index = index
	for _, l := range o.layers {
		label, err := l.node(int(index))
		if err != nil {
			return p, err
		}
		p.Column.Rows = append(p.Column.Rows, label)
	}
	p.Inclusion, err = o.forest().open(int(index), o.columns.at)
	return p, err
}

// replicaNode reads a node of tree-r-last, or makes it again from the rows below when
// its row was discarded.
func (o *opener) replicaNode(row, i int) (node, error) {
	switch {
	case row == 0:
		return o.sealed.node(i)
	case row >= o.rows.lowest:
		return o.rows.at(row, i)
	}
	children := make([]node, o.Base)
	for k := range children {
		var err error
		if children[k], err = o.replicaNode(row-1, i*o.Base+k); err != nil {
			return node{}, err
		}
	}
	n, err := poseidonHash(children...)
	if err != nil {
		return node{}, errors.Join(jobs.Failf(jobs.Input, "the sealed file holds no field elements near node %d", i*o.Base), err)
	}
	return n, nil
}
