package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/dustin/go-humanize"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/internal/params"
	"github.com/lpseal/lpseal/jobs"
)

// paramFlags choose parameter files.
type paramFlags struct {
	dir       string
	sizes     []string
	post      bool
	update    bool
	aggregate bool
}

func (f *paramFlags) on(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", "", "folder (default $FIL_PROOFS_PARAMETER_CACHE or /var/tmp/filecoin-proof-parameters)")
	flags.StringSliceVar(&f.sizes, "sector-size", nil, "only for sectors of these sizes")
	flags.BoolVar(&f.post, "post", false, "those of WindowPoSt and WinningPoSt, too")
	flags.BoolVar(&f.update, "update", false, "those of sector updates, too")
	flags.BoolVar(&f.aggregate, "aggregate", false, "the SRS of aggregated proofs, too")
}

func (f *paramFlags) folder() params.Dir {
	if f.dir != "" {
		return params.Dir(f.dir)
	}
	return params.DefaultDir()
}

func (f *paramFlags) files() ([]params.File, error) {
	circuits := []params.Circuit{params.PoRep}
	for _, c := range []struct {
		wanted  bool
		circuit params.Circuit
	}{{f.post, params.PoSt}, {f.update, params.Update}, {f.aggregate, params.Aggregate}} {
		if c.wanted {
			circuits = append(circuits, c.circuit)
		}
	}
	sizes, err := sectorSizes(f.sizes)
	return params.Files(sizes, circuits...), err
}

func sectorSizes(names []string) ([]abi.SectorSize, error) {
	var out []abi.SectorSize
	for _, name := range names {
		proof, err := sealProof(name)
		if err != nil {
			return nil, err
		}
		size, err := proof.SectorSize()
		if err != nil {
			return nil, err
		}
		out = append(out, size)
	}
	return out, nil
}

func (a *app) paramsCmd() *cobra.Command {
	return group("params", "List, fetch, check and make proof parameters", a.paramsListCmd(), a.paramsFetchCmd(), a.paramsCheckCmd(), a.paramsGenerateCmd())
}

func (a *app) paramsListCmd() *cobra.Command {
	var f paramFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List parameter files and what is known of those on disk; reads none",
		Args:  args(),
		RunE: func(*cobra.Command, []string) error {
			files, err := f.files()
			if err != nil {
				return err
			}
			all, err := f.folder().List(files)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(all, func(s params.Status) bool { return s.State != params.Missing }) {
				fmt.Fprintf(a.err, "nothing is in %s: lpseal params fetch --sector-size 32GiB gets what a size needs (the native prover needs none)\n", f.folder())
			}
			return a.emitParams(all)
		},
	}
	f.on(cmd)
	return a.jsonFlag(cmd)
}

func (a *app) paramsFetchCmd() *cobra.Command {
	var f paramFlags
	var sources []string
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Fetch what is missing, continue what was broken off, check all",
		Args:  args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(f.sizes) == 0 {
				return usage("write --sector-size 32GiB, say: the larger sizes have tens of gigabytes each", "--sector-size is missing")
			}
			files, err := f.files()
			if err != nil {
				return err
			}
			report, done := a.paramsMeter()
			err = f.folder().Fetch(cmd.Context(), files, params.Fetcher{Sources: sources, Report: report})
			done()
			if err != nil {
				return err
			}
			all, err := f.folder().List(files)
			if err != nil {
				return err
			}
			return a.emitParams(all)
		},
	}
	f.on(cmd)
	cmd.Flags().StringSliceVar(&sources, "source", nil, "base URLs, asked in this order (default $IPFS_GATEWAY and public gateways)")
	return a.jsonFlag(cmd)
}

func (a *app) paramsCheckCmd() *cobra.Command {
	var f paramFlags
	var again bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Take the digests of the files on disk; exit code 1 if one is wrong",
		Args:  args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := f.files()
			if err != nil {
				return err
			}
			report, done := a.paramsMeter()
			all, err := f.folder().Check(cmd.Context(), files, again, report)
			done()
			if err != nil {
				return err
			}
			if err := a.emitParams(all); err != nil {
				return err
			}
			for _, s := range all {
				if s.State == params.Wrong {
					return &codedError{exitFailure, fmt.Errorf("%s has digest %s, not %s", s.Name, s.Found, s.Digest),
						[]string{"remove it and run lpseal params fetch"}}
				}
			}
			return nil
		},
	}
	f.on(cmd)
	cmd.Flags().BoolVar(&again, "again", false, "also of files whose digest is known")
	return a.jsonFlag(cmd)
}

func (a *app) paramsGenerateCmd() *cobra.Command {
	var dir, size, tool string
	var proofs int
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make parameters for tests on this machine; no public network accepts their proofs",
		Long: `Make the PoRep parameters of a sector size, and with --aggregate the SRS for aggregated
proofs, from this machine's randomness. They are marked as test parameters: workers refuse
them on mainnet and calibrationnet. 2KiB takes some minutes on 4 cores and 1.1 GB.`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			sizes, err := sectorSizes([]string{size})
			if err != nil {
				return err
			}
			if !slices.Contains(params.TestSizes, sizes[0]) {
				return usage("write 2KiB, 8MiB or 512MiB; lpseal params fetch has those of the other sizes", "no test parameters are made for sectors of %s", size)
			}
			if proofs < 0 || proofs&(proofs-1) != 0 || proofs == 1 {
				return usage("1024 is enough for an aggregate of the most sectors of 2KiB", "--aggregate %d is not a power of two", proofs)
			}
			folder := params.Dir(dir)
			if dir == "" {
				if folder, err = params.TestDir(); err != nil {
					return err
				}
			}
			if tool == "" {
				if tool, err = params.TestTool(); err != nil {
					return notFound("", "%w", err)
				}
			}
			if err := folder.Generate(cmd.Context(), tool, sizes[0], 0); err != nil {
				return err
			}
			files := params.Files(sizes, params.PoRep)
			if proofs > 0 {
				had, err := folder.SRSProofs()
				if err != nil {
					return err
				}
				if err := folder.Generate(cmd.Context(), tool, sizes[0], proofs); err != nil {
					return err
				}
				if 0 < had && had < proofs {
					fmt.Fprintf(a.err, "the SRS was for %d proofs and is made anew for %d: start again what uses it\n", had, proofs)
				}
				files = append(files, params.Files(nil, params.Aggregate)...)
			}
			all, err := folder.Check(cmd.Context(), files, false, nil)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.err, "use them with FIL_PROOFS_PARAMETER_CACHE=%s\n", folder)
			return a.emitParams(all)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dir, "dir", "", "folder, apart from production parameters (default in the user's cache folder)")
	flags.StringVar(&size, "sector-size", "2KiB", "2KiB, 8MiB or 512MiB")
	flags.IntVar(&proofs, "aggregate", 0, "also an SRS for aggregates of up to this many proofs, a power of two; a smaller one is replaced")
	flags.StringVar(&tool, "tool", "", "the program testparams (default where make ffi put it)")
	_ = flags.MarkHidden("tool")
	return a.jsonFlag(cmd)
}

// paramsMeter shows how far each file is: one meter after another.
func (a *app) paramsMeter() (params.Report, func()) {
	var mu sync.Mutex
	m := a.progress("params")
	return func(name string, done, total uint64) {
		mu.Lock()
		defer mu.Unlock()
		m.report(jobs.Progress{Step: name, Done: done, Total: total})
	}, m.done
}

func (a *app) emitParams(all []params.Status) error {
	return a.emit(all, func(w io.Writer) error {
		return table(w, "STATE\tSECTOR\tCIRCUIT\tSIZE\tDIGEST\tFILE", func(row func(string, ...any)) {
			for _, s := range all {
				size, sector := "-", "any"
				if s.Size > 0 {
					size = humanize.IBytes(uint64(s.Size))
				}
				if s.SectorSize > 0 {
					sector = humanize.IBytes(uint64(s.SectorSize))
				}
				row("%s\t%s\t%s\t%s\t%s\t%s", s.State, sector, s.Circuit, size, or(s.Found, "-"), s.Name)
			}
		})
	})
}

// proofParameters is the check before anything that proves, verifies or aggregates with
// filecoin-ffi, as need says. network is the connected one's name.
func proofParameters(network string, need func(abi.SectorSize) params.Need, warn func(msg string, args ...any)) func(context.Context, abi.SectorSize) error {
	var once sync.Once
	return func(ctx context.Context, size abi.SectorSize) error {
		dir := params.DefaultDir()
		test, err := dir.Ready(ctx, network, need(size))
		if test && err == nil {
			once.Do(func() {
				warn("proving with test parameters: only networks whose verifying key is theirs accept the proofs", "dir", string(dir), "network", network)
			})
		}
		return err
	}
}
