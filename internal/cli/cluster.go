package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
	"github.com/lpseal/lpseal/scheduler"
)

// cluster is what all daemons and commands share: the configuration, and the state in Redis.
type cluster struct {
	cfg    *configs.Config
	logs   *logs
	rdb    redis.UniversalClient
	store  *sectors.Store
	queues *queue.Queues
}

// join reads the configuration and connects to Redis.
func (a *app) join(ctx context.Context) (*cluster, error) {
	l, err := a.load()
	if err != nil {
		return nil, err
	}
	return a.joinAs(ctx, &l.Config)
}

// joined is what a command runs that works with a cluster.
func (a *app) joined(run func(ctx context.Context, c *cluster, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.join(cmd.Context())
		if err != nil {
			return err
		}
		defer c.close()
		return run(cmd.Context(), c, args)
	}
}

// daemon is joined for a command that runs until it is told to stop.
func (a *app) daemon(run func(ctx context.Context, c *cluster) error) func(*cobra.Command, []string) error {
	joined := a.joined(func(ctx context.Context, c *cluster, _ []string) error { return run(ctx, c) })
	return func(cmd *cobra.Command, args []string) error {
		secondSignalKills(cmd.Context())
		return joined(cmd, args)
	}
}

func (a *app) joinAs(ctx context.Context, cfg *configs.Config) (*cluster, error) {
	logs, err := newLogs(cfg.Log, a.err)
	if err != nil {
		return nil, err
	}
	rdb, err := sectors.Connect(ctx, redisOptions(cfg))
	if err != nil {
		return nil, noRedis(err)
	}
	sectors.Watch(rdb, logs.of("redis"))
	return &cluster{cfg: cfg, logs: logs, rdb: rdb, store: sectors.New(rdb), queues: queue.New(rdb)}, nil
}

func redisOptions(cfg *configs.Config) sectors.Options {
	return sectors.Options{
		URL: cfg.Redis.URL, User: cfg.Redis.User, Password: cfg.Redis.Password.Reveal(), CAFile: cfg.Redis.CA,
		SentinelUser: cfg.Redis.Sentinel.User, SentinelPassword: cfg.Redis.Sentinel.Password.Reveal(),
	}
}

// noRedis says what to set where Redis is not reached.
func noRedis(err error) error {
	where := " (lpseal config view --origin shows where it is set)"
	switch {
	case errors.Is(err, sectors.ErrOptions):
		return usage("set redis.url and redis.ca"+where, "%w", err)
	case errors.Is(err, sectors.ErrSignIn):
		return down("set redis.user and redis.password, best by LPSEAL_REDIS_PASSWORD_FILE"+where, err)
	}
	return down("start Redis, or set redis.url"+where, err)
}

func (c *cluster) close() {
	_ = c.queues.Close()
	_ = c.rdb.Close()
	_ = c.logs.close()
}

// operator gives orders that ask the node nothing: they are taken while it is away.
func (c *cluster) operator() (*scheduler.Scheduler, error) {
	return c.scheduler(struct{ jobs.Chain }{}, "cli")
}

// order performs an operator's order. A roll-back must know whether a message is under
// way (design rule 4), so it asks the node.
func (c *cluster) order(ctx context.Context, id jobs.SectorID, e jobs.Event, by string) error {
	op, err := c.operator()
	if _, back := e.(jobs.RolledBack); back {
		node, derr := c.dial(ctx)
		if derr != nil {
			return derr
		}
		defer node.Close()
		op, err = c.scheduler(node, "cli")
	}
	if err != nil {
		return err
	}
	return op.Order(ctx, id, e, by)
}

// who names the person behind an order, for the sector's log.
func who() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s@%s", name, host)
}
