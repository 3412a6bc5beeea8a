package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/internal/web"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/scheduler"
)

func (a *app) webCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Serve the pages of the pipeline and of the queues",
		Args:  args(),
		RunE: a.joined(func(ctx context.Context, c *cluster, _ []string) error {
			l, err := c.listenWeb()
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "http://%s/\n", l.Addr())
			return c.runWeb(ctx, l)
		}),
	}
	a.configFlag(cmd, "listen", "web.listen", "address of the pages")
	return cmd
}

func (c *cluster) listenWeb() (net.Listener, error) {
	l, err := net.Listen("tcp", c.cfg.Web.Listen)
	if err != nil {
		return nil, fmt.Errorf("web.listen: %w", err)
	}
	return l, nil
}

// runWeb is the web daemon. It ends open requests soon after ctx, live ones among them.
func (c *cluster) runWeb(ctx context.Context, l net.Listener) error {
	asks := &asker{cluster: c}
	defer asks.close()
	handler, err := web.New(web.Options{
		Store: c.store, Queues: c.queues, Redis: c.rdb, Scheduler: asks, Node: asks, Miners: c.miners(), Token: c.cfg.Web.Token.Reveal(),
		AllowWrites: c.cfg.Web.AllowWrites, Version: thisBuild().Version, Log: c.logs.of("web"), Collectors: []prometheus.Collector{buildInfo()},
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}

// asker explains sectors and takes orders for the pages. It dials the node when somebody asks
// why: the pages must be there when the node is not.
type asker struct {
	*cluster
	mu      sync.Mutex
	node    *chain.Client
	explain *scheduler.Scheduler
}

// ask gives the node, and a scheduler that explains by it.
func (k *asker) ask(ctx context.Context) (*chain.Client, *scheduler.Scheduler, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.node != nil {
		return k.node, k.explain, nil
	}
	node, err := k.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	s, err := k.cluster.scheduler(node, "web")
	if err != nil {
		node.Close()
		return nil, nil, err
	}
	k.node, k.explain = node, s
	return node, s, nil
}

// Explain implements web.Scheduler.
func (k *asker) Explain(ctx context.Context, id jobs.SectorID) (jobs.Action, jobs.Reason, *jobs.Record, error) {
	_, s, err := k.ask(ctx)
	if err != nil {
		return jobs.Action{}, jobs.Reason{}, nil, err
	}
	return s.Explain(ctx, id)
}

// Order implements web.Scheduler.
func (k *asker) Order(ctx context.Context, id jobs.SectorID, order jobs.Event, by string) error {
	return k.order(ctx, id, order, by)
}

// Observe implements web.Node.
func (k *asker) Observe(ctx context.Context, sent []chain.Tracked) (abi.ChainEpoch, error) {
	node, _, err := k.ask(ctx)
	if err != nil {
		return 0, err
	}
	return node.Observe(ctx, sent)
}

// Treasury implements web.Node.
func (k *asker) Treasury(ctx context.Context, miners []abi.ActorID) (*jobs.Treasury, []*chain.Funds, error) {
	node, _, err := k.ask(ctx)
	if err != nil {
		return nil, nil, err
	}
	return node.Treasury(ctx, miners)
}

// TakeDeal implements web.Scheduler.
func (k *asker) TakeDeal(ctx context.Context, d jobs.Deal, digest string) (jobs.DealStatus, error) {
	_, s, err := k.ask(ctx)
	if err != nil {
		return jobs.DealStatus{}, err
	}
	return s.TakeDeal(ctx, d, digest)
}

// Forming implements web.Scheduler.
func (k *asker) Forming(ctx context.Context) ([]jobs.Forming, error) {
	_, s, err := k.ask(ctx)
	if err != nil {
		return nil, err
	}
	return s.Forming(ctx)
}

func (k *asker) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.node != nil {
		k.node.Close()
	}
}
