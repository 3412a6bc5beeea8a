package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/jobs"
)

// slowLabel is a time that no CPU with SHA extensions needs for a label unless the
// library was built without them: 0.8 µs with, 8.6 µs without (measured on Zen 4).
const slowLabel = 4 * time.Microsecond

// labelTime is how long a prover takes for a label of SDR.
type labelTime struct {
	Prover  string `json:"prover"`
	Sectors int    `json:"sectors"`      // labelled in lockstep
	NS      int64  `json:"ns_per_label"` // of one sector: wall time by all labels of all sectors
	Slow    bool   `json:"slow"`
}

func (a *app) benchLabelsCmd() *cobra.Command {
	var backend, size string
	var sectors int
	cmd := &cobra.Command{
		Use:   "labels",
		Short: "Time a label of SDR, the step that takes hours: a slow one shows a library built without SHA-NI",
		Args:  args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newBackend(backend, backendOptions{log: slog.New(slog.DiscardHandler)})
			if err != nil {
				return err
			}
			if _, ok := p.(jobs.Lockstep); sectors < 1 || sectors > 1 && !ok {
				return usage("the native prover labels several", "backend %q does not label %d sectors in lockstep", backend, sectors)
			}
			t, err := timeLabels(cmd.Context(), p, size, sectors)
			if err != nil {
				return fmt.Errorf("bench labels: %w", err)
			}
			return a.emit(t, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s: %d ns per label%s\n", t.Prover, t.NS, map[bool]string{true: ", slow: see docs/how-to/ffi.md"}[t.Slow])
				return err
			})
		},
	}
	cmd.Flags().StringVar(&backend, "backend", jobs.NativeProver, "prover: native or filcrypto")
	cmd.Flags().StringVar(&size, "sector-size", "8MiB", "2KiB, 8MiB, …")
	cmd.Flags().IntVar(&sectors, "sectors", 1, "sectors to label in lockstep")
	return a.jsonFlag(cmd)
}

// labelSeconds bounds the time that labels are taken again and again.
const labelSeconds = 3

// timeLabels labels sectors, the second time with the parents' graph known, and takes the
// best of up to three times: other load only makes it slower.
func timeLabels(ctx context.Context, p jobs.Prover, sectorSize string, sectors int) (t labelTime, err error) {
	f := benchFlags{size: sectorSize, miner: "1000", ticket: hexOf(1), seed: hexOf(2), proof: -1}
	seal, err := f.seal()
	if err != nil {
		return t, err
	}
	if seal.CommD, err = jobs.CommD(seal.Proof, nil); err != nil {
		return t, err
	}
	size, err := seal.Proof.SectorSize()
	if err != nil {
		return t, err
	}
	labels := int64(sectors) * int64(jobs.Layers(seal.Proof)) * int64(size) / 32
	var best, all time.Duration
	for range 3 {
		took, err := timeOnce(ctx, p, seal, sectors)
		if err != nil {
			return t, err
		}
		if best == 0 || took < best {
			best = took
		}
		if all += took; all > labelSeconds*time.Second {
			break
		}
	}
	each := best / time.Duration(labels)
	return labelTime{p.Name(), sectors, each.Nanoseconds(), each > slowLabel}, nil
}

// timeOnce labels sectors of consecutive numbers, together if they are several.
func timeOnce(ctx context.Context, p jobs.Prover, seal jobs.Seal, sectors int) (time.Duration, error) {
	var group []jobs.SDRJob
	for range sectors {
		dir, err := os.MkdirTemp("", "lpseal-labels-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		group = append(group, jobs.SDRJob{Ctx: ctx, Seal: seal, Cache: dir})
		seal.ID.Number++
	}
	start := time.Now()
	if sectors == 1 {
		err := p.SDR(ctx, group[0].Seal, group[0].Cache, nil)
		return time.Since(start), err
	}
	err := errors.Join(p.(jobs.Lockstep).SDRTogether(ctx, group)...)
	return time.Since(start), err
}

// hexOf is 32 equal bytes in hex.
func hexOf(b byte) string {
	return fmt.Sprintf("%x", slices.Repeat([]byte{b}, 32))
}

// warnOfSlowLabels times a label in a process of its own while the worker starts, if an sdr
// lane has a prover that was built for one kind of CPU. It only warns.
func (c *cluster) warnOfSlowLabels(ctx context.Context, lanes []jobs.Lane) {
	i := slices.IndexFunc(lanes, func(l jobs.Lane) bool { return l.Class == jobs.ClassSDR && l.Prover != jobs.NativeProver })
	if i < 0 {
		return // there is one other kind: what holds for one lane holds for all
	}
	log := c.logs.of("prover").With("prover", lanes[i].Prover)
	var t labelTime
	self, err := os.Executable()
	if err == nil {
		var out []byte
		if out, err = exec.CommandContext(ctx, self, "bench", "labels", "--backend", lanes[i].Prover, "--json").Output(); err == nil {
			err = json.Unmarshal(out, &t)
		}
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		log.Warn("the speed of SDR is not known", "err", err)
	case t.Slow:
		log.Warn("SDR is slow: the library does not use this CPU's SHA instructions, or the CPU has none; see docs/how-to/ffi.md", "ns_per_label", t.NS)
	default:
		log.Info("SDR's speed", "ns_per_label", t.NS)
	}
}
