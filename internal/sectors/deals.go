package sectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

// Indexes of deals by when they came: hints, mended from the deals.
const (
	dealsKey        = "lpseal:deals"         // whose sector has no record yet
	packedDealsKey  = "lpseal:deals:packed"  // whose sector has one
	refusedDealsKey = "lpseal:deals:refused" // that cannot be sealed any more
)

func dealKey(id string) string { return "lpseal:{d-" + id + "}" }

// ErrNoDeal says that nobody gave a deal of this name.
var ErrNoDeal = errors.New("no such deal")

// Deal is what is remembered of a deal: what came, which never changes, and where it goes.
type Deal struct {
	jobs.Deal
	Digest  string         // of what came: the same name with another one is another deal
	Sector  *jobs.SectorID // that it is assigned to
	Refused string         // why it cannot be sealed any more
}

// received is the field of a deal that never changes.
type received struct {
	Deal   jobs.Deal `json:"deal"`
	Digest string    `json:"digest"`
}

var addDealScript = redis.NewScript(`return redis.call('HSETNX', KEYS[1], 'deal', ARGV[1])`)

// AddDeal remembers a deal unless there is one of its name, and gives the one that there
// is then. Where there are replicas, one of them has it.
func (s *Store) AddDeal(ctx context.Context, d jobs.Deal, digest string) (*Deal, error) {
	if err := s.rdb.ZAdd(ctx, dealsKey, redis.Z{Score: millis(d.Received), Member: d.ID}).Err(); err != nil {
		return nil, fmt.Errorf("add deal %s: %w", d.ID, err)
	}
	value, err := json.Marshal(received{d, digest})
	if err != nil {
		return nil, fmt.Errorf("add deal %s: %w", d.ID, err)
	}
	_, err = s.durably(ctx, dealKey(d.ID), func(node redis.Scripter) (int, error) {
		return addDealScript.Run(ctx, node, []string{dealKey(d.ID)}, value).Int()
	})
	if err != nil {
		return nil, fmt.Errorf("add deal %s: %w", d.ID, err)
	}
	return s.Deal(ctx, d.ID)
}

// Deal reads one deal. One that cannot be parsed is an [*UnreadError].
func (s *Store) Deal(ctx context.Context, id string) (*Deal, error) {
	fields, err := s.rdb.HGetAll(ctx, dealKey(id)).Result()
	if err != nil {
		return nil, fmt.Errorf("deal %s: %w", id, err)
	}
	return parseDeal(id, fields)
}

func parseDeal(id string, fields map[string]string) (*Deal, error) {
	if fields["deal"] == "" {
		return nil, fmt.Errorf("deal %s: %w", id, ErrNoDeal)
	}
	var r received
	if err := jobs.DecodeStrictly(strings.NewReader(fields["deal"]), &r); err != nil {
		return nil, unreadOne("deal", id, err)
	}
	d := &Deal{Deal: r.Deal, Digest: r.Digest, Refused: fields["refused"]}
	if name := fields["sector"]; name != "" {
		sector, err := jobs.ParseSectorID(name)
		if err != nil {
			return nil, unreadOne("deal", id, err)
		}
		d.Sector = &sector
	}
	return d, nil
}

// OpenDeals gives the deals whose sector has no record yet, as far as the index knows, the
// oldest first, and beside them those that cannot be parsed, by an [*UnreadError].
func (s *Store) OpenDeals(ctx context.Context) ([]*Deal, error) {
	ids, err := s.rdb.ZRange(ctx, dealsKey, 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read open deals: %w", err)
	}
	return s.readDeals(ctx, ids)
}

// PackedDeals gives n deals from the one numbered from that have come to a sector with a
// record, the latest to come first, and how many there are. [Store.OpenDeals] says how it
// tells of those that cannot be parsed.
func (s *Store) PackedDeals(ctx context.Context, from, n int) ([]*Deal, int, error) {
	return s.dealsOf(ctx, packedDealsKey, from, n)
}

// RefusedDeals does the same for those that cannot be sealed any more.
func (s *Store) RefusedDeals(ctx context.Context, from, n int) ([]*Deal, int, error) {
	return s.dealsOf(ctx, refusedDealsKey, from, n)
}

// CountDeals says how many deals there are in a state, as far as the indexes know: waiting,
// sealing (in a sector, whatever became of it) and refused.
func (s *Store) CountDeals(ctx context.Context) (map[jobs.DealState]int, error) {
	out := map[jobs.DealState]int{}
	for state, index := range map[jobs.DealState]string{jobs.DealWaiting: dealsKey, jobs.DealSealing: packedDealsKey, jobs.DealRefused: refusedDealsKey} {
		n, err := s.rdb.ZCard(ctx, index).Result()
		if err != nil {
			return nil, fmt.Errorf("count deals: %w", err)
		}
		out[state] = int(n)
	}
	return out, nil
}

func (s *Store) dealsOf(ctx context.Context, index string, from, n int) ([]*Deal, int, error) {
	all, err := s.rdb.ZCard(ctx, index).Result()
	if err != nil {
		return nil, 0, fmt.Errorf("count deals: %w", err)
	}
	ids, err := s.rdb.ZRevRange(ctx, index, int64(from), int64(from+n-1)).Result()
	if err != nil {
		return nil, 0, fmt.Errorf("read deals: %w", err)
	}
	deals, err := s.readDeals(ctx, ids)
	return deals, int(all), err
}

func (s *Store) readDeals(ctx context.Context, ids []string) ([]*Deal, error) {
	var deals []*Deal
	bad := &UnreadError{Kind: "deal"}
	for part := range slices.Chunk(ids, chunk) {
		pipe := s.rdb.Pipeline()
		cmds := make([]*redis.MapStringStringCmd, len(part))
		for i, id := range part {
			cmds[i] = pipe.HGetAll(ctx, dealKey(id))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("read %d deals: %w", len(ids), err)
		}
		for i, cmd := range cmds {
			d, err := parseDeal(part[i], cmd.Val())
			switch {
			case errors.Is(err, ErrNoDeal): // it is about to be added, or never was
			case err != nil:
				bad.add(part[i], err)
			default:
				deals = append(deals, d)
			}
		}
	}
	return deals, bad.orNil()
}

// CloseDeal takes a deal from the open ones to the packed ones, since its sector has a
// record, or to the refused ones.
func (s *Store) CloseDeal(ctx context.Context, id string) error {
	d, err := s.Deal(ctx, id)
	if err != nil && !errors.Is(err, ErrNoDeal) {
		return fmt.Errorf("close: %w", err)
	}
	if err == nil {
		if _, err := s.indexDeal(ctx, d, true); err != nil {
			return fmt.Errorf("close deal %s: %w", id, err)
		}
	}
	if err := s.rdb.ZRem(ctx, dealsKey, id).Err(); err != nil {
		return fmt.Errorf("close deal %s: %w", id, err)
	}
	return nil
}

// indexDeal puts a deal where it is looked for, if it is not there, and counts it then. made
// says that its sector has a record.
func (s *Store) indexDeal(ctx context.Context, d *Deal, made bool) (int, error) {
	added, err := s.rdb.ZAddNX(ctx, d.index(made), redis.Z{Score: millis(d.Received), Member: d.ID}).Result()
	return int(added), err
}

// index is where a deal is looked for.
func (d *Deal) index(made bool) string {
	switch {
	case d.Refused != "":
		return refusedDealsKey
	case d.Sector != nil && made:
		return packedDealsKey
	}
	return dealsKey
}

// moveDealScript swaps the sector of a deal. The answer repeats itself.
//
//	KEYS deal
//	ARGV sector expected, sector wanted; empty is none
var moveDealScript = redis.NewScript(`
if redis.call('HEXISTS', KEYS[1], 'deal') == 0 then return 0 end
local at = redis.call('HGET', KEYS[1], 'sector') or ''
if at == ARGV[2] then return 1 end
if at ~= ARGV[1] or redis.call('HEXISTS', KEYS[1], 'refused') == 1 then return 0 end
if ARGV[2] == '' then redis.call('HDEL', KEYS[1], 'sector') else redis.call('HSET', KEYS[1], 'sector', ARGV[2]) end
return 1
`)

// AssignDeal gives a waiting deal to a sector, and tells whether it is the sector's now.
func (s *Store) AssignDeal(ctx context.Context, id string, sector jobs.SectorID) (bool, error) {
	return s.moveDeal(ctx, id, "", sector.String())
}

// FreeDeal makes a deal wait again if it is the sector's.
func (s *Store) FreeDeal(ctx context.Context, id string, sector jobs.SectorID) error {
	_, err := s.moveDeal(ctx, id, sector.String(), "")
	return err
}

func (s *Store) moveDeal(ctx context.Context, id, from, to string) (bool, error) {
	answer, err := certain(ctx, func() (int, error) {
		return moveDealScript.Run(ctx, s.rdb, []string{dealKey(id)}, from, to).Int()
	})
	if err != nil {
		return false, fmt.Errorf("move deal %s from %q to %q: %w", id, from, to, err)
	}
	return answer == 1, nil
}

var refuseDealScript = redis.NewScript(`
if redis.call('HEXISTS', KEYS[1], 'deal') == 0 or redis.call('HEXISTS', KEYS[1], 'sector') == 1 then return 0 end
redis.call('HSETNX', KEYS[1], 'refused', ARGV[1])
return 1
`)

// RefuseDeal says why a waiting deal cannot be sealed any more, and tells whether it is refused.
// One with a sector is left alone.
func (s *Store) RefuseDeal(ctx context.Context, id, why string) (bool, error) {
	answer, err := certain(ctx, func() (int, error) {
		return refuseDealScript.Run(ctx, s.rdb, []string{dealKey(id)}, why).Int()
	})
	if err != nil {
		return false, fmt.Errorf("refuse deal %s: %w", id, err)
	}
	return answer == 1, nil
}

// reopenDealScript takes sector and refusal of a deal away. The answer repeats itself.
//
//	KEYS deal
//	ARGV sector expected; empty is none
var reopenDealScript = redis.NewScript(`
if redis.call('HEXISTS', KEYS[1], 'deal') == 0 then return 0 end
local at = redis.call('HGET', KEYS[1], 'sector') or ''
if at ~= '' and at ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'sector', 'refused')
return 1
`)

// ReopenDeal makes a deal wait again that was refused, or assigned to the sector that was read
// with it, and gives it as it is then. [ErrConflict] says that it has another sector by now.
func (s *Store) ReopenDeal(ctx context.Context, d *Deal) (*Deal, error) {
	was := ""
	if d.Sector != nil {
		was = d.Sector.String()
	}
	// Among the open ones first: one that does not wait is taken out of them by who packs.
	if err := s.rdb.ZAddNX(ctx, dealsKey, redis.Z{Score: millis(d.Received), Member: d.ID}).Err(); err != nil {
		return nil, fmt.Errorf("reopen deal %s: %w", d.ID, err)
	}
	answer, err := certain(ctx, func() (int, error) {
		return reopenDealScript.Run(ctx, s.rdb, []string{dealKey(d.ID)}, was).Int()
	})
	if err == nil && answer == 0 {
		err = ErrConflict
	}
	if err != nil {
		return nil, fmt.Errorf("reopen deal %s: %w", d.ID, err)
	}
	for _, index := range []string{packedDealsKey, refusedDealsKey} { // until then, or a sweep, it is listed there as one that waits
		if err := s.rdb.ZRem(ctx, index, d.ID).Err(); err != nil {
			return nil, fmt.Errorf("reopen deal %s: %w", d.ID, err)
		}
	}
	return s.Deal(ctx, d.ID)
}

// mendDeals puts deals back into their indexes, and takes them out of the lists that they left:
// who reopened one may have been cut off. Among the open ones they stay, for whoever packs to see.
func (s *Store) mendDeals(ctx context.Context, ids []string, m *Mended) error {
	for _, id := range ids {
		m.Looked++
		d, err := s.Deal(ctx, id)
		unread, err := Unread(err)
		if unread != nil {
			m.Unreadable++
			continue
		}
		if errors.Is(err, ErrNoDeal) {
			continue
		}
		if err != nil {
			return err
		}
		made := int64(0)
		if d.Sector != nil {
			if made, err = s.rdb.Exists(ctx, recordKey(*d.Sector)).Result(); err != nil {
				return err
			}
		}
		added, err := s.indexDeal(ctx, d, made == 1)
		if err != nil {
			return err
		}
		m.Deals += added
		for _, index := range []string{packedDealsKey, refusedDealsKey} {
			if index == d.index(made == 1) {
				continue
			}
			left, err := s.rdb.ZRem(ctx, index, id).Result()
			if err != nil {
				return err
			}
			m.Deals += int(left)
		}
	}
	return nil
}

// StatusOf says where a deal is: with its sector, once that has a record.
func (s *Store) StatusOf(ctx context.Context, d *Deal) (jobs.DealStatus, error) {
	switch {
	case d.Refused != "":
		return jobs.DealStatus{ID: d.ID, State: jobs.DealRefused, Why: d.Refused}, nil
	case d.Sector == nil:
		return jobs.StatusOf(&d.Deal, nil), nil
	}
	r, err := s.Load(ctx, *d.Sector)
	if errors.Is(err, ErrNotFound) { // it is about to be made, or given up
		return jobs.StatusOf(&d.Deal, nil), nil
	}
	if err != nil {
		return jobs.DealStatus{}, fmt.Errorf("deal %s: %w", d.ID, err)
	}
	return jobs.StatusOf(&d.Deal, r), nil
}
