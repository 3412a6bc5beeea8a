package jobs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
)

// Need is what one run of a stage takes of a host at most.
type Need struct {
	Memory uint64 `json:"memory"` // bytes of RAM
	// Cores it keeps busy from its beginning to its end. What takes all cores by
	// turns, or ends within minutes, shares them and needs none of its own.
	Cores   int    `json:"cores,omitempty"`
	VRAM    uint64 `json:"vram,omitempty"`    // bytes of its GPU's memory; 0 without a GPU
	Scratch uint64 `json:"scratch,omitempty"` // bytes it writes on the home path; [SealingSpace] reserves them at placement
}

// Capacity is what a host, or what is left of one, has.
type Capacity struct {
	Memory uint64 `json:"memory"`         // bytes of RAM; 0: not known, and not checked
	Cores  int    `json:"cores"`          // processors this process may use
	VRAM   uint64 `json:"vram,omitempty"` // bytes of memory of the lane's GPU; 0: not known, and not checked
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	// process is a process of this program before it does anything: 20 MiB measured,
	// and as much for what its files' pages take.
	process = 40 * mib
)

// NeedOf declares what a stage needs, by sector size, prover and threads (at least
// 1): the one table of resources. gpu says that the lane gives the prover a GPU.
// Only heavy stages need anything.
//
// The native figures are formulas that ffi/native's TestMemory measures against. Those of
// filcrypto come from
//
//   - a measurement of C2 at 2 KiB, 2.7 GB at most with 1.1 GB of parameters resident
//     (make bench-ffi); twice that at 8 MiB, whose domain is the double;
//   - PC1's two resident layers and 47 GiB of resident parameters at 32 GiB, the
//     published figures (storage-proofs-porep; Curio's account of its proving daemon);
//   - lotus's table of resources for the rest (storage/sealer/storiface/resources.go);
//   - for VRAM, two buffers of the circuit's FFT domain (2^22 at 2 KiB, 2^27 at 32 GiB)
//     of 32 bytes each, and neptune's default batch of 400,000 columns.
func NeedOf(s Stage, proof abi.RegisteredSealProof, prover string, threads int, gpu bool) Need {
	sector, err := proof.SectorSize()
	row := RowOf(s)
	if err != nil || row == nil || !row.Heavy {
		return Need{}
	}
	size, t, layers := uint64(sector), uint64(max(threads, 1)), uint64(Layers(proof))
	var n Need
	switch s {
	case TreeD:
		n.Memory, n.Scratch = t*mib+size/4096+mib/4, 2*size
	case SDR:
		n.Memory, n.Scratch = labelMemory(size, prover), layers*size
		if size >= longSDR {
			n.Cores = 1
		}
	case TreeRC:
		n.Memory, n.Scratch = t*(layers+7)*mib/8+size/2048+mib, size+size*115/100
		if prover != NativeProver {
			n = Need{Memory: rustTrees(size), Scratch: n.Scratch}
			if gpu {
				n.VRAM = gib / 2
			}
		}
		if proof.IsSynthetic() {
			n.Memory += syntheticMemory(shapeFor(proof), prover, t)
			n.Scratch += uint64(shapeFor(proof).SyntheticSize())
		}
	case C1:
		n.Memory, n.Scratch = 30*c1Size(size), c1Size(size)
		if prover != NativeProver {
			n.Memory = rustC1(size)
		}
	case C2:
		n.Memory = 16 * c1Size(size)
		if prover != NativeProver {
			n.Memory = rustC2(size)
			if gpu {
				n.VRAM = 2 * 32 << fftDomain(size)
			}
		}
	}
	n.Memory += process
	return n
}

// syntheticMemory is what synthetic proofs take beside the trees: a list of the
// challenges and a record for each thread; filcrypto holds all proofs until it has
// checked them, with the 37 parents of each label (computed from their types, not
// measured at 32 GiB).
func syntheticMemory(s Shape, prover string, threads uint64) uint64 {
	set := uint64(s.SyntheticChallenges())
	if prover == NativeProver {
		return 16*set + threads*mib/4
	}
	return set * (uint64(s.SyntheticRecord()) + uint64(s.Layers+1)*37*NodeSize) * 3 / 2
}

// longSDR is the sector size from which labelling takes hours, on a core of its own.
const longSDR = 32 * gib

// labelMemory is two layers; the native prover holds the graph beside them while it has
// no parent cache on disk, which nobody keeps for small sectors.
func labelMemory(size uint64, prover string) uint64 {
	if prover == NativeProver && size < longSDR {
		return size*15/4 + mib
	}
	return 2*size + 4*mib
}

// c1Size is the length of the vanilla proof's JSON in bytes: measured below 32 GiB,
// computed above.
func c1Size(size uint64) uint64 {
	switch {
	case size >= 32*gib:
		return 40e6
	case size >= 512*mib:
		return 280e3
	}
	return 210e3
}

func rustTrees(size uint64) uint64 {
	if size >= 32*gib {
		return 15 * gib * (size / (32 * gib))
	}
	return max(size*3, 256*mib)
}

func rustC1(size uint64) uint64 {
	if size >= 512*mib {
		return gib
	}
	return 30 * c1Size(size)
}

func rustC2(size uint64) uint64 {
	switch {
	case size >= 64*gib:
		return 190 * gib
	case size >= 32*gib:
		return 150 * gib
	case size >= 512*mib:
		return 10*gib + 3*gib/2
	case size >= 8*mib:
		return 6 * gib
	}
	return 3 * gib
}

// fftDomain is the binary logarithm of the circuit's FFT domain.
func fftDomain(size uint64) int {
	switch {
	case size >= 32*gib:
		return 27
	case size >= 8*mib:
		return 23
	}
	return 22
}

// Add sums what two runs take at the same time.
func (n Need) Add(m Need) Need {
	return Need{n.Memory + m.Memory, n.Cores + m.Cores, n.VRAM + m.VRAM, n.Scratch + m.Scratch}
}

// Short says what is missing for a need beside what is held; empty if nothing is.
func (c Capacity) Short(n, held Need) string {
	var missing []string
	lack := func(what string, need, have, taken uint64) {
		if left := have - min(taken, have); need > left {
			missing = append(missing, fmt.Sprintf("%s of %s: it needs %s, and of %s here %s are held", Bytes(need-left), what, Bytes(need), Bytes(have), Bytes(taken)))
		}
	}
	if c.Memory > 0 {
		lack("memory", n.Memory, c.Memory, held.Memory)
	}
	if left := max(0, c.Cores-held.Cores); n.Cores > left {
		missing = append(missing, fmt.Sprintf("%d cores: it needs %d, and of %d here %d are held", n.Cores-left, n.Cores, c.Cores, held.Cores))
	}
	if c.VRAM > 0 {
		lack("GPU memory", n.VRAM, c.VRAM, held.VRAM)
	}
	return strings.Join(missing, "; ")
}

// Bytes writes a number of bytes as people read it, rounded up to a tenth of its unit.
func Bytes(n uint64) string {
	for _, u := range []struct {
		size uint64
		name string
	}{{gib, "GiB"}, {mib, "MiB"}, {kib, "KiB"}} {
		if n < u.size {
			continue
		}
		tenths := (n*10 + u.size - 1) / u.size
		if tenths%10 == 0 {
			return fmt.Sprintf("%d %s", tenths/10, u.name)
		}
		return fmt.Sprintf("%d.%d %s", tenths/10, tenths%10, u.name)
	}
	return fmt.Sprintf("%d B", n)
}

// HeavyStages are the stages that a lane's class may be given. Those at home come
// only to hosts that serve a sealing path.
func HeavyStages(c Class, sealsHere bool) []Stage {
	var out []Stage
	for _, r := range Stages {
		if r.Heavy && slices.Contains(r.Classes, c) && (sealsHere || r.Place != AtHome) {
			out = append(out, r.Stage)
		}
	}
	return out
}
