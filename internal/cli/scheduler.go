package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/worker"
)

func (a *app) schedulerCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scheduler",
		Short: "Run the poller: it moves sectors on and sends messages",
		Args:  args(),
		RunE: a.daemon(func(ctx context.Context, c *cluster) error {
			return c.runScheduler(ctx, a.childConfig())
		}),
	}
	a.configFlag(cmd, "instance", "scheduler.instance", "name of this scheduler on its host")
	a.configFlag(cmd, "host", "host.id", "name of this host")
	a.configFlag(cmd, "metrics", "metrics.listen", "address of its metrics")
	return cmd
}

// runScheduler is the scheduler daemon: the poller, the head's follower, and a worker
// for queue chain, whose stages send messages.
func (c *cluster) runScheduler(ctx context.Context, child worker.ChildConfig) error {
	if err := c.check(ctx); err != nil {
		return err
	}
	node, closeNode, err := c.dialSender(ctx)
	if err != nil {
		return err
	}
	defer closeNode()
	s, err := c.scheduler(node, c.cfg.Scheduler.Instance)
	if err != nil {
		return err
	}
	agg, err := c.aggregator(ctx, node)
	if err != nil {
		return err
	}
	w, err := c.chainWorker(node, agg, child)
	if err != nil {
		return err
	}
	metrics, err := c.serveMetrics(slices.Concat(s.Collectors(), w.Collectors(), []prometheus.Collector{rpcCalls{node.Calls}})...)
	if err != nil {
		return err
	}
	defer metrics.close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error { return c.drive(ctx, w) })
	g.Go(func() error { return ended(ctx, node.Run(ctx)) })
	return g.Wait()
}

// ended is nil for an error that only says that ctx ended.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// chainWidth is how many messages are prepared at a time. They wait on the node, not on a
// processor.
const chainWidth = 8

// aggregator joins proofs into aggregates; nil where this binary cannot, or may not. Where
// its parameters are missing, proofs go one by one.
func (c *cluster) aggregator(ctx context.Context, node jobs.Chain) (jobs.Aggregator, error) {
	if !c.aggregates() {
		return nil, nil
	}
	network, err := node.Network(ctx)
	if err != nil {
		return nil, err
	}
	return worker.NewAggregator(worker.ChildConfig{Args: []string{"aggregate"}, Env: []string{networkEnv + "=" + network.Name}})
}

// aggregates says that this binary can join proofs, and may.
func (c *cluster) aggregates() bool {
	_, ok := provers[joins]
	return ok && c.cfg.Chain.Aggregate != "off"
}

// chainWorker serves queue chain. It has no paths: what it reads of a sector comes over
// the file service.
func (c *cluster) chainWorker(node jobs.Chain, agg jobs.Aggregator, child worker.ChildConfig) (*worker.Worker, error) {
	alone := *c
	cfg := *c.cfg
	cfg.Worker.Paths = nil
	alone.cfg = &cfg
	host, err := alone.openFiles(crash.Worker, false)
	if err != nil {
		return nil, err
	}
	env := c.env(nil, node, host, nil) // nothing is proven or stored on this lane
	env.Aggregator = agg
	return worker.New(worker.Options{
		Host: c.cfg.Host.ID, Instance: c.cfg.Scheduler.Instance, Run: rand.Text(), Version: thisBuild().Version,
		StateDir: c.cfg.Host.StateDir, Lanes: []jobs.Lane{{Class: jobs.ClassChain, Width: chainWidth}},
		Store: c.store, Queues: c.queues, Files: host, Env: func(jobs.Lane) *jobs.Env { return env },
		Child: child, Policy: c.cfg.JobsPolicy(), Log: c.logs.of("worker"),
	})
}
