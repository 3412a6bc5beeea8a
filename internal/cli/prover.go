package cli

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/jobs"
)

// backend is a kind of prover.
type backend struct {
	make func(o backendOptions) (jobs.Prover, error)
	// build names what the prover was built from: figures of another build say nothing.
	build func() string
	// gpu is the kind of GPU that it was built for, none for none; nil needs no GPU.
	gpu func() string
}

type backendOptions struct {
	threads int
	network string // name of the connected network; empty where none is
	log     *slog.Logger
}

// provers are the proof backends in this program, by the name that a lane gives. The native
// one always is; others come with build tags.
var provers = map[string]backend{
	jobs.NativeProver: {
		make: func(o backendOptions) (jobs.Prover, error) {
			return native.New(native.Options{Threads: o.threads}), nil
		},
		build: thisBuild().name,
	},
}

// verifyAggregate checks SnarkPack proofs for the embedded node; nil in a binary without filecoin-ffi, which alone can.
var verifyAggregate func(ctx context.Context, seals []jobs.Seal, aggregate []byte) error

func newBackend(name string, o backendOptions) (jobs.Prover, error) {
	b, ok := provers[name]
	switch {
	case ok:
		return b.make(o)
	case !slices.Contains(configs.Provers, name):
		return nil, usage("write native or filcrypto", "there is no prover %q", name)
	}
	return nil, usage("make build-ffi builds a program that has it", "prover %s is not in this program, which has %s", name, strings.Join(slices.Sorted(maps.Keys(provers)), ", "))
}

// newProver makes the prover of a lane: of one kind, or with a kind for each stage. All
// kinds write the same files.
func newProver(l jobs.Lane, o backendOptions) (jobs.Prover, error) {
	o.threads = l.Threads
	made := map[string]jobs.Prover{}
	pick := func(name string) (jobs.Prover, error) {
		if made[name] == nil {
			p, err := newBackend(name, o)
			if err != nil {
				return nil, err
			}
			made[name] = p
		}
		return made[name], nil
	}
	var s stagedProver
	for _, stage := range []struct {
		name string
		into *jobs.Prover
	}{
		{l.Prover, &s.Prover}, {l.ProverOf(jobs.TreeD), &s.treeD}, {l.ProverOf(jobs.SDR), &s.sdr},
		{l.ProverOf(jobs.TreeRC), &s.treeRC}, {l.ProverOf(jobs.C1), &s.c1}, {l.ProverOf(jobs.C2), &s.c2},
	} {
		p, err := pick(stage.name)
		if err != nil {
			return nil, err
		}
		*stage.into = p
	}
	if len(made) == 1 {
		return s.Prover, nil
	}
	return &s, nil
}

// stagedProver gives each stage to the prover that the lane names for it.
type stagedProver struct {
	jobs.Prover                // the lane's own, for what is no stage
	treeD, sdr, treeRC, c1, c2 jobs.Prover
}

func (s *stagedProver) TreeD(ctx context.Context, proof abi.RegisteredSealProof, cache string, pieces []jobs.PieceReader, report func(jobs.Progress)) (cid.Cid, error) {
	return s.treeD.TreeD(ctx, proof, cache, pieces, report)
}

func (s *stagedProver) SDR(ctx context.Context, seal jobs.Seal, cache string, report func(jobs.Progress)) error {
	return s.sdr.SDR(ctx, seal, cache, report)
}

// Width implements [jobs.Lockstep]: 1 where the prover of the layers does not.
func (s *stagedProver) Width() int {
	if l, ok := s.sdr.(jobs.Lockstep); ok {
		return l.Width()
	}
	return 1
}

// SDRTogether implements [jobs.Lockstep], one after another where the prover of the layers
// does not.
func (s *stagedProver) SDRTogether(ctx context.Context, group []jobs.SDRJob) []error {
	if l, ok := s.sdr.(jobs.Lockstep); ok {
		return l.SDRTogether(ctx, group)
	}
	errs := make([]error, len(group))
	for i, j := range group {
		errs[i] = s.sdr.SDR(j.Ctx, j.Seal, j.Cache, j.Report)
	}
	return errs
}

func (s *stagedProver) TreeRC(ctx context.Context, seal jobs.Seal, f jobs.Folders, report func(jobs.Progress)) (cid.Cid, error) {
	return s.treeRC.TreeRC(ctx, seal, f, report)
}

func (s *stagedProver) C1(ctx context.Context, seal jobs.Seal, f jobs.Folders) ([]byte, error) {
	return s.c1.C1(ctx, seal, f)
}

func (s *stagedProver) C2(ctx context.Context, seal jobs.Seal, c1 []byte) ([]byte, error) {
	return s.c2.C2(ctx, seal, c1)
}

// Verify is c2's: a proof is checked by the kind that made it.
func (s *stagedProver) Verify(ctx context.Context, seal jobs.Seal, proof, c1 []byte) error {
	return s.c2.Verify(ctx, seal, proof, c1)
}

func (s *stagedProver) Unseal(ctx context.Context, seal jobs.Seal, sealed, scratch string, offset, size uint64, w io.Writer, report func(jobs.Progress)) error {
	return s.sdr.Unseal(ctx, seal, sealed, scratch, offset, size, w, report)
}

// networkEnv tells a child the connected network's name: it has no node to ask.
const networkEnv = "LPSEAL_CHILD_NETWORK"

// backendOptions are those of this process: network is empty where nobody asked a node.
func (c *cluster) backendOptions(network string) backendOptions {
	return backendOptions{network: or(network, os.Getenv(networkEnv)), log: c.logs.of("prover")}
}
