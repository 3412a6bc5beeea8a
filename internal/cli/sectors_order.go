package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/jobs"
)

// order performs an operator's orders, all or, if the sector's state does not allow one of
// them, none, and says what is so now.
func (a *app) order(ctx context.Context, c *cluster, id jobs.SectorID, events ...jobs.Event) error {
	r, err := c.store.Load(ctx, id)
	if err != nil {
		return err
	}
	if err := unfinished(r); err != nil {
		return err
	}
	for _, e := range events {
		if r, err = jobs.Apply(r, e, time.Now()); err != nil {
			return err
		}
	}
	for _, e := range events {
		if err := c.order(ctx, id, e, who()); err != nil {
			return err
		}
		if err := a.emit(map[string]any{"sector": id, "order": e.String()}, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s: %s\n", id, e)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// unfinished refuses an order to a sector that is through the pipeline.
func unfinished(r *jobs.Record) error {
	if r.Outcome == jobs.Open {
		return nil
	}
	return refused("a finished sector takes no orders; lpseal sectors show "+r.ID.String()+" says what became of it", "%s is %s", r.ID, r.Outcome)
}

func (a *app) holdCmd() *cobra.Command {
	var why string
	cmd := a.onSector("hold", "Start nothing new for a sector; what runs may finish", func(ctx context.Context, c *cluster, id jobs.SectorID) error {
		return a.order(ctx, c, id, jobs.Held{Hold: jobs.Hold{Reason: why}})
	})
	cmd.Flags().StringVar(&why, "reason", "held by order", "why, for whoever looks next")
	return a.jsonFlag(cmd)
}

func (a *app) releaseCmd() *cobra.Command {
	var drop bool
	cmd := a.onSector("release", "Let a held sector go on", func(ctx context.Context, c *cluster, id jobs.SectorID) error {
		if drop {
			return a.order(ctx, c, id, jobs.DealsDropped{Why: "by order"}, jobs.Released{})
		}
		return a.order(ctx, c, id, jobs.Released{})
	})
	cmd.Flags().BoolVar(&drop, "drop-deals", false, "commit its pieces as plain data: claim no allocation, notify nobody (where it is too late for its deals)")
	return a.jsonFlag(cmd)
}

func (a *app) abortCmd() *cobra.Command {
	var yes bool
	var why string
	cmd := a.onSector("abort", "Kill what runs for a sector and hold it", func(ctx context.Context, c *cluster, id jobs.SectorID) error {
		if !yes {
			return refused("give --yes to go on", "abort %s: the work of its running stages is lost", id)
		}
		return a.order(ctx, c, id, jobs.Aborted{Why: why})
	})
	cmd.Flags().BoolVar(&yes, "yes", false, "really do it")
	cmd.Flags().StringVar(&why, "reason", "by order", "why, for whoever looks next")
	return a.jsonFlag(cmd)
}

func (a *app) removeCmd() *cobra.Command {
	var yes bool
	var why string
	cmd := a.onSector("remove", "Give a sector up: its scratch is deleted, its number stays used", func(ctx context.Context, c *cluster, id jobs.SectorID) error {
		r, err := c.store.Load(ctx, id)
		if err != nil {
			return err
		}
		if err := unfinished(r); err != nil {
			return err
		}
		if !yes {
			return refused("give --yes to go on", "remove %s: %s", id, loss(r))
		}
		return a.order(ctx, c, id, jobs.AbandonOrdered{Why: why})
	})
	cmd.Flags().BoolVar(&yes, "yes", false, "really do it")
	cmd.Flags().StringVar(&why, "reason", "by order", "why, for the log")
	return a.jsonFlag(cmd)
}

// loss says what a removal costs.
func loss(r *jobs.Record) string {
	switch {
	case r.Activation != 0:
		return "it is committed on chain: without its files it will be faulty and cost penalties"
	case r.PreCommitted():
		return "it is pre-committed on chain: the deposit will be burnt"
	}
	return "its scratch files are deleted"
}

func (a *app) retryCmd() *cobra.Command {
	var from string
	cmd := a.onSector("retry", "Do a stage and all that depends on it again", func(ctx context.Context, c *cluster, id jobs.SectorID) error {
		r, err := c.store.Load(ctx, id)
		if err != nil {
			return err
		}
		if err := unfinished(r); err != nil {
			return err
		}
		stage, err := retryFrom(r, from)
		if err != nil {
			return err
		}
		again := jobs.RolledBack{To: stage, ByOrder: true, Why: "retry by order"}
		if r.Hold != nil { // until then nothing starts
			return a.order(ctx, c, id, again, jobs.Released{})
		}
		return a.order(ctx, c, id, again)
	})
	cmd.Flags().StringVar(&from, "from", "", "stage to start at (default the one that failed)")
	completes(cmd, "from", stageNames(false)...)
	return a.jsonFlag(cmd)
}

// retryFrom is the stage to do again: the one named, or the one that failed.
func retryFrom(r *jobs.Record, named string) (jobs.Stage, error) {
	if named != "" {
		s, err := jobs.ParseStage(named)
		if err != nil {
			return "", usage("lpseal stages lists them", "%w", err)
		}
		if jobs.RowOf(s).Recovery {
			return "", usage("name a stage of the pipeline", "%s starts when a fault asks for it", s)
		}
		return s, nil
	}
	if r.Hold != nil && r.Hold.Stage != "" {
		return r.Hold.Stage, nil
	}
	i := slices.IndexFunc(jobs.Stages, func(row *jobs.Row) bool { return r.Stage(row.Stage).State == jobs.Faulted && !row.Recovery })
	if i < 0 {
		return "", refused("name the stage with --from", "retry %s: no stage of it has failed", r.ID)
	}
	return jobs.Stages[i].Stage, nil
}
