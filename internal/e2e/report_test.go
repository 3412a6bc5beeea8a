package e2e

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/lpseal/lpseal/jobs"
)

// failures has one line for each cluster whose test failed. They are told again when
// all tests have run: a long log is mostly read from its end.
var failures struct {
	sync.Mutex
	lines []string
}

func tellFailures(w io.Writer) {
	failures.Lock()
	defer failures.Unlock()
	for _, line := range failures.lines {
		fmt.Fprintln(w, "FAILED", line)
	}
}

// report logs what the daemons and the sectors of a failed test said, and sums up
// where they are.
func (c *cluster) report() {
	ctx := context.Background() // the test's own has ended
	sum := []string{c.t.Name()}
	ids, err := c.store.All(ctx, nil)
	if err != nil {
		sum = append(sum, err.Error())
	}
	for _, id := range ids {
		lines, _ := c.store.Log(ctx, id, 0) // what can be read
		for _, l := range lines {
			c.t.Logf("%s %s %s: %s", id, l.At.Format("05.000"), l.By, l.Text)
		}
		if r, err := c.store.Load(ctx, id); err != nil {
			sum = append(sum, err.Error())
		} else {
			sum = append(sum, whereabouts(r))
		}
	}
	for _, d := range c.daemons {
		c.t.Log(d)
		if n := d.deaths(); n > 0 {
			sum = append(sum, fmt.Sprintf("%s killed %d times", d.name, n))
		}
	}
	line := strings.Join(sum, "; ")
	c.t.Log(line)
	failures.Lock()
	defer failures.Unlock()
	failures.lines = append(failures.lines, line)
}

// whereabouts tells in a line how far a sector is, and which of its stages did not
// simply end at their first try.
func whereabouts(r *jobs.Record) string {
	at := r.ID.String() + " " + string(r.Outcome)
	if r.Outcome == jobs.Open {
		at += "open"
	}
	if r.Hold != nil {
		at += ", held: " + r.Hold.Reason
	}
	for _, row := range jobs.Stages {
		sr := r.Stage(row.Stage)
		if sr.State == jobs.Idle || sr.State == jobs.Done && sr.Fence == 1 && sr.Attempt == 1 && sr.Delivery == 1 {
			continue
		}
		at += fmt.Sprintf(", %s %s f%d.a%d.d%d", row.Stage, sr.State, sr.Fence, sr.Attempt, sr.Delivery)
		if sr.Fault != nil {
			text, _, _ := strings.Cut(sr.Fault.Error(), "\n")
			at += " (" + text + ")"
		}
	}
	return at
}
