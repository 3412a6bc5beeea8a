package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func (a *app) batchesCmd() *cobra.Command {
	return group("batches", "Show which sectors share messages, and send those that wait", a.batchesListCmd(), a.batchesFlushCmd())
}

// batchList is what `batches list` prints.
type batchList struct {
	Pending []pendingBatch `json:"pending"` // sectors that wait for company, by group
	Open    []batchLine    `json:"open"`
	Ended   []batchLine    `json:"ended,omitempty"`
}

// pendingBatch is a batch to be: what fires it, and when at the latest.
type pendingBatch struct {
	Group   string    `json:"group"`
	Sectors int       `json:"sectors"`
	Max     int       `json:"max"` // it goes at once when so many wait
	Goes    time.Time `json:"goes"`
}

type batchLine struct {
	Batch   string          `json:"batch"`
	Group   string          `json:"group"`
	State   jobs.BatchState `json:"state"`
	Cause   jobs.BatchCause `json:"cause"`
	Since   time.Time       `json:"since"`
	Sectors []jobs.SectorID `json:"sectors"`
	Note    string          `json:"note,omitempty"`
}

func batchLineOf(b *jobs.Batch) batchLine {
	l := batchLine{Batch: b.ID, Group: b.Group.String(), State: b.State, Cause: b.Cause, Since: b.Since, Note: b.Note}
	for _, m := range b.Members {
		l.Sectors = append(l.Sectors, m.ID)
	}
	return l
}

func (a *app) batchesListCmd() *cobra.Command {
	var ended int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the sectors that wait for a batch, what fires it and when, and the batches that are under way",
		Args:  args(),
		RunE: a.joined(func(ctx context.Context, c *cluster, _ []string) error {
			l, err := c.batches(ctx, ended)
			if err != nil {
				return err
			}
			return a.emit(l, func(w io.Writer) error { return printBatches(w, l) })
		}),
	}
	cmd.Flags().IntVar(&ended, "ended", 0, "and so many that ended, the latest first")
	return a.jsonFlag(cmd)
}

func (c *cluster) batches(ctx context.Context, ended int) (batchList, error) {
	l := batchList{Pending: []pendingBatch{}, Open: []batchLine{}}
	pending, err := c.store.Pending(ctx)
	if err != nil {
		return l, err
	}
	policy := c.cfg.JobsPolicy()
	for _, p := range pending {
		l.Pending = append(l.Pending, pendingBatch{p.Group.String(), p.Sectors, policy.Batch(p.Group.Stage).Max, p.First.UTC()})
	}
	open, err := c.store.OpenBatches(ctx, time.Now())
	unread, err := sectors.Unread(err)
	if err != nil {
		return l, err
	}
	for _, b := range open {
		l.Open = append(l.Open, batchLineOf(b))
	}
	l.Open = append(l.Open, unreadableLines(unread)...)
	if ended <= 0 {
		return l, nil
	}
	over, err := c.store.EndedBatches(ctx, ended)
	unread, err = sectors.Unread(err)
	for _, b := range over {
		l.Ended = append(l.Ended, batchLineOf(b))
	}
	l.Ended = append(l.Ended, unreadableLines(unread)...)
	return l, err
}

// unreadableLines are batches of which nothing but the name is known.
func unreadableLines(unread *sectors.UnreadError) (lines []batchLine) {
	if unread == nil {
		return nil
	}
	for i, name := range unread.Names {
		lines = append(lines, batchLine{Batch: name, State: "unreadable", Sectors: []jobs.SectorID{}, Note: unread.Errs[i].Error()})
	}
	return lines
}

func printBatches(w io.Writer, l batchList) error {
	if len(l.Pending)+len(l.Open)+len(l.Ended) == 0 {
		_, err := fmt.Fprintln(w, "no sector waits for a batch, and none is under way")
		return err
	}
	if len(l.Pending) > 0 {
		if err := table(w, "WAITING IN\tSECTORS\tGOES", func(row func(string, ...any)) {
			for _, p := range l.Pending {
				row("%s\t%d\tat %d sectors, or %s", p.Group, p.Sectors, p.Max, p.Goes.Format(time.DateTime))
			}
		}); err != nil {
			return err
		}
	}
	all := slices.Concat(l.Open, l.Ended)
	if len(all) == 0 {
		return nil
	}
	return table(w, "BATCH\tGROUP\tSECTORS\tCAUSE\tSTATE\tSINCE\tNOTE", func(row func(string, ...any)) {
		for _, b := range all {
			row("%s\t%s\t%d\t%s\t%s\t%s\t%s", b.Batch, b.Group, len(b.Sectors), b.Cause, b.State, b.Since.UTC().Format(time.DateTime), or(b.Note, "-"))
		}
	})
}

func (a *app) batchesFlushCmd() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "flush [GROUP]",
		Short: "Send what waits now, in all groups or in one",
		Long:  "Send what waits for a batch now, in all groups or in one of those that lpseal batches list names, such as commit/t01000/8.",
		Args:  args("[GROUP]"),
		RunE: a.joined(func(ctx context.Context, c *cluster, given []string) error {
			names, err := c.flush(ctx, given)
			if err != nil {
				return err
			}
			return a.emit(names, func(w io.Writer) error {
				if len(names) == 0 {
					fmt.Fprintln(w, "nothing waits")
				}
				for _, name := range names {
					fmt.Fprintln(w, name)
				}
				return nil
			})
		}),
	})
}

func (c *cluster) flush(ctx context.Context, given []string) ([]string, error) {
	pending, err := c.store.Pending(ctx)
	if err != nil {
		return nil, err
	}
	if len(given) > 0 {
		group, err := jobs.ParseGroup(given[0])
		if err != nil {
			return nil, usage("lpseal batches list names them", "%w", err)
		}
		pending = []sectors.Pending{{Group: group}}
	}
	node, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer node.Close()
	op, err := c.scheduler(node, "cli")
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, p := range pending {
		sent, err := op.Flush(ctx, p.Group)
		if err != nil {
			return nil, err
		}
		names = append(names, sent...)
	}
	return names, nil
}
