package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/jobs"
)

func (a *app) showCmd() *cobra.Command {
	cmd := a.onSector("show", "Show a sector's record, stage by stage", func(ctx context.Context, c *cluster, id jobs.SectorID) error {
		r, err := c.store.Load(ctx, id)
		if err != nil {
			return err
		}
		if a.json { // the record as it is in Redis
			return a.emit(r.Fields(), nil)
		}
		if err := printRecord(a.out, r, time.Now()); err != nil {
			return err
		}
		return c.printSectorMessages(ctx, a.out, r)
	})
	cmd.Long = "Show a sector's record, stage by stage, and its messages. With --json it is the record as it lies in Redis: every value is text, and what has parts is JSON in it."
	return a.jsonFlag(cmd)
}

func printRecord(w io.Writer, r *jobs.Record, now time.Time) error {
	line := lineOf(r)
	fmt.Fprintf(w, "%s  %s\n", r.ID, line.State)
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %-12s %s\n", name, value)
		}
	}
	field("created", r.Created.UTC().Format(time.RFC3339))
	if r.Hold != nil {
		field("held", r.Hold.Reason)
	}
	for _, p := range r.Pieces {
		field("piece", fmt.Sprintf("%s, %d bytes in %d, from %s%s", p.CID, p.RawSize, p.Size, p.Source, claimsText(p)))
	}
	field("home", r.Home)
	field("ticket", randomness(r.Ticket))
	field("seed", randomness(r.Seed))
	field("comm_d", defined(r.CommD))
	field("comm_r", defined(r.CommR))
	field("pre-commit", epoch(r.PreCommitEpoch))
	field("prove until", epoch(r.CommitDeadline))
	field("deals start", epoch(jobs.TermsOf(r.Pieces).Start))
	field("committed", epoch(r.Activation))
	if r.NotProven != nil {
		field("not proven", r.NotProven.Text)
	}
	if r.Stored != nil {
		field("stored", "path "+r.Stored.Path)
		if to := r.Stored.DeclaredTo; to != "" {
			field("handed to", to)
		}
	}
	return table(w, "\nSTAGE\tSTATE\tFENCE\tATTEMPT\tQUEUE\tWORKER\tSINCE\tWHAT", func(row func(string, ...any)) {
		for _, s := range jobs.Stages {
			sr := r.Stage(s.Stage)
			if s.Recovery && sr.State == jobs.Idle {
				continue
			}
			what := sr.Message
			if sr.Fault != nil && sr.State != jobs.Done {
				what = sr.Fault.Error()
			}
			row("%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s", s.Stage, or(string(sr.State), "-"), sr.Fence, sr.Attempt,
				or(sr.Queue, "-"), or(nameOf(sr.Worker), "-"), ago(sr.Since, now), or(what, "-"))
		}
	})
}

// printSectorMessages prints what became of the sector's messages, if any was sent.
func (c *cluster) printSectorMessages(ctx context.Context, w io.Writer, r *jobs.Record) error {
	sent, err := c.messagesOf(ctx, r)
	if err != nil || len(sent) == 0 {
		return err
	}
	c.observe(ctx, sent)
	return table(w, "\nMESSAGE\tSTATE\tNONCE\tFEE\tSIGNED\tSETTLED\tREPLACED\tCID", func(row func(string, ...any)) {
		for i := range sent {
			t := &sent[i]
			row("%s\t%s\t%d\t%s\t%s\t%s\t%d\t%s", messageFor(t), stateText(t), t.Nonce, fee(t),
				or(epoch(t.Signed), "-"), or(epoch(t.Settled), "-"), len(t.Replaced), or(t.CID, "-"))
		}
	})
}

// nameOf leaves the run out of a worker's name, HOST/INSTANCE@RUN; a person is USER@HOST.
func nameOf(by string) string {
	if name, _, ok := strings.Cut(by, "@"); ok && strings.Contains(name, "/") {
		return name
	}
	return by
}

func defined(c cid.Cid) string {
	if !c.Defined() {
		return ""
	}
	return c.String()
}

func epoch(e abi.ChainEpoch) string {
	if e == 0 {
		return ""
	}
	return fmt.Sprintf("epoch %d", e)
}

func randomness(r jobs.Randomness) string {
	if r.Value == nil {
		return ""
	}
	return fmt.Sprintf("%s of epoch %d, drawn at %d", hex.EncodeToString(r.Value), r.Epoch, r.At)
}

// explanation is what `sectors explain` prints: why a sector is where it is.
type explanation struct {
	Sector jobs.SectorID `json:"sector"`
	State  string        `json:"state"`
	Next   string        `json:"next,omitempty"` // what the next poll does; empty: it waits
	Reason string        `json:"reason"`
	Look   time.Time     `json:"look,omitzero"` // when it is looked at again
	Faults []stageFault  `json:"faults"`
}

type stageFault struct {
	Stage jobs.Stage `json:"stage"`
	Again bool       `json:"again"` // the fault stands; false: a later attempt went well
	jobs.Fault
}

func (a *app) explainCmd() *cobra.Command {
	return a.jsonFlag(a.onSector("explain", "Say why a sector is where it is, and what happens next and when", func(ctx context.Context, c *cluster, id jobs.SectorID) error {
		r, err := c.store.Load(ctx, id)
		if err != nil {
			return err
		}
		explain := func(r *jobs.Record, action jobs.Action, why jobs.Reason) error {
			e := explanationOf(r, action, why)
			return a.emit(e, func(w io.Writer) error { return printExplanation(w, e, time.Now()) })
		}
		node, err := c.dial(ctx)
		if err != nil { // itself a reason why sectors do not move
			return errors.Join(explain(r, jobs.Action{}, recordTells(r)), err)
		}
		defer node.Close()
		s, err := c.scheduler(node, "cli")
		if err != nil {
			return err
		}
		action, why, r, err := s.Explain(ctx, id)
		if err != nil {
			return err
		}
		return explain(r, action, why)
	}))
}

func explanationOf(r *jobs.Record, action jobs.Action, why jobs.Reason) explanation {
	e := explanation{Sector: r.ID, State: stateOf(r), Reason: why.Text, Look: why.Look, Faults: []stageFault{}}
	if action.Event != nil {
		e.Next = action.Event.String()
	}
	for _, row := range jobs.Stages {
		if sr := r.Stage(row.Stage); sr.Fault != nil {
			e.Faults = append(e.Faults, stageFault{row.Stage, sr.State == jobs.Faulted, *sr.Fault})
		}
	}
	return e
}

// recordTells is the reason as far as it is known while the node is away.
func recordTells(r *jobs.Record) jobs.Reason {
	text := r.WaitsFor()
	switch stages := lineOf(r).Stages; {
	case r.Outcome != jobs.Open:
		text = "finished: " + string(r.Outcome)
	case r.Hold != nil:
		text = "held: " + r.Hold.Reason
	case len(stages) > 0:
		text = list(stages) + " under way, or to be tried again"
	}
	return jobs.Reason{Text: text + " (its record alone says so, for the node does not answer)"}
}

func printExplanation(w io.Writer, e explanation, now time.Time) error {
	is := e.State + ": " + e.Reason
	if strings.HasPrefix(e.Reason, "held: ") || strings.HasPrefix(e.Reason, "finished: ") {
		is = e.Reason // it says so itself
	}
	fmt.Fprintf(w, "%s is %s\n", e.Sector, is)
	if e.Next != "" {
		fmt.Fprintf(w, "next: %s\n", e.Next)
	}
	if !e.Look.IsZero() {
		fmt.Fprintf(w, "looked at again in %s\n", brief(max(e.Look.Sub(now), 0)))
	}
	for _, f := range e.Faults {
		over := "over"
		if f.Again {
			over = "stands"
		}
		fmt.Fprintf(w, "fault of %s, attempt %d, %s (%s): %s\n", f.Stage, f.Attempt, ago(f.At, now), over, f.Error())
	}
	if e.State == "held" {
		fmt.Fprintf(w, "to go on: lpseal sectors release %s\n", e.Sector)
	}
	return nil
}

func (a *app) logCmd() *cobra.Command {
	var n int
	cmd := a.onSector("log", "Print what happened to a sector", func(ctx context.Context, c *cluster, id jobs.SectorID) error {
		if _, err := c.store.Load(ctx, id); err != nil {
			return err
		}
		lines, err := c.store.Log(ctx, id, n)
		if err != nil {
			return err
		}
		return a.emit(lines, func(w io.Writer) error {
			return table(w, "AT\tBY\tWHAT", func(row func(string, ...any)) {
				for _, l := range lines {
					row("%s\t%s\t%s", l.At.Format(time.RFC3339), nameOf(l.By), l.Text)
				}
			})
		})
	})
	cmd.Flags().IntVarP(&n, "lines", "n", 100, "the last lines; 0: all")
	return a.jsonFlag(cmd)
}
