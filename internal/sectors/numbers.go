package sectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/redis/go-redis/v9"
)

// Range is a range of sector numbers, both ends included.
type Range struct{ From, To abi.SectorNumber }

// String is as a range is configured.
func (r Range) String() string { return fmt.Sprintf("%d-%d", uint64(r.From), uint64(r.To)) }

var everyNumber = []Range{{0, abi.MaxSectorNumber}}

// numbersKey holds the numbers that were given out, as run lengths in JSON,
// beginning with a run of free ones: [0,2,1,1] has 0, 1 and 3.
func numbersKey(miner abi.ActorID) string { return fmt.Sprintf("lpseal:numbers:t0%d", uint64(miner)) }

var swapNumbers = redis.NewScript(`
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
`)

// Allocate gives n sector numbers that were never used: neither by the chain nor
// by an earlier call. They are the lowest free ones, within ranges if there are
// any. A number that was given out is never given out again, even if the caller is
// not told of it ([ErrUnknown]): a gap does no harm.
func (s *Store) Allocate(ctx context.Context, miner abi.ActorID, n int, chain bitfield.BitField, ranges []Range) ([]abi.SectorNumber, error) {
	fail := func(err error) ([]abi.SectorNumber, error) {
		return nil, fmt.Errorf("allocate %d sector numbers of t0%d: %w", n, uint64(miner), err)
	}
	if len(ranges) == 0 {
		ranges = everyNumber
	}
	const tries = 100 // each lost one means that another caller got numbers
	for range tries {
		old, err := s.rdb.Get(ctx, numbersKey(miner)).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fail(err)
		}
		given := bitfield.New()
		if old != "" {
			if err := json.Unmarshal([]byte(old), &given); err != nil {
				return fail(fmt.Errorf("%s is damaged: %w", numbersKey(miner), err))
			}
		}
		picked, err := pick(n, given, chain, ranges)
		if err != nil {
			return fail(err)
		}
		for _, number := range picked {
			given.Set(uint64(number))
		}
		next, err := json.Marshal(given)
		if err != nil {
			return fail(err)
		}
		swapped, err := s.durably(ctx, numbersKey(miner), func(node redis.Scripter) (int, error) {
			return swapNumbers.Run(ctx, node, []string{numbersKey(miner)}, old, next).Int()
		})
		if err != nil {
			return fail(err)
		}
		if swapped == 1 {
			return picked, nil
		}
	}
	return fail(ErrConflict)
}

// pick walks the gaps between used numbers.
func pick(n int, given, chain bitfield.BitField, ranges []Range) ([]abi.SectorNumber, error) {
	used, err := bitfield.MergeBitFields(given, chain)
	if err != nil {
		return nil, err
	}
	var picked []abi.SectorNumber
	for _, r := range ranges {
		if r.From > r.To || r.To > abi.MaxSectorNumber {
			return nil, fmt.Errorf("range %s is empty or beyond the highest number, %d", r, uint64(abi.MaxSectorNumber))
		}
		runs, err := used.RunIterator()
		if err != nil {
			return nil, err
		}
		// The last run of a bitfield is of used numbers: what follows it is free.
		for at := uint64(0); at <= uint64(r.To) && len(picked) < n; {
			end, free := uint64(math.MaxUint64), true
			if runs.HasNext() {
				run, err := runs.NextRun()
				if err != nil {
					return nil, err
				}
				end, free = at+run.Len, !run.Val
			}
			if free {
				for number := max(at, uint64(r.From)); number < end && number <= uint64(r.To) && len(picked) < n; number++ {
					picked = append(picked, abi.SectorNumber(number))
					used.Set(number) // ranges may overlap
				}
			}
			at = end
		}
	}
	if len(picked) < n {
		return nil, fmt.Errorf("%w: %d left in the configured ranges %v; add a range", ErrNumbers, len(picked), ranges)
	}
	return picked, nil
}
