package web

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lpseal/lpseal/jobs"
)

// cell is one stage of one sector, as a square of the grid.
type cell struct {
	Stage   jobs.Stage
	State   string // "", wanted, queued, running, sent, fault, done: its look
	Text    string // inside
	Tip     string // all that is to be said
	Percent int    // of the whole stage, -1 where it is not known
}

// Active cells have something to say.
func (c cell) Active() bool { return c.State != "" && c.State != "done" }

func cellOf(r *jobs.Record, row *jobs.Row, p *jobs.Progress, now time.Time) cell {
	sr := r.Stage(row.Stage)
	c := cell{Stage: row.Stage, State: string(sr.State), Percent: -1}
	say := func(format string, args ...any) {
		c.Tip = fmt.Sprintf(format, args...)
	}
	switch sr.State {
	case jobs.Queued:
		c.Text = "queued"
		say("queued on %s for %s, attempt %d", sr.Queue, brief(now.Sub(sr.Since)), sr.Attempt)
	case jobs.Running:
		c.Text = brief(now.Sub(sr.Since))
		say("running on %s for %s, attempt %d", workerName(sr.Worker), brief(now.Sub(sr.Since)), sr.Attempt)
		if p != nil {
			c.progress(*p, now.Sub(sr.Since))
		}
	case jobs.Faulted:
		c.Text = string(sr.Fault.Class)
		say("%s (attempt %d, %s ago)", sr.Fault.Error(), sr.Fault.Attempt, brief(now.Sub(sr.Fault.At)))
	case jobs.Wanted:
		c.Text = "wanted"
		say("wanted, starts at the next look")
	case jobs.Done:
		c.Text = "✓"
		if !landed(r, row.Stage) {
			c.State, c.Text = "sent", "sent"
			say("message sent %s ago, not on chain yet", brief(now.Sub(sr.Since)))
		}
	}
	return c
}

// landed says that the chain shows what a message stage was for. Other stages have
// nothing to land.
func landed(r *jobs.Record, s jobs.Stage) bool {
	switch s {
	case jobs.PreCommit:
		return r.PreCommitted()
	case jobs.Commit:
		return r.Activation != 0
	}
	return true
}

// ofMany finds "3/11" at the end of a step's name.
var ofMany = regexp.MustCompile(`(\d+)/(\d+)$`)

// progress fills in how far a running stage has come, and guesses when it ends. Provers
// report by step; a step of many, like a layer, is a share of the stage.
func (c *cell) progress(p jobs.Progress, elapsed time.Duration) {
	if p.Step != "" {
		c.Text = p.Step
		c.Tip += ", " + p.Step
	}
	if p.Total == 0 {
		return
	}
	part := min(float64(p.Done)/float64(p.Total), 1)
	if m := ofMany.FindStringSubmatch(p.Step); m != nil {
		i, err1 := strconv.Atoi(m[1])
		n, err2 := strconv.Atoi(m[2])
		if err1 == nil && err2 == nil && i >= 1 && i <= n {
			part = (float64(i-1) + part) / float64(n)
			// A resumed stage did not start at zero, but nobody noted where.
			if part > 0.02 && elapsed > time.Minute {
				c.Tip += fmt.Sprintf(", about %s left", brief(time.Duration(float64(elapsed)*(1-part)/part)))
			}
		}
	}
	c.Percent = int(100 * part)
	c.Tip += fmt.Sprintf(", %d%%", c.Percent)
}

// workerName is host/instance of an owner; which run of it is nobody's concern here.
func workerName(owner string) string {
	name, _, _ := strings.Cut(owner, "@")
	return name
}

// remark is a row's last column: the one thing to know about the sector now.
func remark(r *jobs.Record, cells []cell) string {
	var running, queued []string
	fault := ""
	for _, c := range cells {
		switch c.State {
		case "running":
			text := string(c.Stage)
			if c.Percent >= 0 {
				text += fmt.Sprintf(" %d%%", c.Percent)
			}
			running = append(running, text+" on "+workerName(r.Stage(c.Stage).Worker))
		case "queued":
			queued = append(queued, fmt.Sprintf("%s queued on %s", c.Stage, r.Stage(c.Stage).Queue))
		case "fault":
			fault = string(c.Stage) + ": " + r.Stage(c.Stage).Fault.Text
		case "wanted":
			queued = append(queued, string(c.Stage)+" wanted")
		}
	}
	switch {
	case r.Outcome == jobs.Committed:
		return "committed on chain at " + epoch(r.Activation)
	case r.Outcome == jobs.Proven:
		return "proven; on chain since " + epoch(r.Activation)
	case r.Outcome != jobs.Open:
		return string(r.Outcome)
	case r.Hold != nil:
		return r.Hold.Reason
	case r.NotProven != nil:
		return r.NotProven.Text
	case fault != "":
		return fault
	case len(running) > 0:
		return strings.Join(running, ", ")
	case len(queued) > 0:
		return strings.Join(queued, ", ")
	}
	return r.WaitsFor()
}
