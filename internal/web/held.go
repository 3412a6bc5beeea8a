package web

import (
	"net/http"
	"strconv"
)

// heldPage is what its template sees.
type heldPage struct {
	Rows        []row
	First, All  int
	Page, Pages int
}

// held lists what waits for a person, the longest first.
func (s *site) held(r *http.Request) (*answer, error) {
	ids, err := s.Store.Held(r.Context())
	if err != nil {
		return nil, err
	}
	p := &heldPage{All: len(ids), Pages: max(1, (len(ids)+pageSize-1)/pageSize), Page: 1}
	if n, err := strconv.Atoi(r.URL.Query().Get("page")); err == nil {
		p.Page = min(max(n, 1), p.Pages)
	}
	from := (p.Page - 1) * pageSize
	p.First = from + 1
	rows, err := s.rows(r.Context(), ids[from:min(from+pageSize, len(ids))])
	for _, row := range rows {
		if row.Standing == held { // the index is a hint
			p.Rows = append(p.Rows, row)
		}
	}
	return &answer{name: "held", title: "Held", nav: "held", body: p}, err
}
