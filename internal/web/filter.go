package web

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/jobs"
)

// filter is what the pipeline page is narrowed to, as its address says.
type filter struct {
	Miner    string // t01000, or empty
	Standing standing
	Stage    jobs.Stage
	Find     string // part of a sector's name
	Order    string // "": by number, "moved": the longest without a move first
	Page     int    // from 1
}

func parseFilter(q url.Values) (filter, error) {
	f := filter{Miner: q.Get("miner"), Standing: standing(q.Get("state")), Find: strings.TrimSpace(q.Get("find")), Order: q.Get("order"), Page: 1}
	if _, err := f.miner(); err != nil {
		return f, err
	}
	if f.Standing != "" && !slices.Contains(standings, f.Standing) {
		return f, fmt.Errorf("%w: %q is not a state of sectors", errForm, f.Standing)
	}
	if s := q.Get("stage"); s != "" {
		stage, err := jobs.ParseStage(s)
		if err != nil {
			return f, fmt.Errorf("%w: %w", errForm, err)
		}
		f.Stage = stage
	}
	if f.Order != "moved" {
		f.Order = ""
	}
	if n, err := strconv.Atoi(q.Get("page")); err == nil && n > 0 {
		f.Page = n
	}
	return f, nil
}

// miner is the miner asked for, nil for all.
func (f filter) miner() (*abi.ActorID, error) {
	if f.Miner == "" {
		return nil, nil
	}
	digits, ok := strings.CutPrefix(strings.ToLower(f.Miner), "t0")
	if !ok {
		digits, ok = strings.CutPrefix(strings.ToLower(f.Miner), "f0")
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil {
		return nil, fmt.Errorf("%w: %q is not a miner like t01000", errForm, f.Miner)
	}
	id := abi.ActorID(n)
	return &id, nil
}

// With gives the address of another view, on its first page.
func (f filter) With(key, value string) string {
	f.Page = 1
	switch key {
	case "state":
		f.Standing = standing(value)
	case "stage":
		f.Stage = jobs.Stage(value)
	}
	return f.address()
}

// At gives the address of another page of the same view.
func (f filter) At(page int) string {
	f.Page = page
	return f.address()
}

func (f filter) address() string {
	q := url.Values{}
	set := func(key, value string) {
		if value != "" {
			q.Set(key, value)
		}
	}
	set("miner", f.Miner)
	set("state", string(f.Standing))
	set("stage", string(f.Stage))
	set("find", f.Find)
	set("order", f.Order)
	if f.Page > 1 {
		set("page", strconv.Itoa(f.Page))
	}
	return (&url.URL{Path: "/", RawQuery: q.Encode()}).String()
}

// choose gives the sectors of a view: the open ones, then the finished, newest first.
func (f filter) choose(t *tally) []jobs.SectorID {
	miner, _ := f.miner() // parseFilter saw to the error
	fits := func(id jobs.SectorID) bool {
		return (miner == nil || id.Miner == *miner) && (f.Find == "" || strings.Contains(id.String(), f.Find))
	}
	var ids []jobs.SectorID
	open := t.open
	if f.Order == "moved" {
		open = slices.SortedStableFunc(slices.Values(open), func(a, b entry) int { return a.moved.Compare(b.moved) })
	}
	var bit uint32 // none: every entry has it
	if f.Stage != "" {
		bit = 1 << slices.IndexFunc(jobs.Stages, func(row *jobs.Row) bool { return row.Stage == f.Stage })
	}
	for _, e := range open {
		if (f.Standing == "" || f.Standing == e.standing) && e.in&bit == bit && fits(e.id) {
			ids = append(ids, e.id)
		}
	}
	if f.Stage == "" && (f.Standing == "" || f.Standing == finished) {
		for _, id := range t.done {
			if fits(id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}
