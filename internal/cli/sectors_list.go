package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// sectorLine is a sector in a list.
type sectorLine struct {
	Sector  jobs.SectorID `json:"sector"`
	State   string        `json:"state"` // open, held, committed, proven, removed
	Stages  []jobs.Stage  `json:"stages,omitempty"`
	Since   time.Time     `json:"since"`
	Pieces  int           `json:"pieces"`
	Home    string        `json:"home,omitempty"`
	Text    string        `json:"text,omitempty"` // a hold's reason, a fault, progress, or what it waits for
	Created time.Time     `json:"created"`
}

// listStates are those that a list can be narrowed to.
var listStates = []string{"open", "held", "committed", "proven", "removed"}

// listFilter is what a list is narrowed to.
type listFilter struct {
	miner, state, stage string
	limit               int
}

// none says that a list is empty, and whether another would be.
func (f listFilter) none(all int) string {
	if all == 0 && f.miner == "" {
		return "there are none yet: lpseal sectors pledge and lpseal sectors add make some"
	}
	var words []string
	for _, w := range []struct{ name, value string }{{"miner", f.miner}, {"state", f.state}, {"stage", f.stage}} {
		if w.value != "" {
			words = append(words, w.name+" "+w.value)
		}
	}
	return "none with " + strings.Join(words, " and ")
}

func (a *app) listCmd() *cobra.Command {
	var f listFilter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List sectors, with a summary: the open ones, then the finished, the latest first",
		Args:  args(),
		RunE: a.joined(func(ctx context.Context, c *cluster, _ []string) error {
			return a.list(ctx, c, f)
		}),
	}
	cmd.Flags().StringVar(&f.miner, "miner", "", "only this miner's")
	cmd.Flags().StringVar(&f.state, "state", "", "only open, held, committed, proven or removed ones")
	cmd.Flags().StringVar(&f.stage, "stage", "", "only those now in this stage")
	completes(cmd, "state", listStates...)
	completes(cmd, "stage", stageNames(true)...)
	cmd.Flags().IntVar(&f.limit, "limit", 200, "print at most this many; 0: all")
	return a.jsonFlag(cmd)
}

func (a *app) list(ctx context.Context, c *cluster, f listFilter) error {
	if f.stage != "" {
		if _, err := jobs.ParseStage(f.stage); err != nil {
			return usage("lpseal stages lists them", "%w", err)
		}
	}
	if f.state != "" && !slices.Contains(listStates, f.state) {
		return usage("states are "+strings.Join(listStates, ", "), "%q is not a state", f.state)
	}
	var miner *abi.ActorID
	if f.miner != "" {
		id, err := parseMiner(f.miner)
		if err != nil {
			return err
		}
		miner = &id
	}
	ids, err := c.store.All(ctx, miner)
	if err != nil {
		return err
	}
	records, err := c.store.LoadMany(ctx, ids)
	unreadable := &sectors.UnreadableError{IDs: []jobs.SectorID{}}
	if err != nil && !errors.As(err, &unreadable) {
		return err
	}
	states, stages := map[string]int{}, map[jobs.Stage]int{}
	lines := []sectorLine{}
	for _, r := range records {
		if r == nil {
			continue
		}
		line := lineOf(r)
		states[line.State]++
		for _, s := range line.Stages {
			stages[s]++
		}
		if (f.state == "" || line.State == f.state) && (f.stage == "" || slices.Contains(line.Stages, jobs.Stage(f.stage))) {
			lines = append(lines, line)
		}
	}
	slices.SortStableFunc(lines, firstOpen)
	matched := len(lines)
	if f.limit > 0 && matched > f.limit {
		lines = lines[:f.limit]
	}
	if err := c.fillProgress(ctx, lines); err != nil {
		return err
	}
	result := map[string]any{"sectors": lines, "matched": matched, "states": states, "stages": stages, "unreadable": unreadable.IDs}
	return a.emit(result, func(w io.Writer) error {
		fmt.Fprintln(w, summary(states, stages))
		now := time.Now()
		err := tableOr(fitted(w), f.none(len(records)), "SECTOR\tSTATE\tSTAGE\tSINCE\tDATA\tWHAT", func(row func(string, ...any)) {
			for _, l := range lines {
				row("%s\t%s\t%s\t%s\t%s\t%s", l.Sector, l.State, or(list(l.Stages), "-"), ago(l.Since, now), data(l.Pieces), or(l.Text, "-"))
			}
		})
		if matched > len(lines) {
			fmt.Fprintf(w, "… %d more; --limit 0 prints all\n", matched-len(lines))
		}
		for i, id := range unreadable.IDs {
			fmt.Fprintf(w, "%s: unreadable: %v\n", id, unreadable.Errs[i])
		}
		return err
	})
}

// firstOpen puts the finished sectors last, those that were finished last before the others:
// of a large fleet a list shows the beginning alone.
func firstOpen(a, b sectorLine) int {
	switch aDone, bDone := a.finished(), b.finished(); {
	case aDone && bDone:
		return b.Since.Compare(a.Since)
	case aDone:
		return 1
	case bDone:
		return -1
	}
	return 0
}

func (l sectorLine) finished() bool { return l.State != "open" && l.State != "held" }

func data(pieces int) string {
	switch pieces {
	case 0:
		return "CC"
	case 1:
		return "1 piece"
	}
	return fmt.Sprintf("%d pieces", pieces)
}

// summary counts sectors by state, and the open ones by stage in the pipeline's order.
func summary(states map[string]int, stages map[jobs.Stage]int) string {
	total := 0
	for _, n := range states {
		total += n
	}
	parts := []string{fmt.Sprintf("%d sectors", total)}
	for _, s := range []string{"open", "held", "committed", "proven", "removed"} {
		if n := states[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	for _, row := range jobs.Stages {
		if n := stages[row.Stage]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", row.Stage, n))
		}
	}
	return strings.Join(parts, " · ")
}

func stateOf(r *jobs.Record) string {
	switch {
	case r.Outcome != jobs.Open:
		return string(r.Outcome)
	case r.Hold != nil:
		return "held"
	}
	return "open"
}

func lineOf(r *jobs.Record) sectorLine {
	line := sectorLine{Sector: r.ID, State: stateOf(r), Since: r.Created, Pieces: len(r.Pieces), Home: r.Home, Created: r.Created}
	for _, row := range jobs.Stages {
		sr := r.Stage(row.Stage)
		switch sr.State {
		case jobs.Queued, jobs.Running, jobs.Faulted, jobs.Wanted:
			if r.Outcome == jobs.Open {
				line.Stages = append(line.Stages, row.Stage)
			}
		}
		if sr.Since.After(line.Since) {
			line.Since = sr.Since
		}
		if sr.State == jobs.Faulted && sr.Fault != nil {
			line.Text = sr.Fault.Error()
		}
	}
	if r.NotProven != nil {
		line.Text, line.Since = r.NotProven.Text, r.NotProven.Since
	}
	switch {
	case r.Outcome != jobs.Open:
	case r.Hold != nil:
		line.Text, line.Since = r.Hold.Reason, r.Hold.Since
	case len(line.Stages) == 0 && line.Text == "":
		line.Text = r.WaitsFor()
	}
	return line
}

// fillProgress says how far running stages have come, where nothing worse is to be said.
func (c *cluster) fillProgress(ctx context.Context, lines []sectorLine) error {
	ids := make([]jobs.SectorID, len(lines))
	for i, l := range lines {
		ids[i] = l.Sector
	}
	all, err := c.store.Progress(ctx, ids)
	if err != nil {
		return err
	}
	for i := range lines {
		if len(lines[i].Stages) == 0 || lines[i].Text != "" || lines[i].State != "open" {
			continue
		}
		var parts []string
		for _, s := range lines[i].Stages {
			if p, ok := all[lines[i].Sector][s]; ok {
				parts = append(parts, progressText(s, p))
			}
		}
		lines[i].Text = strings.Join(parts, ", ")
	}
	return nil
}

func progressText(s jobs.Stage, p jobs.Progress) string {
	if p.Total == 0 {
		return fmt.Sprintf("%s %s", s, p.Step)
	}
	return fmt.Sprintf("%s %s %d%%", s, p.Step, 100*p.Done/p.Total)
}
