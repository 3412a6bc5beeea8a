package native

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/native/poseidon"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

// testShape is a shape of two layers and few challenges.
func testShape(size abi.SectorSize, sub, top int) Shape {
	return shapeOf(jobs.Shape{Size: size, Base: 8, Sub: sub, Top: top, Layers: 2})
}

// mainnetLike has the layers of mainnet's sizes, and more than one partition.
var mainnetLike = Shape{jobs.Shape{Size: 32 << 10, Base: 8, Sub: 8, Top: 2, Layers: 11}, 2, 3, 0, 2}

// TestForests seals, proves, checks and unseals sectors of several base trees. Nobody
// publishes parameters for these small ones, so there are no vectors: each root is
// computed again by the definition, and the openings are checked from their bytes.
func TestForests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shape Shape
		kind  string // of openings
	}{
		{testShape(4<<10, 2, 0), "Sub"},
		{testShape(16<<10, 8, 0), "Sub"},
		{testShape(32<<10, 8, 2), "Top"},
		{testShape(2<<20, 2, 0), "Sub"}, // several chunks in each base tree
		{mainnetLike, "Top"},
	} {
		t.Run(fmt.Sprintf("%d-%d-%d-%d", c.shape.Size, c.shape.Base, c.shape.Sub, c.shape.Top), func(t *testing.T) {
			t.Parallel()
			r, s, f, data := sealForest(t, c.shape, v11)
			c1 := proveForest(t, r, s, f)
			require.Equal(t, len(c1.Proofs["StackedDrg2KiBV1"]), c.shape.Partitions)
			raw, err := c1.encode()
			require.NoError(t, err)
			// Every opening is of the kind but those of tree-d, one for each challenge.
			challenges := c.shape.Challenges * c.shape.Partitions
			require.Equal(t, 16*challenges, strings.Count(string(raw), `{"data":{"`+c.kind+`":{"base_proof":{"path":[{"hashes":`))
			require.Equal(t, challenges, strings.Count(string(raw), `{"data":{"Single":{"root":`))

			var got bytes.Buffer
			offset, size := uint64(len(data)/2-200), uint64(401) // across the middle, where base trees meet
			require.NoError(t, r.unseal(t.Context(), New(Options{Threads: 2}), f.Sealed, offset, size, &got, nil))
			require.Equal(t, data[offset:offset+size], got.Bytes())
		})
	}
}

// sealForest seals random data into a sector of a shape that no registered proof has,
// with all else as the 2 KiB proof has it.
func sealForest(t *testing.T, shape Shape, generation version) (replica, jobs.Seal, jobs.Folders, []byte) {
	s := provertest.Named(t, "2k-data").Seal(t)
	dir := t.TempDir()
	f := jobs.Folders{Cache: dir, Sealed: filepath.Join(dir, "sealed")}
	v := provertest.Vector{DataSeed: t.Name(), Size: shape.Size}
	data := v.Data()

	spec := spec{shape, s.Proof, generation}
	var err error
	s.CommD, err = spec.writeTreeD(t.Context(), 2, f.Cache, bytes.NewReader(data), nil, nil)
	require.NoError(t, err)
	r, err := spec.replica(s)
	require.NoError(t, err)
	layers := &labelled{replica: r, ctx: t.Context(), dir: f.Cache}
	New(Options{Threads: 2}).labelAll(t.Context(), []*labelled{layers})
	require.NoError(t, layers.err)
	last := map[string]jobs.Progress{}
	commR, err := r.writeTrees(t.Context(), 2, f, func(p jobs.Progress) { last[p.Step] = p })
	require.NoError(t, err)
	require.Equal(t, jobs.Progress{Step: "tree-r-last", Done: uint64(shape.Size), Total: uint64(shape.Size)}, last["tree-r-last"])
	for step, p := range last {
		require.Equal(t, p.Total, p.Done, step)
	}
	s.CommR, err = replicaCID(commR)
	require.NoError(t, err)

	commC, commRLast := naiveRoots(t, r, f)
	want, err := poseidonHash(commC, commRLast)
	require.NoError(t, err)
	require.Equal(t, want, commR)
	aux, err := os.ReadFile(filepath.Join(f.Cache, jobs.PAuxFile))
	require.NoError(t, err)
	require.Equal(t, append(commC[:], commRLast[:]...), aux)
	return r, s, f, data
}

func bytesOf(nodes []node) (b []byte) {
	for _, n := range nodes {
		b = append(b, n[:]...)
	}
	return b
}

func nodesOf(b []byte) (nodes []node) {
	for ; len(b) > 0; b = b[nodeSize:] {
		nodes = append(nodes, node(b))
	}
	return nodes
}

// naiveRoots computes tree-c and tree-r-last from layers and replica alone, row by
// row, and compares the rows that are stored.
func naiveRoots(t *testing.T, r replica, f jobs.Folders) (commC, commRLast node) {
	nodes := func(path string) []node {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		return nodesOf(b)
	}
	hashAll := func(row []node, arity int) []node {
		above := make([]byte, len(row)/arity*nodeSize)
		poseidon.NewBatch(arity).HashRow(above, bytesOf(row))
		return nodesOf(above)
	}
	stored := func(kind string, k int) []node {
		return nodes(filepath.Join(f.Cache, jobs.TreeFile(kind, k, r.BaseTrees())))
	}
	root := func(kind string, leaves []node, skip int) node {
		var roots []node
		for k := range r.BaseTrees() {
			row := leaves[k*len(leaves)/r.BaseTrees():][:len(leaves)/r.BaseTrees()]
			var file []node
			for height := 0; ; height++ {
				if height >= skip {
					file = append(file, row...)
				}
				if len(row) == 1 {
					break
				}
				row = hashAll(row, r.Base)
			}
			require.Equal(t, file, stored(kind, k), "%s %d", kind, k)
			roots = append(roots, row[0])
		}
		if r.Sub > 0 {
			roots = hashAll(roots, r.Sub)
		}
		if r.Top > 0 {
			roots = hashAll(roots, r.Top)
		}
		require.Len(t, roots, 1)
		return roots[0]
	}

	columns := make([]node, 0, r.Nodes()*r.Layers)
	var layers [][]node
	for layer := 1; layer <= r.Layers; layer++ {
		layers = append(layers, nodes(filepath.Join(f.Cache, jobs.LayerFile(layer))))
	}
	for i := range r.Nodes() {
		for _, l := range layers {
			columns = append(columns, l[i])
		}
	}
	return root(jobs.TreeC, hashAll(columns, r.Layers), 0), root(jobs.TreeR, nodes(f.Sealed), r.DiscardedRows()+1)
}

// proveForest opens challenges in every base tree and refuses the proof for another
// replica.
func proveForest(t *testing.T, r replica, s jobs.Seal, f jobs.Folders) *vanillaProof {
	commR, err := replicaCommitment(s.CommR)
	require.NoError(t, err)
	o, err := r.openSealed(f)
	require.NoError(t, err)
	defer o.close()
	made, err := o.prove(t.Context(), 2, node(s.Seed), commR)
	require.NoError(t, err)
	c1, err := parseVanilla(encoded(t, made))
	require.NoError(t, err)
	v, err := r.verifier(s)
	require.NoError(t, err)
	require.NoError(t, v.proof(t.Context(), 2, c1))

	// One leaf of each base tree, at both ends.
	w := r.base().leaves
	for k := range r.BaseTrees() {
		for _, leaf := range []int{k * w, k*w + w - 1} {
			p, err := o.challenge(uint64(leaf))
			require.NoError(t, err)
			require.NoError(t, r.forest().holds(&p.CommR, uint64(leaf), p.CommR.Root, poseidonHash))
			require.ErrorContains(t, r.forest().holds(&p.CommR, uint64((leaf+w)%r.Nodes()), p.CommR.Root, poseidonHash), "place", "the same place in another base tree")
		}
	}
	short := c1.Proofs["StackedDrg2KiBV1"][0][0].CommR
	short.Paths = short.Paths[:len(short.Paths)-1]
	require.ErrorContains(t, r.forest().holds(&short, 0, short.Root, poseidonHash), "a path of other rows")

	other := v
	other.commR[0] ^= 1
	require.Error(t, other.proof(t.Context(), 2, c1))
	return c1
}
