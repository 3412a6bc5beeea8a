package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

func (a *app) dealsCmd() *cobra.Command {
	return group("deals", "See what markets gave, and try again what came to nothing", a.dealsListCmd(), a.dealsShowCmd(), a.dealsRetryCmd())
}

func (a *app) dealsListCmd() *cobra.Command {
	var refused bool
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the deals that wait for a sector, the oldest first, or those that are refused",
		Args:  args(),
		RunE: a.joined(func(ctx context.Context, c *cluster, _ []string) error {
			if refused {
				return a.listRefusedDeals(ctx, c, limit)
			}
			return a.listWaitingDeals(ctx, c)
		}),
	}
	cmd.Flags().BoolVar(&refused, "refused", false, "those that the chain would not take any more, the latest first, with the reason")
	cmd.Flags().IntVar(&limit, "limit", 200, "print at most this many refused ones")
	return a.jsonFlag(cmd)
}

func (a *app) listWaitingDeals(ctx context.Context, c *cluster) error {
	open, err := c.store.OpenDeals(ctx)
	unread, err := sectors.Unread(err)
	if err != nil {
		return err
	}
	waiting := []jobs.Deal{}
	for _, d := range open {
		if d.Sector == nil && d.Refused == "" {
			waiting = append(waiting, d.Deal)
		}
	}
	now := time.Now()
	return a.emit(waiting, func(w io.Writer) error {
		printUnread(w, unread)
		return tableOr(w, "no deal waits for a sector", "DEAL\tMINER\tSIZE\tSTART\tRECEIVED\tLATEST\tPIECE", func(row func(string, ...any)) {
			for _, d := range waiting {
				latest := d.Received.Add(c.cfg.Policy.PackWait)
				row("%s\tt0%d\t%d\t%s\t%s\t%s\t%s", d.ID, d.Miner, d.Piece.Size, or(epoch(d.Piece.Terms.Start), "-"), ago(d.Received, now),
					latest.UTC().Format(time.RFC3339), d.Piece.CID)
			}
		})
	})
}

func (a *app) listRefusedDeals(ctx context.Context, c *cluster, limit int) error {
	deals, all, err := c.store.RefusedDeals(ctx, 0, limit)
	unread, err := sectors.Unread(err)
	if err != nil {
		return err
	}
	refused := []jobs.DealStatus{}
	for _, d := range deals {
		refused = append(refused, jobs.DealStatus{ID: d.ID, State: jobs.DealRefused, Why: d.Refused})
	}
	now := time.Now()
	return a.emit(refused, func(w io.Writer) error {
		printUnread(w, unread)
		err := tableOr(w, "no deal is refused", "DEAL\tMINER\tSIZE\tRECEIVED\tWHY", func(row func(string, ...any)) {
			for _, d := range deals {
				row("%s\tt0%d\t%d\t%s\t%s", d.ID, d.Miner, d.Piece.Size, ago(d.Received, now), d.Refused)
			}
		})
		if all > len(deals) {
			fmt.Fprintf(w, "… %d more\n", all-len(deals))
		}
		return err
	})
}

func (a *app) dealsShowCmd() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "show ID",
		Short: "Say where a deal is, by the market's name of it",
		Args:  args("ID"),
		RunE: a.joined(func(ctx context.Context, c *cluster, given []string) error {
			d, err := c.store.Deal(ctx, given[0])
			if err != nil {
				return err
			}
			status, err := c.store.StatusOf(ctx, d)
			if err != nil {
				return err
			}
			return a.emit(status, func(w io.Writer) error { return printDeal(w, d, status) })
		}),
	})
}

func (a *app) dealsRetryCmd() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "retry ID",
		Short: "Have a deal wait for a sector again that was refused, or whose sector was removed",
		Long: "Have a deal wait for a sector again that was refused, or whose sector was removed. It is judged as if it came now, and packed at the next turn: it has " +
			"waited long enough.",
		Args: args("ID"),
		RunE: a.joined(func(ctx context.Context, c *cluster, given []string) error {
			node, err := c.dial(ctx)
			if err != nil {
				return err
			}
			defer node.Close()
			op, err := c.scheduler(node, "cli")
			if err != nil {
				return err
			}
			status, err := op.RetryDeal(ctx, given[0])
			if err != nil {
				return err
			}
			return a.emit(status, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s: %s\n", status.ID, status.State)
				return err
			})
		}),
	})
}

func printDeal(w io.Writer, d *sectors.Deal, s jobs.DealStatus) error {
	fmt.Fprintf(w, "%s  %s\n", s.ID, s.State)
	if s.Why != "" {
		fmt.Fprintf(w, "  %-12s %s\n", "because", s.Why)
	}
	fmt.Fprintf(w, "  %-12s %s, %d bytes in %d%s\n", "piece", d.Piece.CID, d.Piece.RawSize, d.Piece.Size, claimsText(d.Piece))
	fmt.Fprintf(w, "  %-12s %s\n", "received", d.Received.UTC().Format(time.RFC3339))
	if s.Place == nil {
		return nil
	}
	return printPlaces(w, []jobs.PiecePlace{*s.Place})
}

// printUnread names what exists and cannot be parsed; nil is nothing.
func printUnread(w io.Writer, unread *sectors.UnreadError) {
	if unread == nil {
		return
	}
	for _, err := range unread.Errs {
		fmt.Fprintf(w, "unreadable: %v\n", err)
	}
}
