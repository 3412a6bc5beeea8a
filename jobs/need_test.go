package jobs

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
)

const (
	proof2KiB  = abi.RegisteredSealProof_StackedDrg2KiBV1_1
	proof32GiB = abi.RegisteredSealProof_StackedDrg32GiBV1_1
	proof64GiB = abi.RegisteredSealProof_StackedDrg64GiBV1_1
)

// TestNeeds holds the table to the published figures, in its sources' own units.
func TestNeeds(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		got, least, most uint64
	}{
		"two layers of PC1":              {NeedOf(SDR, proof32GiB, "filcrypto", 1, false).Memory, 64 * gib, 65 * gib},
		"two layers of 64 GiB":           {NeedOf(SDR, proof64GiB, NativeProver, 1, false).Memory, 128 * gib, 129 * gib},
		"native layers and their graph":  {NeedOf(SDR, proof2KiB, NativeProver, 1, false).Memory, mib, 64 * mib},
		"native trees, 16 threads":       {NeedOf(TreeRC, proof32GiB, NativeProver, 16, true).Memory, 53 * mib, 100 * mib},
		"rust's trees":                   {NeedOf(TreeRC, proof64GiB, "filcrypto", 16, true).Memory, 30 * gib, 31 * gib},
		"C2 with resident parameters":    {NeedOf(C2, proof32GiB, "filcrypto", 16, true).Memory, 100 * gib, 190 * gib},
		"FFT of 2^27 on the GPU":         {NeedOf(C2, proof32GiB, "filcrypto", 16, true).VRAM, 8 * gib, 8 * gib},
		"no VRAM without a GPU":          {NeedOf(C2, proof32GiB, "filcrypto", 16, false).VRAM, 0, 0},
		"no VRAM for the native prover":  {NeedOf(TreeRC, proof32GiB, NativeProver, 16, true).VRAM, 0, 0},
		"a light stage":                  {NeedOf(Finalize, proof32GiB, "filcrypto", 16, true).Memory, 0, 0},
		"a proof that nobody knows":      {NeedOf(SDR, 99, NativeProver, 1, false).Memory, 0, 0},
		"a copy takes no more than this": {NeedOf(Store, proof64GiB, NativeProver, 1, false).Memory, 1, 64 * mib},
	} {
		require.GreaterOrEqual(t, c.got, c.least, what)
		require.LessOrEqual(t, c.got, c.most, what)
	}
	require.Equal(t, 1, NeedOf(SDR, proof32GiB, NativeProver, 0, false).Cores, "hours on a core of its own")
	require.Zero(t, NeedOf(SDR, proof2KiB, NativeProver, 0, false).Cores)
}

// TestScratchIsReserved: what all stages of a sector write is what placement promises.
func TestScratchIsReserved(t *testing.T) {
	t.Parallel()
	for proof := abi.RegisteredSealProof(5); proof < 15; proof++ {
		var all Need
		for _, row := range Stages {
			all = all.Add(NeedOf(row.Stage, proof, "filcrypto", 1, true))
		}
		size, err := proof.SectorSize()
		require.NoError(t, err)
		if size < 8*mib {
			continue // files of a few kilobytes are mostly heads and tails
		}
		require.LessOrEqual(t, all.Scratch, SealingSpace(proof), "seal proof %d", proof)
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	host := Capacity{Memory: 128 * gib, Cores: 2, VRAM: 8 * gib}
	sdr := Need{Memory: 64 * gib, Cores: 1}
	require.Empty(t, host.Short(sdr, Need{}))
	require.Empty(t, host.Short(sdr, sdr), "two fit exactly")
	require.Equal(t, "64 GiB of memory: it needs 64 GiB, and of 128 GiB here 128 GiB are held; 1 cores: it needs 1, and of 2 here 2 are held",
		host.Short(sdr, sdr.Add(sdr)))
	require.Equal(t, "2 GiB of GPU memory: it needs 10 GiB, and of 8 GiB here 0 B are held", host.Short(Need{VRAM: 10 * gib}, Need{}))
	require.Empty(t, Capacity{Memory: gib}.Short(Need{VRAM: 10 * gib}, Need{}), "nobody knows the GPU's memory")
	require.Empty(t, Capacity{}.Short(Need{Memory: gib}, Need{}), "nor the host's")
	require.Contains(t, Capacity{Memory: gib}.Short(Need{Memory: mib}, Need{Memory: 2 * gib}), "1 MiB of memory", "more held than there is")
}

func TestBytes(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", mib + 1: "1.1 MiB", 3 * gib / 2: "1.5 GiB", 190 * gib: "190 GiB"} {
		require.Equal(t, want, Bytes(n))
	}
}

func TestHeavyStages(t *testing.T) {
	t.Parallel()
	require.Equal(t, []Stage{TreeRC, C2}, HeavyStages(ClassGPU, true))
	require.Equal(t, []Stage{C2}, HeavyStages(ClassGPU, false), "trees are made where the layers are")
	require.Equal(t, []Stage{SDR}, HeavyStages(ClassSDR, true))
	require.Empty(t, HeavyStages(ClassChain, true))
}

// TestLaneStages: a lane names another prover for single stages.
func TestLaneStages(t *testing.T) {
	t.Parallel()
	l := Lane{Class: ClassGPU, Prover: "filcrypto", Threads: 2, Stages: []LaneStage{{Stage: TreeRC, Prover: NativeProver}}}
	require.Equal(t, NativeProver, l.ProverOf(TreeRC))
	require.Equal(t, "filcrypto", l.ProverOf(C2))
	require.Equal(t, NeedOf(TreeRC, proof2KiB, NativeProver, 2, true), l.NeedOf(TreeRC, proof2KiB, 64))
	require.Equal(t, NeedOf(C2, proof2KiB, "filcrypto", 2, true), l.NeedOf(C2, proof2KiB, 64))
	l.Device, l.Threads = NoGPU, 0
	require.Equal(t, NeedOf(TreeRC, proof2KiB, NativeProver, 64, false), l.NeedOf(TreeRC, proof2KiB, 64))
}
