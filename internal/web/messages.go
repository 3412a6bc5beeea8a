package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// minLedger is how long a reading of the journal stands at least.
const minLedger = 2 * time.Second

// messagesPage is what its template sees.
type messagesPage struct {
	Head        abi.ChainEpoch // 0: the node did not say
	Waiting     int
	Messages    []messageLine
	First, All  int
	Page, Pages int
	Batches     []batchLine
	Miners      []minerMoney
	Away        string // why nothing is known of money
}

// messageLine is a message, and the sectors it is for.
type messageLine struct {
	chain.Tracked
	Sectors []jobs.SectorID
}

// minerMoney is a miner's money, and what its sectors will need.
type minerMoney struct {
	*chain.Funds
	jobs.Outlook
	PreCommits, Commits int
	Soon                string
}

// messages lists what was sent, what has not landed first, and who pays.
func (s *site) messages(r *http.Request) (*answer, error) {
	all, err := s.ledger.take(r.Context())
	if err != nil {
		return nil, err
	}
	p := &messagesPage{All: len(all), Pages: max(1, (len(all)+pageSize-1)/pageSize), Page: 1}
	if n, err := strconv.Atoi(r.URL.Query().Get("page")); err == nil {
		p.Page = min(max(n, 1), p.Pages)
	}
	for _, t := range all {
		if t.Waits() {
			p.Waiting++
		}
	}
	from := (p.Page - 1) * pageSize
	p.First = from + 1
	p.Messages, p.Head = s.observed(r.Context(), all[from:min(from+pageSize, len(all))])
	if p.Batches, err = s.batches(r.Context()); err != nil {
		return nil, err
	}
	t, err := s.census.take(r.Context())
	if err != nil {
		return nil, err
	}
	outlooks, held, err := s.money.outlook(r.Context(), t)
	if err != nil {
		return nil, err
	}
	p.Away = held.Away
	for i, f := range held.Funds {
		o := outlooks[i]
		p.Miners = append(p.Miners, minerMoney{f, o, o.Messages[jobs.PreCommit], o.Messages[jobs.Commit], soon(o.ShortAt, s.Clock.Now())})
	}
	return &answer{name: "messages", title: "Messages", nav: "messages", body: p}, nil
}

// batchLine is a batch under way, or one to be: sectors that wait for company.
type batchLine struct {
	Name, Group, State, Cause string
	Sectors                   int
	Goes                      string // when one to be goes at the latest
}

// batches lists what fires the next messages and when, and the batches on their way to one.
func (s *site) batches(ctx context.Context) (lines []batchLine, err error) {
	pending, err := s.Store.Pending(ctx)
	if err != nil {
		return nil, err
	}
	now := s.Clock.Now()
	for _, p := range pending {
		lines = append(lines, batchLine{Group: p.Group.String(), State: "waiting", Sectors: p.Sectors, Goes: soon(p.First, now)})
	}
	open, err := s.Store.OpenBatches(ctx, now)
	unread, err := sectors.Unread(err)
	for _, b := range open {
		lines = append(lines, batchLine{Name: b.ID, Group: b.Group.String(), State: string(b.State), Cause: string(b.Cause), Sectors: len(b.Members)})
	}
	if unread != nil {
		for _, name := range unread.Names {
			lines = append(lines, batchLine{Name: name, State: "unreadable"})
		}
	}
	return lines, err
}

// observed copies messages, which others may be shown too, and adds what the node knows of those that wait.
func (s *site) observed(ctx context.Context, sent []chain.Tracked) ([]messageLine, abi.ChainEpoch) {
	shown := append([]chain.Tracked(nil), sent...)
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	head, err := s.Node.Observe(ctx, shown)
	if err != nil {
		head = 0 // the journal's state is shown
	}
	lines := make([]messageLine, len(shown))
	for i, t := range shown {
		lines[i].Tracked = t
		for _, m := range t.Members {
			lines[i].Sectors = append(lines[i].Sectors, m.Meaning.ID)
		}
	}
	return lines, head
}

// Fee is what the message paid, or the most that it may.
func (m messageLine) Fee() string {
	switch {
	case !m.Paid.NilOrZero():
		return chain.FIL(m.Paid).String()
	case m.State.Terminal() || m.Offered.NilOrZero():
		return ""
	}
	return "≤ " + chain.FIL(m.Offered).String()
}
