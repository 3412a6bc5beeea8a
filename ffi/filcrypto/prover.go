//go:build filcrypto

package filcrypto

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/klauspost/cpuid/v2"

	ffi "github.com/filecoin-project/filecoin-ffi"

	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/jobs"
)

// Options configure a [Prover].
type Options struct {
	// Threads bounds the library's threads and the data tree's; 0 means one for each
	// processor. The library takes it from the environment, once in a process.
	Threads int
	// Parameters sees that the proof parameters of a sector size are there and are
	// what they should be, before the library first reads them. nil trusts the folder.
	Parameters func(ctx context.Context, size abi.SectorSize) error
	// Aggregates does the same for aggregates: the SRS, and the size's verifying key.
	Aggregates func(ctx context.Context, size abi.SectorSize) error
}

// Prover is the filecoin-ffi backend. It has no state of its own; the library keeps
// parameters in memory from one C2 to the next, for as long as the process lives.
type Prover struct {
	Options
	data *native.Prover
}

var _ jobs.Prover = (*Prover)(nil)

// New makes a Prover, unless the library was built for another CPU.
func New(o Options) (*Prover, error) {
	if err := runsHere(ffi.TargetFeatures, func(f cpuid.FeatureID) bool { return cpuid.CPU.Supports(f) }); err != nil {
		return nil, err
	}
	if o.Threads > 0 {
		if err := os.Setenv("RAYON_NUM_THREADS", strconv.Itoa(o.Threads)); err != nil {
			return nil, err
		}
	}
	return &Prover{o, native.New(native.Options{Threads: o.Threads})}, nil
}

// Name tells the backend in configuration and logs.
func (*Prover) Name() string { return Name }

// GPUs are the names of the GPUs that the library can use.
func GPUs() ([]string, error) { return ffi.GetGPUDevices() }

// Build names the library: its key in the cache folder, and the kind of GPU it was
// built for (cuda, opencl or none).
func Build() (key, gpu string) { return ffi.BuildKey, ffi.BuildGPU }

// UnsealedCID is CommD of pieces as the library computes it.
func UnsealedCID(proof abi.RegisteredSealProof, pieces []abi.PieceInfo) (cid.Cid, error) {
	return ffi.GenerateUnsealedCID(proof, pieces)
}

// TreeD makes the data tree by ffi/native, which checks every piece on the way.
func (p *Prover) TreeD(ctx context.Context, proof abi.RegisteredSealProof, cache string, pieces []jobs.PieceReader, report func(jobs.Progress)) (cid.Cid, error) {
	return p.data.TreeD(ctx, proof, cache, pieces, report)
}

// parameters is a check before anything that proves or verifies.
func (p *Prover) parameters(ctx context.Context, s jobs.Seal) error {
	return trusted(ctx, s, p.Parameters)
}

// trusted has the files checked that work with a seal's size reads.
func trusted(ctx context.Context, s jobs.Seal, check func(context.Context, abi.SectorSize) error) error {
	if check == nil {
		return nil
	}
	size, err := s.Proof.SectorSize()
	if err != nil {
		return jobs.Failf(jobs.Rejected, "seal proof %d: %w", s.Proof, err)
	}
	return check(ctx, size)
}

// interactive says whether the proof is one that this package seals: V1, V1_1, or
// V1_1 with synthetic challenges.
func interactive(p abi.RegisteredSealProof) error {
	if last := len(versions)*len(sizeNames) - 1; p < 0 || int(p) > last {
		return jobs.Failf(jobs.Rejected, "seal proof %d is not an interactive one: lpseal seals numbers 0 to %d", p, last)
	}
	return nil
}

// checkSeal refuses what the library would take for a valid sector or die of.
func checkSeal(s jobs.Seal) error {
	if err := interactive(s.Proof); err != nil {
		return err
	}
	if err := random("ticket", s.Ticket); err != nil {
		return err
	}
	if _, err := s.ReplicaID(); err != nil {
		return jobs.Failf(jobs.Bug, "%w", err)
	}
	return nil
}

// checkProof is checkSeal for what is known after tree_rc and the seed.
func checkProof(s jobs.Seal) error {
	if err := checkSeal(s); err != nil {
		return err
	}
	if _, err := jobs.CommitmentBytes(s.CommR); err != nil {
		return jobs.Failf(jobs.Bug, "CommR: %w", err)
	}
	return random("seed", s.Seed)
}

func random(what string, b []byte) error {
	if len(b) != abi.RandomnessLength || bytes.Equal(b, make([]byte, abi.RandomnessLength)) {
		return jobs.Failf(jobs.Bug, "the %s is %x, want %d bytes that are not all zero", what, b, abi.RandomnessLength)
	}
	return nil
}

// call runs a call into the library unless ctx has ended, and says so if it ended
// meanwhile: what came out is then nobody's.
func call(ctx context.Context, what string, s jobs.Seal, do func() error) error {
	err := ctx.Err()
	if err == nil {
		err = do()
	}
	if ended := ctx.Err(); ended != nil {
		err = ended
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, s.ID, err)
	}
	return nil
}
