package native

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/native/sdr"
	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

// TestSyntheticChallenges are the known answers of rust-fil-proofs' own test.
func TestSyntheticChallenges(t *testing.T) {
	t.Parallel()
	set := syntheticSet{id: node{55}, commR: node{101}, nodes: 1 << 10, size: 21}
	var all []uint64
	for i := range set.size {
		all = append(all, set.at(i))
	}
	require.Equal(t, []uint64{178, 297, 869, 211, 875, 477, 94, 781, 124, 332, 856, 801, 176, 692, 429, 691, 290, 204, 986, 210, 973}, all)
	seed := node(bytes.Repeat([]byte{1}, nodeSize))
	require.Equal(t, []uint64{176, 781, 801, 986, 290, 211, 692, 856, 986, 332}, set.selected(seed, 10))
}

// TestSyntheticForests writes, reads and proves with the records of sectors of several
// base trees, which no published size has that fits here.
func TestSyntheticForests(t *testing.T) {
	t.Parallel()
	for _, shape := range []Shape{
		testShape(2<<10, 0, 0),
		testShape(4<<10, 2, 0),
		testShape(16<<10, 8, 0),
		mainnetLike, // with the layers of mainnet
	} {
		r, s, f, _ := sealForest(t, shape, v11Synthetic)
		commR, err := replicaCommitment(s.CommR)
		require.NoError(t, err)
		o, err := r.openSealed(f)
		require.NoError(t, err)
		t.Cleanup(o.close)
		b, err := os.ReadFile(filepath.Join(f.Cache, jobs.SyntheticFile))
		require.NoError(t, err)

		file, set := syntheticFile{r}, r.syntheticSet(commR)
		require.Len(t, b, int(file.offset(set.size)))
		for i := range set.size {
			want, err := o.challenge(set.at(i))
			require.NoError(t, err)
			got, err := file.parse(b[:jobs.SyntheticRoots], b[file.offset(i):file.offset(i+1)])
			require.NoError(t, err)
			require.Equal(t, want, got, "record %d", i)
		}

		want, err := o.prove(t.Context(), 2, node(s.Seed), commR)
		require.NoError(t, err)
		got, err := r.proveSynthetic(f.Cache, node(s.Seed), commR)
		require.NoError(t, err)
		require.Equal(t, string(encoded(t, want)), string(encoded(t, got)))
		v, err := r.verifier(s)
		require.NoError(t, err)
		c1, err := parseVanilla(encoded(t, got))
		require.NoError(t, err)
		require.NoError(t, v.proof(t.Context(), 2, c1))
		require.Len(t, c1.Proofs["StackedDrg2KiBV1"], shape.Partitions)
	}
}

// TestC1RefusesSyntheticProofsThatDoNotHold damages their file.
func TestC1RefusesSyntheticProofsThatDoNotHold(t *testing.T) {
	t.Parallel()
	p, s, f := sealed(t, provertest.Named(t, "2k-synthetic-data"))
	path := filepath.Join(f.Cache, jobs.SyntheticFile)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	record := (len(good) - jobs.SyntheticRoots) / 64
	for what, c := range map[string]struct {
		change func(b []byte) []byte
		text   string
	}{
		"cut short":    {func(b []byte) []byte { return b[:len(b)-1] }, "bytes, not"},
		"another root": {func(b []byte) []byte { b[40] ^= 1; return b }, "do not compose to CommR"},
		"other challenges": {func(b []byte) []byte {
			return append(b[:jobs.SyntheticRoots], bytes.Repeat(b[jobs.SyntheticRoots:][:record], 64)...)
		}, "challenge"},
		"a node beyond":        {func(b []byte) []byte { return each(b, record, func(r []byte) { r[1] = 1 }) }, "names node"},
		"another parent":       {func(b []byte) []byte { return each(b, record, func(r []byte) { r[8] ^= 1 }) }, "parent 0"},
		"another data leaf":    {func(b []byte) []byte { return each(b, record, func(r []byte) { r[15*8] ^= 1 }) }, "tree-d"},
		"the last of siblings": {func(b []byte) []byte { return each(b, record, func(r []byte) { r[len(r)-32] ^= 1 }) }, "tree-r-last"},
	} {
		require.NoError(t, os.WriteFile(path, c.change(bytes.Clone(good)), 0o600))
		_, err := p.C1(t.Context(), s, f)
		require.ErrorContains(t, err, c.text, what)
		fault, ok := jobs.Classify(t.Context(), err)
		require.True(t, ok)
		require.Equal(t, jobs.Input, fault.Class, what)
	}
	require.NoError(t, os.Remove(path))
	_, err = p.C1(t.Context(), s, f)
	fault, ok := jobs.Classify(t.Context(), err)
	require.True(t, ok && fault.Missing, err)
}

// each changes every record of a file of synthetic proofs.
func each(b []byte, size int, change func(record []byte)) []byte {
	for at := jobs.SyntheticRoots; at < len(b); at += size {
		change(b[at:][:size])
	}
	return b
}

// TestTreeRCRefusesLayersThatAreNotLabels sees, for synthetic proofs, that layers and
// data are what the replica id asks for: they will be gone when the seed comes.
func TestTreeRCRefusesLayersThatAreNotLabels(t *testing.T) {
	t.Parallel()
	for _, name := range []string{jobs.LayerFile(1), jobs.LayerFile(2), jobs.TreeDFile} {
		p, s, f := sealed(t, provertest.Named(t, "2k-synthetic-data"))
		path := filepath.Join(f.Cache, name)
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		b[5*nodeSize] ^= 1 // one node of many
		require.NoError(t, os.WriteFile(path, b, 0o600))
		require.NoError(t, os.Remove(filepath.Join(f.Cache, jobs.SyntheticFile)))
		_, err = p.TreeRC(t.Context(), s, f, nil)
		require.ErrorContains(t, err, "the synthetic proof of node ", name)
		fault, ok := jobs.Classify(t.Context(), err)
		require.True(t, ok)
		require.Equal(t, jobs.Input, fault.Class)
		require.NoFileExists(t, filepath.Join(f.Cache, jobs.SyntheticFile))
	}
}

// TestSyntheticProofsBindSeedAndCommR: both choose what is opened.
func TestSyntheticProofsBindSeedAndCommR(t *testing.T) {
	t.Parallel()
	p, s, f := sealed(t, provertest.Named(t, "2k-synthetic-data"))
	c1, err := p.C1(t.Context(), s, f)
	require.NoError(t, err)
	require.NoError(t, VerifyVanilla(s, c1))
	other := provertest.Named(t, "2k-synthetic-cc").Seal(t)
	for what, change := range map[string]func(*jobs.Seal){
		"not synthetic": func(s *jobs.Seal) { s.Proof = 5 },
		"seed":          func(s *jobs.Seal) { s.Seed = other.Seed },
		"CommR":         func(s *jobs.Seal) { s.CommR = other.CommR },
	} {
		wrong := s
		change(&wrong)
		require.Error(t, VerifyVanilla(wrong, c1), what)
	}
	r, err := newReplica(s)
	require.NoError(t, err)
	a, err := r.publicInputs(node(s.Seed), node{1})
	require.NoError(t, err)
	b, err := r.publicInputs(node(s.Seed), node{2})
	require.NoError(t, err)
	require.NotEqual(t, a[0][3], b[0][3], "the first challenge")
}

// FuzzSyntheticRecord reads records of any bytes: what is read is written alike.
func FuzzSyntheticRecord(f *testing.F) {
	r, err := newReplica(provertest.Named(f, "2k-synthetic-data").Seal(f))
	require.NoError(f, err)
	file := syntheticFile{r}
	f.Add([]byte{}, uint64(0))
	f.Add([]byte("a record"), uint64(63))
	f.Fuzz(func(t *testing.T, text []byte, node uint64) {
		record := make([]byte, file.SyntheticRecord())
		copy(record[8:], text)
		binary.LittleEndian.PutUint64(record, node)
		for i := range 1 + sdr.Parents { // most numbers are of no node: keep some of them
			if len(text)%2 == 0 {
				clear(record[8*i+1 : 8*i+8])
				record[8*i] %= 64
			}
		}
		roots := make([]byte, jobs.SyntheticRoots)
		p, err := file.parse(roots, record)
		if err != nil {
			require.ErrorContains(t, err, "names node")
			return
		}
		c := binary.LittleEndian.Uint64(record)
		require.Equal(t, record, appendRecord(nil, c, &p))
	})
}
