package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// dealsPage is what its template sees.
type dealsPage struct {
	Find    string
	Found   []dealLine // the one of that name, if there is one
	Waiting int
	Forming []jobs.Forming
	More    int        // deals that wait beside those of Forming
	Loose   []dealLine // that are in no sector to be, as far as is known
	Away    string     // why nothing is known of how they share sectors
	Refused dealList
	Packed  dealList
}

// dealLine is a deal and where it is.
type dealLine struct {
	Deal   jobs.Deal
	Status jobs.DealStatus
	Sector *jobs.SectorID // that it was given to
}

// dealList is one page of the deals that wait no more.
type dealList struct {
	Lines       []dealLine
	First, All  int // of Lines, from 1, among how many
	Page, Pages int
}

// deals lists those that wait, with what for and until when, those that cannot be sealed
// any more, and where the others are.
func (s *site) deals(r *http.Request) (*answer, error) {
	ctx, query := r.Context(), r.URL.Query()
	p := &dealsPage{Find: strings.TrimSpace(query.Get("find"))}
	var err error
	if p.Find != "" {
		if p.Found, err = s.findDeal(ctx, p.Find); err != nil {
			return nil, err
		}
	}
	if err := s.waitingDeals(ctx, p); err != nil {
		return nil, err
	}
	if p.Refused, err = s.dealList(ctx, query.Get("refused"), s.Store.RefusedDeals); err != nil {
		return nil, err
	}
	if p.Packed, err = s.dealList(ctx, query.Get("page"), s.Store.PackedDeals); err != nil {
		return nil, err
	}
	return &answer{name: "deals", title: "Deals", nav: "deals", body: p}, nil
}

func (s *site) findDeal(ctx context.Context, id string) ([]dealLine, error) {
	d, err := s.Store.Deal(ctx, id)
	if errors.Is(err, sectors.ErrNoDeal) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.dealLines(ctx, []*sectors.Deal{d})
}

// waitingDeals groups them by the sectors that they wait to fill. While the node is away
// nobody can tell, and they are listed one by one.
func (s *site) waitingDeals(ctx context.Context, p *dealsPage) error {
	open, err := s.Store.OpenDeals(ctx)
	if _, err = sectors.Unread(err); err != nil {
		return err
	}
	if slices.ContainsFunc(open, func(d *sectors.Deal) bool { return d.Sector == nil && d.Refused == "" }) {
		asked, cancel := context.WithTimeout(ctx, s.Patience)
		defer cancel()
		if p.Forming, err = s.Scheduler.Forming(asked); err != nil {
			p.Away = err.Error()
		}
	}
	grouped := map[string]bool{}
	for i, f := range p.Forming {
		for _, d := range f.Deals {
			grouped[d.ID] = true
		}
		if i >= pageSize {
			p.More += len(f.Deals)
		}
	}
	p.Waiting = len(grouped)
	p.Forming = p.Forming[:min(len(p.Forming), pageSize)]
	var loose []*sectors.Deal
	for _, d := range open {
		switch {
		case grouped[d.ID] || d.Refused != "":
			continue
		case d.Sector == nil:
			p.Waiting++
		}
		if len(loose) == pageSize {
			p.More++
			continue
		}
		loose = append(loose, d)
	}
	p.Loose, err = s.dealLines(ctx, loose)
	return err
}

// dealList reads the page of a number from an index.
func (s *site) dealList(ctx context.Context, number string, read func(ctx context.Context, from, n int) ([]*sectors.Deal, int, error)) (dealList, error) {
	l := dealList{Page: 1}
	if n, err := strconv.Atoi(number); err == nil {
		l.Page = max(n, 1)
	}
	for {
		l.First = (l.Page-1)*pageSize + 1
		deals, all, err := read(ctx, l.First-1, pageSize)
		if _, err = sectors.Unread(err); err != nil {
			return l, err
		}
		l.All, l.Pages = all, max(1, (all+pageSize-1)/pageSize)
		if l.Page <= l.Pages {
			l.Lines, err = s.dealLines(ctx, deals)
			return l, err
		}
		l.Page = l.Pages
	}
}

// dealLines adds where deals are, from the records of their sectors.
func (s *site) dealLines(ctx context.Context, deals []*sectors.Deal) ([]dealLine, error) {
	var ids []jobs.SectorID
	for _, d := range deals {
		if d.Sector != nil {
			ids = append(ids, *d.Sector)
		}
	}
	records, err := s.Store.LoadMany(ctx, ids)
	if unreadable := (*sectors.UnreadableError)(nil); err != nil && !errors.As(err, &unreadable) {
		return nil, err
	}
	byID := map[jobs.SectorID]*jobs.Record{}
	for _, r := range records {
		if r != nil {
			byID[r.ID] = r
		}
	}
	lines := make([]dealLine, len(deals))
	for i, d := range deals {
		lines[i] = dealLine{Deal: d.Deal, Sector: d.Sector}
		switch {
		case d.Refused != "":
			lines[i].Status = jobs.DealStatus{ID: d.ID, State: jobs.DealRefused, Why: d.Refused}
		case d.Sector != nil:
			lines[i].Status = jobs.StatusOf(&d.Deal, byID[*d.Sector])
		default:
			lines[i].Status = jobs.StatusOf(&d.Deal, nil)
		}
	}
	return lines, nil
}

// claims is what a piece's deal claims of the chain.
func claims(p jobs.Piece) string {
	var out []string
	if p.Allocation != nil {
		out = append(out, "allocation "+p.Allocation.String())
	}
	for _, n := range p.Notify {
		if id, ok := n.Deal(); ok {
			out = append(out, "deal "+strconv.FormatUint(uint64(id), 10))
		} else {
			out = append(out, "notifies "+n.Address.String())
		}
	}
	return strings.Join(out, ", ")
}

// epochOrNone writes an epoch; none is nothing.
func epochOrNone(e abi.ChainEpoch) string {
	if e == 0 {
		return ""
	}
	return strconv.FormatInt(int64(e), 10)
}
