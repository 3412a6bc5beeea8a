package native

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/jobs"
)

// C1 opens the challenges of s.Seed and checks the result. See [jobs.Prover].
func (p *Prover) C1(ctx context.Context, s jobs.Seal, f jobs.Folders) ([]byte, error) {
	r, err := newReplica(s)
	if err != nil {
		return nil, fmt.Errorf("c1 %s: %w", s.ID, err)
	}
	v, err := r.verifier(s)
	if err != nil {
		return nil, fmt.Errorf("c1 %s: %w", s.ID, err)
	}
	proof, err := r.makeVanilla(ctx, p.threads, f, v.seed, v.commR)
	if err != nil {
		return nil, fmt.Errorf("c1 %s: %w", s.ID, err)
	}
	if err := v.proof(ctx, p.threads, proof); err != nil {
		return nil, fmt.Errorf("c1 %s: the sealed files do not prove: %w", s.ID, err)
	}
	return proof.encode()
}

func (r replica) makeVanilla(ctx context.Context, threads int, f jobs.Folders, seed, commR node) (*vanillaProof, error) {
	if r.synthetic() {
		return r.proveSynthetic(f.Cache, seed, commR)
	}
	o, err := r.openSealed(f)
	if err != nil {
		return nil, err
	}
	defer o.close()

	return o.prove(ctx, threads, seed, commR)
}

// spread does n things, in order, with as many goroutines as there are threads, each by a
// function of its own. The first error ends it.
func spread(ctx context.Context, threads, n int, own func() (do func(i int) error)) error {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(max(1, threads), n) {
		group.Go(func() error {
			do := own()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// opener reads the sealed sector's files at single nodes. It is for one goroutine.
type opener struct {
	replica
	inputs
	columns, rows forestFiles // tree-c and tree-r-last
	low           *lowRows    // of tree-r-last
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
	if o.columns, err = openForest(f.Cache, jobs.TreeC, r.forest(), 0); err != nil {
		return o, err
	}
	if o.rows, err = openForest(f.Cache, jobs.TreeR, r.forest(), r.DiscardedRows()+1); err != nil {
		return o, err
	}
	sealed, err := openNodes(f.Sealed, r.Nodes())
	if err != nil {
		return o, err
	}
	o.low = newLowRows(sealed, r.Base, o.rows.lowest)
	return o, nil
}

// another is an opener of the same files for another goroutine. The first closes them.
func (o *opener) another() *opener {
	a := *o
	a.low = newLowRows(o.low.sealed, o.Base, o.rows.lowest)
	return &a
}

func (o *opener) close() {
	o.inputs.close()
	o.columns.close()
	o.rows.close()
	if o.low != nil {
		_ = o.low.sealed.Close()
	}
}

// prove opens every challenge of a seed.
func (o *opener) prove(ctx context.Context, threads int, seed, commR node) (*vanillaProof, error) {
	challenges := o.challenges(seed, commR)
	proofs := make([]challengeProof, len(challenges))
	err := spread(ctx, threads, len(challenges), func() func(int) error {
		own := o.another()
		return func(i int) (err error) {
			if proofs[i], err = own.challenge(challenges[i]); err != nil {
				return fmt.Errorf("open node %d: %w", challenges[i], err)
			}
			return nil
		}
	})
	if err != nil {
		return nil, err
	}
	return o.vanilla(proofs, seed, commR), nil
}

// vanilla puts the proofs of a seed's challenges together, partition after partition.
func (r replica) vanilla(proofs []challengeProof, seed, commR node) *vanillaProof {
	return &vanillaProof{
		RegisteredProof: r.name(),
		Proofs:          map[string][][]challengeProof{r.treeName(): slices.Collect(slices.Chunk(proofs, r.Challenges))},
		CommR:           commR,
		CommD:           r.commD,
		ReplicaID:       r.id,
		Seed:            seed,
		Ticket:          r.ticket,
	}
}

func (o *opener) challenge(c uint64) (p challengeProof, err error) {
	data := o.Shape.data()
	if p.CommD, err = (forest{base: data}).open(int(c), func(row, first int, dst []node) error {
		return o.data.neighbours(data.first(row)+first, dst)
	}); err != nil {
		return p, err
	}
	if p.CommR, err = o.forest().open(int(c), o.replicaRow); err != nil {
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
	p.label(c, o.Layers)
	return p, nil
}

// label adds what follows from the columns: the parents that each label hashes.
func (p *challengeProof) label(c uint64, layers int) {
	for layer := 1; layer <= layers; layer++ {
		p.Labels = append(p.Labels, labelingProof{p.Columns.parents(layer), layer, c})
	}
	p.Encoding = p.Labels[layers-1]
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
	p.Inclusion, err = o.forest().open(int(index), o.columns.read)
	return p, err
}

// replicaRow reads nodes of tree-r-last, or makes them again from the replica when their
// row was discarded.
func (o *opener) replicaRow(row, first int, dst []node) error {
	if row >= o.rows.lowest {
		return o.rows.read(row, first, dst)
	}
	return o.low.read(row, first, dst)
}
