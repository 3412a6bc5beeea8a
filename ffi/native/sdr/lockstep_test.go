package sdr

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// alone gives the layers of one replica, by the portable code.
func alone(t *testing.T, g *Graph, cache ParentList, id [32]byte, layers int) (out [][]byte) {
	l := NewLabeler(id)
	var previous []byte
	for layer := 1; layer <= layers; layer++ {
		w := window{layer: layer, first: 1, parents: cache[Parents:], current: make([]byte, g.Nodes()*LabelSize), previous: previous}
		l.nodeZero(w)
		l.portable(w)
		out = append(out, w.current)
		previous = w.current
	}
	return out
}

// TestLockstepGivesTheSameLabels compares one, two and three replicas in one buffer with
// the portable code for each of them.
func TestLockstepGivesTheSameLabels(t *testing.T) {
	t.Parallel()
	const layers = 3
	for _, nodes := range []int{2, 64, reportEvery + 1<<10 + 2} {
		g := NewGraph([32]byte{6}, nodes, false)
		cache, err := g.ParentList(t.Context(), 2)
		require.NoError(t, err)
		for sectors := 1; sectors <= 3; sectors++ {
			var ids [][32]byte
			for i := range sectors {
				ids = append(ids, [32]byte{byte(nodes), byte(sectors), byte(i), 31: 0x3f})
			}
			l := NewLabeler(ids...)
			var together [][]byte
			var previous []byte
			for layer := 1; layer <= layers; layer++ {
				current := make([]byte, nodes*sectors*LabelSize)
				require.NoError(t, l.Layer(t.Context(), layer, cache, current, previous, nil))
				together = append(together, current)
				previous = current
			}
			for i, id := range ids {
				for k, want := range alone(t, g, cache, id, layers) {
					for node := range nodes {
						require.Equal(t, *slot(want, node), *slot(together[k], node*sectors+i),
							"%d nodes, sector %d of %d, layer %d, node %d", nodes, i, sectors, k+1, node)
					}
				}
			}
		}
	}
}

// FuzzWindow compares the assembly with the portable code on any parents and layer.
func FuzzWindow(f *testing.F) {
	f.Add(uint64(1), uint32(1), uint16(100))
	f.Add(uint64(2), uint32(2), uint16(1))
	f.Add(uint64(3), uint32(11), uint16(1<<10+1))
	f.Add(uint64(4), uint32(1<<31), uint16(0))
	f.Fuzz(func(t *testing.T, seed uint64, layer uint32, nodes uint16) {
		layer = max(1, layer)
		rng := rand.New(rand.NewPCG(seed, 0))
		first, n := 1+int(rng.Uint32N(1000)), int(nodes)%(2<<10)
		for sectors := 1; sectors <= 2; sectors++ {
			w := window{layer: int(layer), first: first, parents: make([]uint32, n*Parents)}
			for i := range w.parents {
				w.parents[i] = rng.Uint32N(uint32(first + i/Parents))
			}
			w.current, w.previous = make([]byte, (first+n)*sectors*LabelSize), make([]byte, (first+n)*sectors*LabelSize)
			ids := make([][32]byte, sectors)
			for _, random := range [][]byte{w.current, w.previous, ids[0][:], ids[sectors-1][:]} {
				for i := range random {
					random[i] = byte(rng.Uint32())
				}
			}
			other := w
			other.current = append([]byte(nil), w.current...)
			l := NewLabeler(ids...)
			l.portable(other)
			if !l.accelerated(w) {
				return // this CPU has not what the assembly needs
			}
			require.Equal(t, other.current, w.current)
		}
	})
}

// BenchmarkLayer8MiB labels layer 2 of one sector, and of two in lockstep.
func BenchmarkLayer8MiB(b *testing.B) {
	g := NewGraph([32]byte{6}, 1<<18, false)
	cache, err := g.ParentList(b.Context(), 1)
	require.NoError(b, err)
	benchmarkLayer(b, g.Nodes(), cache)
}

// BenchmarkLayerOutOfCache labels nodes whose parents lie anywhere in layers of 512 MiB,
// as most do in large sectors.
func BenchmarkLayerOutOfCache(b *testing.B) {
	const labels, nodes = 512 << 20 / LabelSize, 1 << 18
	rng := rand.New(rand.NewPCG(1, 2))
	parents := make(ParentList, Parents*nodes)
	for i := range parents {
		parents[i] = rng.Uint32N(labels)
	}
	benchmarkLayer(b, labels, parents)
}

func benchmarkLayer(b *testing.B, nodes int, parents ParentList) {
	for sectors := 1; sectors <= 2; sectors++ {
		b.Run(fmt.Sprintf("sectors=%d", sectors), func(b *testing.B) {
			current, previous := NewBuffer(nodes*LabelSize*sectors), NewBuffer(nodes*LabelSize*sectors)
			for i := 0; i < len(current); i += 4096 {
				current[i], previous[i] = 1, 1 // have every page
			}
			l := NewLabeler(make([][32]byte, sectors)...)
			labelled := len(parents) / Parents
			w := window{layer: 2, first: 1, parents: parents[Parents:], current: current, previous: previous}
			for _, kind := range []struct {
				name string
				do   func()
			}{
				{"fast", func() {
					if !l.accelerated(w) {
						l.portable(w)
					}
				}},
				{"peer=portable", func() { l.portable(w) }},
			} {
				b.Run(kind.name, func(b *testing.B) {
					for b.Loop() {
						kind.do()
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(labelled*sectors), "ns/label")
				})
			}
		})
	}
}
