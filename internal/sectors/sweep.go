package sectors

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

// Mended counts what a sweep saw and put right.
type Mended struct {
	Looked int // records and journal entries looked at
	Due    int // sectors missing in the due index, or in it without cause
	Held   int
	Done   int
	Space  int // reservations missing on a home path
	Names  int // journal entries missing in their index
	Pieces int // sectors missing under one of their pieces
	Batch  int // open batches missing in theirs
	Deals  int // deals missing in the index where they are looked for, or left in another
	// Unreadable records, batches and deals are left alone; reading them names them.
	Unreadable int
}

// Add sums up steps.
func (m *Mended) Add(o Mended) {
	m.Looked += o.Looked
	m.Due += o.Due
	m.Held += o.Held
	m.Done += o.Done
	m.Space += o.Space
	m.Names += o.Names
	m.Pieces += o.Pieces
	m.Batch += o.Batch
	m.Deals += o.Deals
	m.Unreadable += o.Unreadable
}

// Sweep does one bounded step of a pass over all records and mends the indexes by
// them. It begins with cursor "", each answer gives the cursor of the next step, and
// "" ends the pass. n is about how many keys of Redis a step looks at. A pass sees
// every record that is there from its begin to its end, at least once.
func (s *Store) Sweep(ctx context.Context, cursor string, n int) (next string, m Mended, err error) {
	at, err := parseCursor(cursor)
	if err == nil {
		at, m, err = s.step(ctx, at, int64(max(n, 1)))
	}
	if err != nil {
		return cursor, m, fmt.Errorf("sweep at %q: %w", cursor, err)
	}
	return at.String(), m, nil
}

// place is where a pass stands: at a SCAN cursor on one of the nodes, or, after the
// last node, in the due index.
type place struct {
	node  int // dueIndex while it walks the due index
	scan  uint64
	ended bool
}

const dueIndex = -1

func (p place) String() string {
	switch {
	case p.ended:
		return ""
	case p.node == dueIndex:
		return fmt.Sprintf("due/%d", p.scan)
	}
	return fmt.Sprintf("%d/%d", p.node, p.scan)
}

func parseCursor(cursor string) (p place, err error) {
	if cursor == "" {
		return p, nil
	}
	node, scan, _ := strings.Cut(cursor, "/")
	if p.scan, err = strconv.ParseUint(scan, 10, 64); err != nil {
		return p, err
	}
	if node == "due" {
		p.node = dueIndex
		return p, nil
	}
	p.node, err = strconv.Atoi(node)
	return p, err
}

func (s *Store) step(ctx context.Context, at place, n int64) (place, Mended, error) {
	if at.node == dueIndex {
		return s.sweepDue(ctx, at, n)
	}
	nodes, err := s.nodes(ctx)
	if err != nil {
		return at, Mended{}, err
	}
	if at.node >= len(nodes) {
		return place{node: dueIndex}, Mended{}, nil
	}
	// Records are lpseal:{s-…}, batches lpseal:{b-…}, journal entries lpseal:{m-…}, deals lpseal:{d-…}.
	keys, scan, err := nodes[at.node].Scan(ctx, at.scan, "lpseal:{[bdms]-*}", n).Result()
	if err != nil {
		return at, Mended{}, err
	}
	if at.scan = scan; scan == 0 {
		at.node++
	}
	var ids []jobs.SectorID
	var messages, batches, deals []string
	for _, key := range keys {
		name := untag(key)
		if message, ok := strings.CutPrefix(name, "m-"); ok {
			messages = append(messages, message)
		} else if _, err := jobs.ParseBatchID(name); err == nil {
			batches = append(batches, name)
		} else if deal, ok := strings.CutPrefix(name, "d-"); ok {
			deals = append(deals, deal)
		} else if id, err := jobs.ParseSectorID(name); err == nil {
			ids = append(ids, id)
		}
	}
	m, err := s.mend(ctx, ids)
	if err != nil {
		return at, m, err
	}
	if err := s.mendBatches(ctx, batches, &m); err != nil {
		return at, m, err
	}
	if err := s.mendDeals(ctx, deals, &m); err != nil {
		return at, m, err
	}
	if len(messages) > 0 {
		m.Looked += len(messages)
		missing := make([]redis.Z, len(messages))
		for i, name := range messages {
			missing[i].Member = name
		}
		added, err := s.rdb.ZAddNX(ctx, messagesKey, missing...).Result()
		if err != nil {
			return at, m, err
		}
		m.Names += int(added)
	}
	return at, m, nil
}

// sweepDue takes out what is due and has no record: what a crash before a sector's
// creation left behind.
func (s *Store) sweepDue(ctx context.Context, at place, n int64) (place, Mended, error) {
	pairs, scan, err := s.rdb.ZScan(ctx, dueKey, at.scan, "", n).Result()
	if err != nil {
		return at, Mended{}, err
	}
	at.scan, at.ended = scan, scan == 0
	pipe := s.rdb.Pipeline()
	exists := map[string]*redis.IntCmd{}
	var m Mended
	var stray []any
	for i := 0; i < len(pairs); i += 2 { // name, score
		if id, err := jobs.ParseSectorID(pairs[i]); err == nil {
			exists[pairs[i]] = pipe.Exists(ctx, recordKey(id))
		} else {
			stray = append(stray, pairs[i])
		}
	}
	if len(exists) > 0 {
		if _, err := pipe.Exec(ctx); err != nil {
			return at, m, err
		}
	}
	for name, found := range exists {
		if found.Val() == 0 {
			stray = append(stray, name)
		}
	}
	if len(stray) == 0 {
		return at, m, nil
	}
	removed, err := s.rdb.ZRem(ctx, dueKey, stray...).Result()
	m.Due = int(removed)
	return at, m, err
}

// glimpse is what a sweep reads of a record.
type glimpse struct {
	id             jobs.SectorID
	fields         *redis.SliceCmd
	due, held, end *redis.FloatCmd
}

var glimpsed = []string{"outcome", "hold", "home", "proof", "pieces", string(jobs.Finalize) + ".state", string(jobs.RecoverAbandon) + ".state"}

// mend compares records with the indexes and puts the indexes right.
func (s *Store) mend(ctx context.Context, ids []jobs.SectorID) (m Mended, err error) {
	if len(ids) == 0 {
		return m, nil
	}
	pipe := s.rdb.Pipeline()
	seen := make([]glimpse, len(ids))
	for i, id := range ids {
		name := id.String()
		seen[i] = glimpse{
			id: id, fields: pipe.HMGet(ctx, recordKey(id), glimpsed...),
			due: pipe.ZScore(ctx, dueKey, name), held: pipe.ZScore(ctx, heldKey, name), end: pipe.ZScore(ctx, doneKey(id.Miner), name),
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return m, err
	}
	fix := s.rdb.Pipeline()
	var spaces []*redis.BoolCmd
	var pieces []*redis.IntCmd
	for _, g := range seen {
		m.Looked++
		r, err := g.record()
		if err != nil {
			m.Unreadable++
			continue
		}
		s.mendOne(ctx, fix, g, r, &m)
		pieces = append(pieces, indexPieces(ctx, fix, r)...)
		if r.Home != "" && needsSpace(r) {
			spaces = append(spaces, fix.HSetNX(ctx, pathKey(r.Home), g.id.String(), jobs.SealingSpace(r.Proof)))
		}
	}
	if fix.Len() == 0 {
		return m, nil
	}
	if _, err := fix.Exec(ctx); err != nil {
		return m, err
	}
	for _, piece := range pieces {
		m.Pieces += int(piece.Val())
	}
	for _, space := range spaces {
		if space.Val() {
			m.Space++
		}
	}
	return m, nil
}

// record is a record with as much as the indexes depend on.
func (g glimpse) record() (*jobs.Record, error) {
	values := g.fields.Val()
	text := func(i int) string { v, _ := values[i].(string); return v }
	fields := map[string]string{"sector": g.id.String(), "version": "1"}
	for i, name := range glimpsed {
		if v := text(i); v != "" {
			fields[name] = v
		}
	}
	return jobs.ParseRecord(fields)
}

func (s *Store) mendOne(ctx context.Context, fix redis.Pipeliner, g glimpse, r *jobs.Record, m *Mended) {
	name := g.id.String()
	in := func(score *redis.FloatCmd) bool { return score.Err() == nil }
	finished := r.Outcome != jobs.Open
	if in(g.due) == finished {
		m.Due++
		if finished {
			fix.ZRem(ctx, dueKey, name)
		} else {
			fix.ZAddNX(ctx, dueKey, redis.Z{Member: name})
		}
	}
	if in(g.held) != isHeld(r) {
		m.Held++
		if isHeld(r) {
			fix.ZAdd(ctx, heldKey, redis.Z{Score: millis(r.Hold.Since), Member: name})
		} else {
			fix.ZRem(ctx, heldKey, name)
		}
	}
	if in(g.end) != finished {
		m.Done++
		if finished {
			fix.ZAdd(ctx, doneKey(g.id.Miner), redis.Z{Score: float64(g.id.Number), Member: name})
		} else {
			fix.ZRem(ctx, doneKey(g.id.Miner), name)
		}
	}
}
