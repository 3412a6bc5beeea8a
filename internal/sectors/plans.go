package sectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
)

func planKey(id jobs.SectorID) string { return recordKey(id) + ":plan" }

// swapPlanScript compares the state of a plan and replaces it.
//
//	KEYS plan
//	ARGV state expected, state wanted, plan wanted
var swapPlanScript = redis.NewScript(`
local at = redis.call('HGET', KEYS[1], 'state') or ''
if at == ARGV[1] then
  redis.call('HSET', KEYS[1], 'state', ARGV[2], 'plan', ARGV[3])
end
return redis.call('HGET', KEYS[1], 'plan')
`)

// SwapPlan writes the plan of a sector if the one there is in the state from, empty for
// none, and gives the one that there is then.
func (s *Store) SwapPlan(ctx context.Context, sector jobs.SectorID, from jobs.PlanState, next jobs.Plan) (*jobs.Plan, error) {
	value, err := json.Marshal(next)
	if err != nil {
		return nil, fmt.Errorf("plan of %s: %w", sector, err)
	}
	answer, err := certain(ctx, func() (string, error) {
		return swapPlanScript.Run(ctx, s.rdb, []string{planKey(sector)}, string(from), string(next.State), value).Text()
	})
	if err != nil {
		return nil, fmt.Errorf("plan of %s: %w", sector, err)
	}
	return parsePlan(sector, answer)
}

// Plan reads the plan of a sector; nil if there is none. One that cannot be parsed is an
// [*UnreadError].
func (s *Store) Plan(ctx context.Context, sector jobs.SectorID) (*jobs.Plan, error) {
	text, err := s.rdb.HGet(ctx, planKey(sector), "plan").Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("plan of %s: %w", sector, err)
	}
	return parsePlan(sector, text)
}

func parsePlan(sector jobs.SectorID, text string) (*jobs.Plan, error) {
	var p jobs.Plan
	if err := jobs.DecodeStrictly(strings.NewReader(text), &p); err != nil {
		return nil, unreadOne("plan", sector.String(), err)
	}
	return &p, nil
}
