package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func (a *app) machinesCmd() *cobra.Command {
	return group("machines", "Show live workers, drain and resume them",
		a.jsonFlag(&cobra.Command{
			Use:   "list",
			Short: "List live workers, their lanes, and which prover makes each stage there",
			Args:  args(),
			RunE: a.joined(func(ctx context.Context, c *cluster, _ []string) error {
				workers, err := c.store.Workers(ctx)
				unread, err := sectors.Unread(err)
				if err != nil {
					return err
				}
				if workers == nil {
					workers = []jobs.Worker{}
				}
				return a.emit(workers, func(w io.Writer) error {
					printUnread(w, unread)
					return printMachines(w, workers)
				})
			}),
		}),
		a.drainCmd("drain", "Give a worker no more work; what it has, it finishes", true),
		a.drainCmd("resume", "Give a drained worker work again", false),
	)
}

// printMachines prints a line for each worker, then one for each lane that takes no work,
// and one for each stage that a lane makes by a prover.
func printMachines(w io.Writer, workers []jobs.Worker) error {
	err := tableOr(w, "no worker is live: start lpseal scheduler and lpseal worker", "WORKER\tSTATE\tLANES\tMEMORY\tPATHS\tCHILDREN\tFILES", func(row func(string, ...any)) {
		for _, m := range workers {
			row("%s\t%s\t%s\t%s\t%d\t%d\t%s", m.Name(), workerState(m), laneList(m.Lanes), memory(m), len(m.Paths), len(m.Children), or(m.FileURL, "-"))
		}
	})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(workers, unfit) {
		fmt.Fprintln(w)
		err := table(w, "WORKER\tLANE\tUNFIT, BECAUSE", func(row func(string, ...any)) {
			for _, m := range workers {
				for _, l := range m.Lanes {
					if l.Unfit != "" {
						row("%s\t%s\t%s", m.Name(), laneName(l), l.Unfit)
					}
				}
			}
		})
		if err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(workers, makes) {
		return nil
	}
	fmt.Fprintln(w)
	return table(w, "WORKER\tLANE\tSTAGE\tPROVER\tNEEDS\tWHY", func(row func(string, ...any)) {
		for _, m := range workers {
			for _, l := range m.Lanes {
				for _, s := range l.Stages {
					row("%s\t%s\t%s\t%s\t%s\t%s", m.Name(), laneName(l), s.Stage, s.Prover, needText(s.Need), s.Why)
				}
				if len(l.Env) > 0 {
					row("%s\t%s\t\t\t\tenvironment: %s", m.Name(), laneName(l), strings.Join(l.Env, " "))
				}
			}
		}
	})
}

// makes says that some lane of a worker makes stages by a prover.
func makes(w jobs.Worker) bool {
	return slices.ContainsFunc(w.Lanes, func(l jobs.Lane) bool { return len(l.Stages) > 0 })
}

// unfit says that some lane of a worker takes no work.
func unfit(w jobs.Worker) bool {
	return slices.ContainsFunc(w.Lanes, func(l jobs.Lane) bool { return l.Unfit != "" })
}

// memory writes what running stages may take, of what the host has for them.
func memory(w jobs.Worker) string {
	if w.Capacity.Memory == 0 {
		return "-"
	}
	return jobs.Bytes(w.Held.Memory) + " of " + jobs.Bytes(w.Capacity.Memory)
}

// needText writes what a stage takes; a dash while the size of the sectors is not known.
func needText(n jobs.Need) string {
	if n == (jobs.Need{}) {
		return "-"
	}
	text := jobs.Bytes(n.Memory)
	if n.Cores > 0 {
		text += fmt.Sprintf(", %d core", n.Cores)
	}
	if n.VRAM > 0 {
		text += ", GPU " + jobs.Bytes(n.VRAM)
	}
	return text
}

func laneName(l jobs.Lane) string {
	if l.GPU != "" {
		return string(l.Class) + " " + l.GPU
	}
	return string(l.Class)
}

func workerState(w jobs.Worker) string {
	switch {
	case w.Stopping:
		return "stopping"
	case w.Draining:
		return "draining"
	case unfit(w):
		return "unfit"
	}
	return "serving"
}

// laneList writes lanes as class busy/width, with what their children share.
func laneList(lanes []jobs.Lane) string {
	out := make([]string, len(lanes))
	for i, l := range lanes {
		out[i] = fmt.Sprintf("%s %d/%d", laneName(l), l.Busy, l.Width)
		if l.Group > 1 {
			out[i] += fmt.Sprintf(" %d in lockstep", l.Group)
		}
		if l.Loaded > 0 {
			out[i] += fmt.Sprintf(" %d warm", l.Loaded)
		}
		if l.Unfit != "" {
			out[i] += " unfit"
		}
	}
	return strings.Join(out, ", ")
}

func (a *app) drainCmd(use, short string, on bool) *cobra.Command {
	return a.jsonFlag(a.completed(&cobra.Command{
		Use:   use + " HOST/INSTANCE",
		Short: short,
		Args:  args("HOST/INSTANCE"),
		RunE: a.joined(func(ctx context.Context, c *cluster, given []string) error {
			host, instance, ok := strings.Cut(given[0], "/")
			if !ok || !jobs.ValidSlug(host) || !jobs.ValidSlug(instance) {
				return usage("lpseal machines list shows their names", "%q is not a worker like h1/gpu0", given[0])
			}
			workers, err := c.store.Workers(ctx)
			if _, err = sectors.Unread(err); err != nil {
				return err
			}
			live := slices.ContainsFunc(workers, func(w jobs.Worker) bool { return w.Name() == given[0] })
			if on && !live {
				return notFound("lpseal machines list shows those that live", "no live worker is named %s", given[0])
			}
			if err := c.store.SetDraining(ctx, given[0], on); err != nil {
				return err
			}
			return a.emit(map[string]any{"worker": given[0], "draining": on}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s: %s ordered\n", given[0], use)
				return err
			})
		}),
	}, workerNames))
}
