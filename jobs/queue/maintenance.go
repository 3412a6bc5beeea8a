package queue

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// MaintenanceOptions describe the care for all queues.
type MaintenanceOptions struct {
	// Known gives queues that should be cared for before they had a task, such as
	// those of live lanes; nil means none.
	Known func(context.Context) ([]string, error)
	// Period is how often new queues and orphans are looked for; 0 means 10 s.
	Period time.Duration
	Log    *slog.Logger
}

const defaultMaintenancePeriod = 10 * time.Second

// Maintenance looks after every queue until ctx ends: asynq recovers the tasks of a
// dead server only while some other server lists its queue (design rule 11). The
// server here lists all of them and runs nothing: it is stopped as soon as it was
// started, which leaves its recoverer, forwarder and janitor at work. asynq's list
// of queues is fixed, so a new server takes over when a queue appears.
func (q *Queues) Maintenance(ctx context.Context, o MaintenanceOptions) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Period <= 0 {
		o.Period = defaultMaintenancePeriod
	}
	m := &maintainer{queues: q, options: o}
	defer m.shutdown()
	tick := time.NewTicker(o.Period)
	defer tick.Stop()
	for {
		if err := m.round(ctx); err != nil && ctx.Err() == nil {
			o.Log.WarnContext(ctx, "maintenance of queues", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

type maintainer struct {
	queues  *Queues
	options MaintenanceOptions
	names   []string // that srv lists
	srv     *asynq.Server
}

func (m *maintainer) round(ctx context.Context) error {
	names, err := m.queues.Names(ctx)
	if err != nil {
		return err
	}
	if m.options.Known != nil {
		known, err := m.options.Known(ctx)
		if err != nil {
			return err
		}
		names = append(names, known...)
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > 0 && !slices.Equal(names, m.names) {
		if err := m.replace(names); err != nil {
			return err
		}
	}
	for _, name := range names {
		n, err := m.queues.DropOrphans(ctx, name)
		if err != nil {
			return err
		}
		if n > 0 {
			m.options.Log.WarnContext(ctx, "dropped tasks that were active without a lease", "queue", name, "tasks", n)
		}
	}
	return nil
}

// replace starts a server for all names, and ends the one before.
func (m *maintainer) replace(names []string) error {
	config := baseConfig(m.options.Log)
	config.Queues = strict(names)
	config.Concurrency = 1
	srv := asynq.NewServerFromRedisClient(m.queues.rdb, config)
	// A task that is pulled all the same, before Stop, goes back at once.
	err := srv.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error { return errMaintenance }))
	if err != nil {
		return fmt.Errorf("start a maintenance server: %w", err)
	}
	srv.Stop()
	m.shutdown()
	m.srv, m.names = srv, names
	return nil
}

func (m *maintainer) shutdown() {
	if m.srv != nil {
		m.srv.Shutdown()
	}
}

// orphansScript takes tasks out of a queue that are active and have no lease.
//
//	KEYS active, lease
//	ARGV prefix of the tasks' keys
var orphansScript = redis.NewScript(`
local dropped = 0
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  if not redis.call('ZSCORE', KEYS[2], id) then
    redis.call('LREM', KEYS[1], 0, id)
    redis.call('DEL', ARGV[1] .. id)
    dropped = dropped + 1
  end
end
return dropped
`)

// DropOrphans removes the tasks of a queue that are active and lost their lease,
// and counts them. asynq takes and gives up both in one script, so only a loss of
// data leaves such a task, and asynq's recoverer never finds it. The record's stage
// is delivered anew once its task is absent (design rule 2).
func (q *Queues) DropOrphans(ctx context.Context, queue string) (int, error) {
	n, err := orphansScript.Run(ctx, q.rdb, []string{queueKey(queue, "active"), queueKey(queue, "lease")}, queueKey(queue, "t:")).Int()
	if err != nil {
		return 0, fmt.Errorf("drop orphans of %s: %w", queue, err)
	}
	return n, nil
}
