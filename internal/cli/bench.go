package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/klauspost/cpuid/v2"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/internal/figures"
	"github.com/lpseal/lpseal/jobs"
)

// benchFlags are the fixed contract for measuring: names and meanings do not change.
type benchFlags struct {
	backend, size, miner, ticket, seed, data, dir string
	proof                                         int64
	number                                        uint64
	threads                                       int
}

func (a *app) benchCmd() *cobra.Command {
	var f benchFlags
	seal := &cobra.Command{
		Use:   "seal",
		Short: "Seal one sector without Redis or a node, up to the vanilla proof, and print digests and times",
		Long: `Seal one sector without Redis or a node, up to the vanilla proof, and print digests and times.
The times are kept in host.state_dir: workers whose lanes have prover auto choose by them when they
start. Measure with each backend, best with sectors of the size to come.`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchSeal(cmd, &f) },
	}
	flags := seal.Flags()
	flags.StringVar(&f.backend, "backend", jobs.NativeProver, "prover: native or filcrypto")
	flags.StringVar(&f.size, "sector-size", "2KiB", "2KiB, 8MiB, …")
	flags.Int64Var(&f.proof, "seal-proof", -1, "registered seal proof (default V1_1 of the size)")
	flags.StringVar(&f.miner, "miner", "1000", "miner's actor ID")
	flags.Uint64Var(&f.number, "number", 1, "sector number")
	flags.StringVar(&f.ticket, "ticket", strings.Repeat("01", 32), "ticket, 32 bytes in hex")
	flags.StringVar(&f.seed, "seed", strings.Repeat("02", 32), "interactive seed, 32 bytes in hex")
	flags.StringVar(&f.data, "data", "", "file with raw data, zero-padded to the sector (default committed capacity)")
	flags.StringVar(&f.dir, "dir", "", "folder for the files, kept (default a temporary one, removed)")
	flags.IntVar(&f.threads, "threads", 0, "threads of a stage (default all processors)")
	return group("bench", "Measure", a.jsonFlag(seal), a.benchLabelsCmd())
}

func (a *app) benchSeal(cmd *cobra.Command, f *benchFlags) (err error) {
	seal, err := f.seal()
	if err != nil {
		return err
	}
	prover, err := newBackend(f.backend, backendOptions{threads: f.threads, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	opts := native.BenchOptions{Seal: seal, Dir: f.dir, Threads: f.threads, Prover: prover}
	if f.data != "" {
		file, err := os.Open(f.data)
		if err != nil {
			return unopened("name a file of raw data", err)
		}
		defer file.Close()
		opts.Data = file
	}
	if f.dir == "" {
		if opts.Dir, err = os.MkdirTemp("", "lpseal-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(opts.Dir)
	}
	res, err := native.SealOnce(cmd.Context(), opts)
	if err != nil {
		return fmt.Errorf("bench seal: %w", err)
	}
	size, err := seal.Proof.SectorSize()
	if err != nil {
		return err
	}
	if err := a.keepFigures(cmd.Context(), f, seal.Proof, res.Seconds); err != nil {
		fmt.Fprintln(a.err, "the times are not kept for lanes with prover auto:", err)
	}
	return a.emit(res, func(w io.Writer) error { return benchTable(w, f.backend, seal, uint64(size), res) })
}

// keepFigures leaves the times in the host's state folder: workers choose provers by them.
func (a *app) keepFigures(ctx context.Context, f *benchFlags, proof abi.RegisteredSealProof, took native.BenchSeconds) error {
	l, err := a.load()
	if err != nil {
		return err
	}
	threads := f.threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	var all []figures.Figure
	for stage, s := range map[jobs.Stage]float64{jobs.SDR: took.SDR, jobs.TreeRC: took.TreeRC, jobs.C1: took.C1} {
		all = append(all, figures.Figure{
			Stage: stage, Prover: f.backend, Proof: proof, Threads: threads, NS: int64(s * 1e9),
			Build: provers[f.backend].build(), CPU: cpuid.CPU.BrandName, At: time.Now().UTC().Truncate(time.Second),
		})
	}
	return figures.Save(ctx, l.Config.Host.StateDir, all...)
}

func (f *benchFlags) seal() (s jobs.Seal, err error) {
	proof, err := sealProof(f.size)
	if err != nil {
		return s, err
	}
	if f.proof >= 0 {
		want, _ := proof.SectorSize()
		proof = abi.RegisteredSealProof(f.proof)
		if size, err := proof.SectorSize(); err != nil || size != want {
			return s, usage("--seal-proof may be left out", "seal proof %d does not seal sectors of %s", f.proof, f.size)
		}
	}
	miner, err := parseMiner(f.miner)
	if err != nil {
		return s, err
	}
	ticket, err := hex32("--ticket", f.ticket)
	if err != nil {
		return s, err
	}
	seed, err := hex32("--seed", f.seed)
	if err != nil {
		return s, err
	}
	id := jobs.SectorID{Miner: miner, Number: abi.SectorNumber(f.number)}
	return jobs.Seal{ID: id, Proof: proof, Ticket: ticket, Seed: seed}, nil
}

func hex32(flag, text string) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 32 {
		return nil, usage("give 64 hex digits", "%s is not 32 bytes in hex", flag)
	}
	return b, nil
}

// parseMiner reads an actor ID with or without its t0 or f0.
func parseMiner(s string) (abi.ActorID, error) {
	if n, err := strconv.ParseUint(s, 10, 63); err == nil {
		return abi.ActorID(n), nil
	}
	id, err := configs.ParseMiner(s)
	if err != nil {
		return 0, usage("", "%w", err)
	}
	return id, nil
}

// sealProofs are the V1_1 proofs by sector size.
var sealProofs = map[string]abi.RegisteredSealProof{
	"2kib":   abi.RegisteredSealProof_StackedDrg2KiBV1_1,
	"8mib":   abi.RegisteredSealProof_StackedDrg8MiBV1_1,
	"512mib": abi.RegisteredSealProof_StackedDrg512MiBV1_1,
	"32gib":  abi.RegisteredSealProof_StackedDrg32GiBV1_1,
	"64gib":  abi.RegisteredSealProof_StackedDrg64GiBV1_1,
}

func sealProof(size string) (abi.RegisteredSealProof, error) {
	p, ok := sealProofs[strings.ToLower(size)]
	if !ok {
		return 0, usage("sizes are 2KiB, 8MiB, 512MiB, 32GiB, 64GiB", "there are no sectors of %q", size)
	}
	return p, nil
}

// benchTable prints in the manner of lotus-bench: a line for each step, with its speed.
func benchTable(w io.Writer, backend string, s jobs.Seal, size uint64, r native.BenchResult) error {
	fmt.Fprintf(w, "----\nresults (%s) sector %s, %s, seal proof %d\n", backend, s.ID, humanize.IBytes(size), s.Proof)
	var total float64
	for _, step := range []struct {
		name    string
		seconds float64
	}{
		{"tree_d", r.Seconds.TreeD}, {"sdr", r.Seconds.SDR}, {"tree_rc", r.Seconds.TreeRC}, {"c1", r.Seconds.C1},
	} {
		total += step.seconds
		fmt.Fprintf(w, "seal: %s: %s (%s/s)\n", step.name, seconds(step.seconds), humanize.IBytes(speed(size, step.seconds)))
	}
	fmt.Fprintf(w, "seal: total: %s (%s/s)\n\ncomm_d: %s\ncomm_r: %s\n", seconds(total), humanize.IBytes(speed(size, total)), r.CommD, r.CommR)
	_, err := fmt.Fprintf(w, "sealed: sha256 %s\nc1: sha256 %s\n", r.Sealed, r.C1)
	return err
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(10 * time.Microsecond)
}

func speed(size uint64, seconds float64) uint64 {
	if seconds <= 0 {
		return 0
	}
	return uint64(float64(size) / seconds)
}
