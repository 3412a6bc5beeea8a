package native

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/native/poseidon"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

// store is merkletree's StoreConfig.
type store struct {
	path, id        string
	size, discarded uint64
}

// decodeTAux reads bincode as rust-fil-proofs does and insists on the end.
func decodeTAux(t *testing.T, b []byte) (stores []store) {
	number := func() (n uint64) {
		require.GreaterOrEqual(t, len(b), 8)
		n, b = binary.LittleEndian.Uint64(b), b[8:]
		return n
	}
	text := func() (s string) {
		n := number()
		require.GreaterOrEqual(t, uint64(len(b)), n)
		s, b = string(b[:n]), b[n:]
		return s
	}
	for range number() + 3 {
		s := store{path: text(), id: text()}
		require.Equal(t, byte(1), b[0])
		b = b[1:]
		s.size, s.discarded = number(), number()
		stores = append(stores, s)
	}
	require.Empty(t, b)
	return stores
}

func TestTAux(t *testing.T) {
	t.Parallel()
	_, _, f := sealed(t, provertest.Named(t, "2k-cc"))
	b, err := os.ReadFile(filepath.Join(f.Cache, jobs.TAuxFile))
	require.NoError(t, err)
	require.Equal(t, []store{
		{f.Cache, "layer-1", 64, 0},
		{f.Cache, "layer-2", 64, 0},
		{f.Cache, "tree-d", 127, 0},
		{f.Cache, "tree-r-last", 73, 1},
		{f.Cache, "tree-c", 73, 0},
	}, decodeTAux(t, b))
}

// TestFileNamesAreTheDomains holds the names here to the ones that jobs moves, stores
// and removes.
func TestFileNamesAreTheDomains(t *testing.T) {
	t.Parallel()
	_, s, f := sealed(t, provertest.Named(t, "2k-cc"))
	var got []string
	entries, err := os.ReadDir(f.Cache)
	require.NoError(t, err)
	for _, e := range entries {
		got = append(got, e.Name())
	}
	require.ElementsMatch(t, slices.Concat(
		[]string{jobs.TreeDFile, jobs.SealedFile},
		jobs.LayerFiles(s.Proof), jobs.TreeCFiles(s.Proof), jobs.LastingFiles(s.Proof),
	), got)
}

func TestTreeRCRefusesOtherInputs(t *testing.T) {
	t.Parallel()
	p, s, f := sealed(t, provertest.Named(t, "2k-data"))
	other := s
	other.CommD = provertest.Named(t, "2k-cc").Seal(t).CommD
	_, err := p.TreeRC(t.Context(), other, f, nil)
	require.ErrorContains(t, err, "tree_rc s-t01000-2: ")
	require.ErrorContains(t, err, "build tree-d again")
	fault, _ := jobs.Classify(t.Context(), err)
	require.Equal(t, jobs.Input, fault.Class)
	require.Equal(t, jobs.TreeD, fault.From)

	require.NoError(t, os.Truncate(filepath.Join(f.Cache, jobs.LayerFile(1)), 2016))
	_, err = p.TreeRC(t.Context(), s, f, nil)
	require.ErrorContains(t, err, "has 2016 bytes, not 2048")
	fault, _ = jobs.Classify(t.Context(), err)
	require.Equal(t, jobs.Input, fault.Class)

	require.NoError(t, os.Remove(filepath.Join(f.Cache, jobs.LayerFile(1))))
	_, err = p.TreeRC(t.Context(), s, f, nil)
	fault, _ = jobs.Classify(t.Context(), err)
	require.Equal(t, jobs.Input, fault.Class)
	require.True(t, fault.Missing)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, g := sealed(t, provertest.Named(t, "2k-data"))
	_, err = p.TreeRC(ctx, s, g, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestEncodeIsFieldAddition(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	random := func() (e fr.Element) { return *e.SetBigInt(new(big.Int).SetUint64(rng.Uint64())).Exp(e, big.NewInt(9)) }
	var minusOne, one fr.Element
	one.SetOne()
	minusOne.Neg(&one)
	pairs := [][2]fr.Element{{one, minusOne}, {minusOne, minusOne}, {{}, {}}, {minusOne, {}}}
	for range 100 {
		pairs = append(pairs, [2]fr.Element{random(), random()})
	}
	for _, p := range pairs {
		var key, data, sum, got [nodeSize]byte
		fr.LittleEndian.PutElement(&key, p[0])
		fr.LittleEndian.PutElement(&data, p[1])
		var e fr.Element
		fr.LittleEndian.PutElement(&sum, *e.Add(&p[0], &p[1]))
		encode(got[:], key[:], data[:])
		require.Equal(t, sum, got)
		decode(got[:], key[:], got[:])
		require.Equal(t, data, got)
	}
}

// TestTreeBuildOverManyChunks compares a tree of several chunks, built by several
// goroutines, with the definition.
func TestTreeBuildOverManyChunks(t *testing.T) {
	t.Parallel()
	tr := tree{leaves: 1 << 15, arity: 8}
	leaves := make([]byte, tr.leaves*nodeSize)
	for i := range tr.leaves {
		binary.LittleEndian.PutUint64(leaves[i*nodeSize:], uint64(i))
	}
	file := make([]byte, tr.nodes(0)*nodeSize)
	root, err := treeBuild{
		tree:   tr,
		hasher: func() rowHasher { return poseidon.NewBatch(8) },
		source: func(int) leafSource { return &memorySource{all: leaves} },
		sink: func(row, first int, nodes []byte) error {
			copy(file[(tr.first(row)+first)*nodeSize:], nodes)
			return nil
		},
		report: func(int) {},
	}.run(t.Context(), 3)
	require.NoError(t, err)

	want, row, batch := bytes.Clone(leaves), leaves, poseidon.NewBatch(8)
	for len(row) > nodeSize {
		above := make([]byte, len(row)/8)
		batch.HashRow(above, row)
		want, row = append(want, above...), above
	}
	require.True(t, bytes.Equal(want, file))
	require.Equal(t, row, root[:])
}

type memorySource struct {
	all   []byte
	first int
}

func (m *memorySource) take(first int) error {
	m.first = first
	return nil
}

func (m *memorySource) leaves(dst []byte) error {
	copy(dst, m.all[m.first*nodeSize:])
	return nil
}

func TestShapes(t *testing.T) {
	t.Parallel()
	for _, known := range jobs.Shapes {
		s := shapeOf(known)
		base := s.base()
		require.Equal(t, s.Nodes(), base.leaves*s.BaseTrees())
		require.Equal(t, s.BaseTrees(), s.forest().trees())
		require.Equal(t, 1, base.width(base.height()), "%d bytes: base trees are full", s.Size)
	}
	s, err := ShapeOf(32 << 30)
	require.NoError(t, err)
	require.Equal(t, 4_908_534_048, s.base().nodes(0)*nodeSize, "tree-c of a 32 GiB sector")
	require.Equal(t, 9_586_976, s.base().nodes(s.DiscardedRows()+1)*nodeSize, "tree-r-last of a 32 GiB sector")
	_, err = ShapeOf(3 << 10)
	require.ErrorContains(t, err, "sectors of 3072 bytes")
}
