package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func (a *app) storageCmd() *cobra.Command {
	return group("storage", "Make and show storage paths", a.attachCmd(), a.storageListCmd())
}

func (a *app) attachCmd() *cobra.Command {
	var init, seal, store bool
	var size string
	var weight uint64
	cmd := &cobra.Command{
		Use:   "attach DIR",
		Short: "Check that a folder can be a storage path, and with --init make it one",
		Long: `Check that a folder can be a storage path of this host, and with --init write its
sectorstore.json. A path that lotus or Curio made is taken as it is. The worker serves
the paths in its configuration: the command prints the line to add.`,
		Args: args("DIR"),
	}
	cmd.Flags().BoolVar(&init, "init", false, "write sectorstore.json with a new id")
	cmd.Flags().BoolVar(&seal, "seal", false, "with --init: sectors are sealed here (local disks only)")
	cmd.Flags().BoolVar(&store, "store", false, "with --init: finished sectors are kept here")
	cmd.Flags().StringVar(&size, "max-storage", "", "with --init: bytes that may be filled, as in 10TiB (default the whole file system)")
	cmd.Flags().Uint64Var(&weight, "weight", 10, "with --init: share of new sectors relative to other paths")
	cmd.RunE = func(_ *cobra.Command, given []string) error {
		dir, err := filepath.Abs(given[0])
		if err != nil {
			return err
		}
		open := files.OpenPath
		switch {
		case init && !seal && !store:
			return usage("--seal, --store or both", "say what %s is for", dir)
		case !init && (seal || store || size != ""):
			return usage("with --init it becomes one", "--seal, --store and --max-storage are for a folder that is no path yet")
		case init:
			o := files.PathOptions{CanSeal: seal, CanStore: store, Weight: weight}
			if size != "" {
				if o.Capacity, err = humanize.ParseBytes(size); err != nil {
					return usage("write it like 10TiB", "--max-storage %q is no number of bytes", size)
				}
			}
			open = func(dir string) (jobs.Path, error) { return files.Init(dir, o) }
		}
		p, err := open(dir)
		if err != nil {
			return &codedError{code: exitRefused, err: err}
		}
		return a.emit(p, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "path %s for %s, %s of %s free\nadd to worker.paths: {dir: %s}\n",
				p.ID, purpose(p), humanize.IBytes(min(p.Free, p.Capacity)), humanize.IBytes(p.Capacity), dir)
			return err
		})
	}
	return a.jsonFlag(cmd)
}

func purpose(p jobs.Path) string {
	var uses []string
	if p.CanSeal {
		uses = append(uses, "sealing")
	}
	if p.CanStore {
		uses = append(uses, "storage")
	}
	return strings.Join(uses, "+")
}

// pathLine is a live path and who serves it.
type pathLine struct {
	jobs.Path
	Host    string `json:"host"`
	Sectors int    `json:"sectors"` // with space reserved on it
}

func (a *app) storageListCmd() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "list",
		Short: "List the paths that live workers serve",
		Args:  args(),
		RunE: a.joined(func(ctx context.Context, c *cluster, _ []string) error {
			workers, err := c.store.Workers(ctx)
			if _, err = sectors.Unread(err); err != nil {
				return err
			}
			lines, seen := []pathLine{}, map[string]bool{}
			for _, w := range workers {
				for _, p := range w.Paths {
					if seen[p.ID] {
						continue // several workers of one host share it
					}
					seen[p.ID] = true
					held, err := c.store.Reservations(ctx, p.ID)
					if _, err = sectors.Unread(err); err != nil {
						return err
					}
					lines = append(lines, pathLine{p, w.Host, len(held)})
				}
			}
			return a.emit(lines, func(w io.Writer) error {
				return tableOr(w, "no live worker serves a path: lpseal storage attach makes one, and worker.paths names it", "PATH\tHOST\tFOR\tCAPACITY\tFREE\tRESERVED\tSECTORS\tFOLDER", func(row func(string, ...any)) {
					for _, l := range lines {
						row("%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s", l.ID, l.Host, purpose(l.Path), humanize.IBytes(l.Capacity),
							humanize.IBytes(l.Free), humanize.IBytes(l.Reserved), l.Sectors, or(l.Dir, "-"))
					}
				})
			})
		}),
	})
}
