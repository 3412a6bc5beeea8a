package web

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// explainPatience bounds the wait for the Filecoin node: without its answer the page has
// everything but the reason.
const explainPatience = 3 * time.Second

// logLines is how much of a sector's log is shown unless all of it is asked for.
const logLines = 100

// sectorPage is what its template sees.
type sectorPage struct {
	*jobs.Record
	Row      row
	Reason   jobs.Reason
	Next     string // what the scheduler does next; empty: it waits
	Unasked  string // why there is no reason
	Stages   []stageLine
	Messages []messageLine // earlier fences' among them
	Facts    []fact
	Log      []sectors.LogLine // newest first
	More     bool              // the log has more
	Orders   []*order          // that this sector's state allows
}

// stageLine is one stage of the sector.
type stageLine struct {
	jobs.StageRecord
	Cell   cell
	Title  string
	Worker string
	Task   string // path of its task in asynqmon, if it has one
	Stands bool   // the fault does: no later attempt went well
}

// fact is something known of a sector, by name.
type fact struct{ Name, Value string }

func (s *site) sector(r *http.Request) (*answer, error) {
	id, err := sectorOf(r)
	if err != nil {
		return nil, err
	}
	record, err := s.Store.Load(r.Context(), id)
	if err != nil {
		return nil, err
	}
	progress, err := s.Store.Progress(r.Context(), []jobs.SectorID{id})
	if err != nil {
		return nil, err
	}
	n := logLines + 1
	if r.URL.Query().Get("log") == "all" {
		n = 0
	}
	lines, err := s.Store.Log(r.Context(), id, n)
	if err != nil {
		return nil, err
	}
	slices.Reverse(lines)
	sent, err := chain.Ledger{Shared: s.Store.Journal()}.Of(r.Context(), record.Meanings()...)
	if err != nil {
		return nil, err
	}
	p := &sectorPage{
		Record: record, Row: rowOf(record, progress[id], s.Clock.Now()),
		Stages: stageLines(record, progress[id], s.Clock.Now()), Facts: facts(record), Log: lines,
	}
	if len(sent) > 0 {
		p.Messages, _ = s.observed(r.Context(), sent)
	}
	if n > 0 && len(lines) == n {
		p.Log, p.More = lines[:logLines], true
	}
	if s.AllowWrites {
		p.Orders = offered(record)
	}
	p.explain(r.Context(), s.Scheduler)
	return &answer{name: "sector", title: id.String(), nav: "pipeline", body: p}, nil
}

// sectorOf reads the sector an address names.
func sectorOf(r *http.Request) (jobs.SectorID, error) {
	id, err := jobs.ParseSectorID(r.PathValue("id"))
	if err != nil {
		return id, fmt.Errorf("%w: %w", errNoPage, err)
	}
	return id, nil
}

func (p *sectorPage) explain(ctx context.Context, s Scheduler) {
	ctx, cancel := context.WithTimeout(ctx, explainPatience)
	defer cancel()
	action, why, _, err := s.Explain(ctx, p.ID)
	if err != nil {
		p.Unasked = err.Error()
		return
	}
	p.Reason = why
	if action.Event != nil {
		p.Next = action.Event.String()
	}
}

func stageLines(r *jobs.Record, progress map[jobs.Stage]jobs.Progress, now time.Time) []stageLine {
	var out []stageLine
	for _, row := range jobs.Stages {
		sr := r.Stage(row.Stage)
		if row.Recovery && sr.State == jobs.Idle {
			continue
		}
		var p *jobs.Progress
		if told, ok := progress[row.Stage]; ok {
			p = &told
		}
		line := stageLine{
			StageRecord: sr, Cell: cellOf(r, row, p, now), Title: row.Title, Worker: workerName(sr.Worker), Stands: sr.State == jobs.Faulted,
		}
		if sr.Queue != "" && sr.Delivery > 0 {
			line.Task = "/queues/queues/" + sr.Queue + "/tasks/" + r.Task(row.Stage).String()
		}
		out = append(out, line)
	}
	return out
}

// facts lists what the sector is bound to, with empty ones left out.
func facts(r *jobs.Record) []fact {
	var out []fact
	say := func(name, value string) {
		if value != "" {
			out = append(out, fact{name, value})
		}
	}
	say("ticket", randomness(r.Ticket))
	say("seed", randomness(r.Seed))
	say("CommD", defined(r.CommD))
	say("CommR", defined(r.CommR))
	say("pre-commit message", r.Stage(jobs.PreCommit).Message)
	say("pre-committed", epoch(r.PreCommitEpoch))
	say("prove until", epoch(r.CommitDeadline))
	say("deals start", epoch(jobs.TermsOf(r.Pieces).Start))
	say("commit message", r.Stage(jobs.Commit).Message)
	say("committed", epoch(r.Activation))
	if r.NotProven != nil {
		say("not proven", r.NotProven.Text)
	}
	say("expiration wanted", epoch(r.Expiration))
	say("C1 SHA-256", r.C1Digest)
	say("sealing path", r.Home)
	if r.Stored != nil {
		say("stored on path", r.Stored.Path)
		say("handed over to", r.Stored.DeclaredTo)
	}
	for _, at := range r.Found {
		say("found on path", fmt.Sprintf("%s: %v", at.Path, at.Files))
	}
	return out
}

// sourceText is where a piece comes from, without what signs a URL: whoever sees the page
// need not be able to fetch the data.
func sourceText(source string) string {
	u, err := url.Parse(source)
	if err != nil || u.Host == "" {
		return source
	}
	u.User, u.Fragment = nil, ""
	if u.RawQuery != "" {
		u.RawQuery = "…"
	}
	return u.String()
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
	return "epoch " + humanize.Comma(int64(e))
}

func randomness(r jobs.Randomness) string {
	if r.Value == nil {
		return ""
	}
	return fmt.Sprintf("%s, of epoch %s, drawn at %s", hex.EncodeToString(r.Value), humanize.Comma(int64(r.Epoch)), humanize.Comma(int64(r.At)))
}
