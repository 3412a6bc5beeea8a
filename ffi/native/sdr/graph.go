package sdr

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"golang.org/x/crypto/blake2b"
)

// The parents of a node.
const (
	BaseParents     = 6 // in the same layer
	ExpanderParents = 8 // in the layer before
	Parents         = BaseParents + ExpanderParents
)

const feistelRounds = 3

// Graph is the parent function of one proof type and sector size.
type Graph struct {
	nodes   uint64
	porepID [32]byte
	legacy  bool
	seed    [28]byte

	// round[i][r] is the Feistel round function for every right half r: the domain of a
	// half is so small (2^17 at 64 GiB) that a table beats hashing for each node.
	round [feistelRounds][]uint32
	half  uint // bits in half an index
}

// NewGraph makes the graph of a sector of nodes 32-byte nodes. porepID seeds it;
// legacy selects the V1 rules, in which the predecessor is the last base parent and
// the expander's permutation is cut to 32 bits.
func NewGraph(porepID [32]byte, nodes int, legacy bool) *Graph {
	g := &Graph{nodes: uint64(nodes), porepID: porepID, legacy: legacy}
	drg := domainSeed("Filecoin_DRSample", porepID)
	copy(g.seed[:], drg[:])

	indexBits := bits.Len64(g.nodes*ExpanderParents - 1)
	g.half = uint(indexBits+1) / 2
	keys := domainSeed("Filecoin_Feistel", porepID)
	for i := range g.round {
		var msg [16]byte
		binary.BigEndian.PutUint64(msg[8:], binary.LittleEndian.Uint64(keys[8*i:]))
		g.round[i] = make([]uint32, 1<<g.half)
		for r := range g.round[i] {
			binary.BigEndian.PutUint64(msg[:], uint64(r))
			h := blake2b.Sum512(msg[:])
			g.round[i][r] = uint32(binary.BigEndian.Uint64(h[:]) & (1<<g.half - 1))
		}
	}
	return g
}

func domainSeed(domain string, porepID [32]byte) [32]byte {
	return sha256.Sum256(append([]byte(domain), porepID[:]...))
}

// Nodes is the number of nodes in a layer.
func (g *Graph) Nodes() int { return int(g.nodes) }

// Parents writes the parents of node into out: the base parents, then the expanders.
func (g *Graph) Parents(node uint32, out *[Parents]uint32) {
	g.base(node, (*[BaseParents]uint32)(out[:]))
	for i := range uint64(ExpanderParents) {
		p := g.permute(uint64(node)*ExpanderParents + i)
		if g.legacy {
			p = uint64(uint32(p))
		}
		out[BaseParents+i] = uint32(p / ExpanderParents)
	}
}

// base draws five parents by DRSample, over a graph with five metanodes for each
// node, and adds the predecessor.
func (g *Graph) base(node uint32, out *[BaseParents]uint32) {
	if node < 2 {
		*out = [BaseParents]uint32{}
		return
	}
	drawn := out[1:]
	out[0] = node - 1
	if g.legacy {
		drawn = out[:BaseParents-1]
		out[BaseParents-1] = node - 1
	}
	rng := newChaCha8(g.seed, node)
	meta := uint64(node) * uint64(len(drawn))
	buckets := uint64(bits.Len64(meta - 1)) // ⌈log2 meta⌉
	for i := range drawn {
		bucket := rng.next()%buckets + 1
		largest := min(meta, 1<<bucket)
		smallest := max(2, largest>>1)
		distance := smallest + rng.next()%(largest-smallest+1)
		p := uint32((meta - distance) / uint64(len(drawn)))
		if p == node {
			p = node - 1
		}
		drawn[i] = p
	}
}

// permute is a Feistel network on 2·half bits, walked until it falls into the domain.
func (g *Graph) permute(index uint64) uint64 {
	mask := uint64(1)<<g.half - 1
	for {
		left, right := index>>g.half, index&mask
		for i := range g.round {
			left, right = right, left^uint64(g.round[i][right])
		}
		index = left<<g.half | right
		if index < g.nodes*ExpanderParents {
			return index
		}
	}
}
