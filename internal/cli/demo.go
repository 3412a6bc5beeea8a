package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/jobs"
)

// demoFlags say what the demo seals.
type demoFlags struct {
	data      string
	size      string
	keep      bool
	wait      bool
	corrupt   bool
	epoch     time.Duration
	prover    string
	synthetic bool
	aggregate bool
}

func (a *app) demoCmd() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Seal a file and unseal it again, everything in one process",
		Long: `Seal a file and unseal it again on this machine: Redis in the process, the embedded node,
a scheduler and two workers of GPU classes a and b (labels only: the native prover needs no
GPU). The data is then decoded in an empty folder from the stored replicas alone.`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.data = or(f.data, os.Getenv("DATA")) // as the flag's default it would get into the reference
			if err := f.check(); err != nil {
				return err
			}
			return a.demo(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "", "file to seal (default generated, one and a half sectors; $DATA)")
	flags.StringVar(&f.size, "sector-size", "8MiB", "2KiB or 8MiB")
	flags.BoolVar(&f.keep, "keep", false, "keep the demo's folder")
	flags.StringVar(&f.prover, "prover", jobs.NativeProver, "native, or filcrypto: real proofs on the CPU, with test parameters (make demo-ffi)")
	flags.BoolVar(&f.synthetic, "synthetic", false, "with synthetic proofs: layers go before pre-commit")
	flags.BoolVar(&f.aggregate, "aggregate", false, "with filcrypto: at least four sectors, whose proofs are joined into one (make demo-ffi AGGREGATE=1)")
	flags.BoolVar(&f.wait, "wait", false, "when all is done, keep the pages up until Ctrl-C")
	flags.BoolVar(&f.corrupt, "corrupt", false, "flip one byte of a stored replica")
	flags.DurationVar(&f.epoch, "epoch", 0, "time between two epochs of the embedded node (default 100ms, 1s with --aggregate)")
	_ = flags.MarkHidden("corrupt")
	_ = flags.MarkHidden("epoch")
	return a.jsonFlag(cmd)
}

// epochDuration is short, so that waiting for the chain is. Aggregated sectors wait for each other, too, and a batch that counts
// the time to its deadlines needs whole seconds: a node tells no others of its epochs, and less would be none.
func (f demoFlags) epochDuration() time.Duration {
	switch {
	case f.epoch > 0:
		return f.epoch
	case f.aggregate:
		return time.Second
	}
	return 100 * time.Millisecond
}

// patience bounds the whole demo: a real proof takes minutes where many share the CPU.
func (f demoFlags) patience() time.Duration {
	if f.snarks() {
		return time.Hour
	}
	return 10 * time.Minute
}

func (a *app) demo(ctx context.Context, f demoFlags) (err error) {
	dir, err := os.MkdirTemp("", "lpseal-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if f.keep || err != nil && ctx.Err() == nil && !f.corrupt {
			fmt.Fprintf(a.err, "kept: %s (the log is in %s)\n", dir, demoLog)
			return
		}
		_ = os.RemoveAll(dir)
	}()
	limited, cancel := context.WithTimeout(ctx, f.patience())
	defer cancel()
	start := time.Now()
	if err := f.useTestParameters(ctx); err != nil {
		return err
	}
	input, err := demoInput(dir, f)
	if err != nil {
		return err
	}
	w, err := startDemo(limited, a, dir, input, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	result, err := w.run(limited, input, f)
	if err != nil {
		return err
	}
	result.Seconds = time.Since(start).Seconds()
	if err := a.emit(result, func(out io.Writer) error { return result.print(out, w) }); err != nil {
		return err
	}
	if !result.OK {
		return fmt.Errorf("the data is not what was sealed: SHA-256 %s, not %s", result.Unsealed, result.Data)
	}
	if f.wait {
		<-ctx.Done()
	}
	return nil
}

// run adds the sectors, waits for them, and takes them apart again.
func (w *demoWorld) run(ctx context.Context, input string, f demoFlags) (*demoResult, error) {
	if err := w.workersLive(ctx, 2); err != nil {
		return nil, err
	}
	digest, err := fileDigest(input)
	if err != nil {
		return nil, err
	}
	ids, err := w.add(ctx, input, f)
	if err != nil {
		return nil, err
	}
	drained, err := w.watch(ctx, ids)
	if err != nil {
		return nil, err
	}
	result, err := w.collect(ctx, ids)
	if err != nil {
		return nil, err
	}
	if f.aggregate {
		if result.Aggregate, err = w.aggregate(ctx, ids); err != nil {
			return nil, err
		}
	}
	result.Data, result.Drained, result.Prover = digest, drained, f.prover
	if f.corrupt {
		if err := w.corrupt(ctx, ids[0]); err != nil {
			return nil, err
		}
	}
	if err := w.forget(input); err != nil {
		return nil, err
	}
	if result.Unsealed, err = w.unsealAll(ctx, ids); err != nil {
		return nil, err
	}
	result.OK = result.Data == result.Unsealed
	return result, nil
}

// add adds the input and sectors without data, as an operator would.
func (w *demoWorld) add(ctx context.Context, input string, f demoFlags) ([]jobs.SectorID, error) {
	s, err := f.sectors(input)
	if err != nil {
		return nil, err
	}
	op := &app{in: w.app.in, out: io.Discard, err: io.Discard, json: true, config: w.file("operator"), alone: true, flags: map[string]string{}}
	if err := op.addFile(ctx, input, addFlags{intakeFlags: intakeFlags{synthetic: f.synthetic}}); err != nil {
		return nil, err
	}
	in, stop, err := op.intake(ctx, intakeFlags{})
	if err != nil {
		return nil, err
	}
	defer stop()
	if err := op.pledge(ctx, in, s.pledged, intakeFlags{synthetic: f.synthetic}); err != nil {
		return nil, err
	}
	return w.store.All(ctx, nil)
}

// corrupt flips one bit of a stored replica, in its first byte: the first of the data.
func (w *demoWorld) corrupt(ctx context.Context, id jobs.SectorID) error {
	sealed, err := w.storedReplica(ctx, id)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(sealed, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	if _, err = f.ReadAt(b, 0); err == nil {
		b[0] ^= 1
		_, err = f.WriteAt(b, 0)
	}
	return errors.Join(err, f.Close())
}

// forget deletes everything the data could be had from but the stored replicas: the
// input copy, the pieces, and the sealing paths' scratch; and unsealed copies.
func (w *demoWorld) forget(input string) error {
	var errs []error
	if w.ownInput {
		errs = append(errs, os.Remove(input))
	}
	for _, h := range demoHosts {
		for _, p := range []string{"seal/pieces", "seal/cache", "seal/sealed", "seal/unsealed", "store/unsealed", "store/pieces"} {
			entries, err := filepath.Glob(filepath.Join(w.dir, h.id, p, "*"))
			errs = append(errs, err)
			for _, e := range entries {
				errs = append(errs, os.RemoveAll(e))
			}
		}
	}
	return errors.Join(errs...)
}
