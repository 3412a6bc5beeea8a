package sdr

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

type parts struct {
	Graph []struct {
		Nodes     int
		Parents   map[string][Parents]uint32
		PorepID   string `json:"porep_id"`
		SealProof string `json:"seal_proof"`
		Type      int    `json:"registered_seal_proof"`
	}
	Labels map[string]map[string]string `json:"labels_2k_data"`
}

func knownAnswers(t *testing.T) (p parts) {
	raw, err := os.ReadFile("testdata/seal-parts.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &p))
	return p
}

func bytes32(t *testing.T, s string) [32]byte {
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return [32]byte(b)
}

// TestParents checks single nodes of sectors from 2 KiB to 32 GiB, V1 and V1_1.
func TestParents(t *testing.T) {
	t.Parallel()
	for _, k := range knownAnswers(t).Graph {
		g := NewGraph(bytes32(t, k.PorepID), k.Nodes, k.Type < 5)
		for node, want := range k.Parents {
			n, err := strconv.ParseUint(node, 10, 32)
			require.NoError(t, err)
			var got [Parents]uint32
			g.Parents(uint32(n), &got)
			require.Equal(t, want, got, "%s node %d", k.SealProof, n)
		}
	}
}

// TestLegacyExpandersStayInTheLowerHalf holds the defect of V1 at 32 GiB that V1_1
// mends: the permuted index is cut to 32 bits before it is divided by 8.
func TestLegacyExpandersStayInTheLowerHalf(t *testing.T) {
	t.Parallel()
	const nodes = 1 << 30
	highest := func(legacy bool) (highest uint32) {
		g := NewGraph([32]byte{3}, nodes, legacy)
		for n := uint32(0); n < 100; n++ {
			var parents [Parents]uint32
			g.Parents(n, &parents)
			highest = max(highest, slices.Max(parents[BaseParents:]))
		}
		return highest
	}
	require.Less(t, highest(true), uint32(nodes/2))
	require.Greater(t, highest(false), uint32(nodes/2))
}

// TestCacheDigests checks whole parent caches against the digests that
// rust-fil-proofs publishes for its cache files.
func TestCacheDigests(t *testing.T) {
	t.Parallel()
	for _, k := range []struct {
		proof, nodes int
		prefix       string
	}{
		{0, 1 << 6, "3da49221"},
		{5, 1 << 6, "84005770"},
		{1, 1 << 18, "a76604f2"},
		{6, 1 << 18, "03cd1356"},
	} {
		cache, err := NewGraph([32]byte{byte(k.proof)}, k.nodes, k.proof < 5).ParentList(t.Context(), 2)
		require.NoError(t, err)
		h := sha256.New()
		require.NoError(t, binary.Write(h, binary.LittleEndian, []uint32(cache)))
		require.Equal(t, k.prefix, hex.EncodeToString(h.Sum(nil)[:4]), "seal proof %d", k.proof)
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/replica-id-2k-data.hex")
	require.NoError(t, err)
	id := bytes32(t, string(raw[:64]))
	l := NewLabeler(id)
	g := NewGraph([32]byte{5}, 64, false)
	cache, err := g.ParentList(t.Context(), 1)
	require.NoError(t, err)

	var previous []byte
	for layer := 1; layer <= 2; layer++ {
		current := make([]byte, g.Nodes()*LabelSize)
		reported := 0
		require.NoError(t, l.Layer(t.Context(), layer, cache, current, previous, func(n int) { reported = n }))
		require.Equal(t, g.Nodes(), reported)
		for node, want := range knownAnswers(t).Labels["layer_"+strconv.Itoa(layer)] {
			n, err := strconv.Atoi(node)
			require.NoError(t, err)
			require.Equal(t, want, hex.EncodeToString(slot(current, n)[:]), "layer %d node %d", layer, n)
			if n == 0 {
				continue
			}
			// A label computed alone, as a verifier does, is the same label.
			var parents []byte
			for i, p := range cache[Parents*n : Parents*n+Parents] {
				from := current
				if i >= BaseParents {
					if layer == 1 {
						break
					}
					from = previous
				}
				parents = append(parents, slot(from, int(p))[:]...)
			}
			var labels [][LabelSize]byte
			for i := range len(parents) / LabelSize {
				labels = append(labels, *slot(parents, i))
			}
			var msg []byte
			for _, p := range Repeat(layer, labels) {
				msg = append(msg, p[:]...)
			}
			alone := Label(id, layer, uint64(n), msg)
			require.Equal(t, want, hex.EncodeToString(alone[:]))
		}
		previous = current
	}
}

func TestLayerStopsWithItsContext(t *testing.T) {
	t.Parallel()
	g := NewGraph([32]byte{6}, 1<<18, false)
	cache := make(ParentList, Parents*g.Nodes())
	ctx, cancel := context.WithCancel(t.Context())
	reports := 0
	err := NewLabeler([32]byte{1}).Layer(ctx, 1, cache, make([]byte, g.Nodes()*LabelSize), nil, func(int) {
		reports++
		cancel()
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, reports)
	_, err = g.ParentList(ctx, 2)
	require.ErrorIs(t, err, context.Canceled)
}

func BenchmarkParents8MiB(b *testing.B) {
	for b.Loop() {
		_, err := NewGraph([32]byte{6}, 1<<18, false).ParentList(b.Context(), 1)
		require.NoError(b, err)
	}
}
