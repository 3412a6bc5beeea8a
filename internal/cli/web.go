package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/internal/web"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/scheduler"
)

func (a *app) webCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Serve the pages of the pipeline and of the queues",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.join(cmd.Context())
			if err != nil {
				return err
			}
			defer c.close()
			l, err := c.listenWeb()
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "http://%s/\n", l.Addr())
			return c.runWeb(cmd.Context(), l)
		},
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
		Store: c.store, Queues: c.queues, Redis: c.rdb, Scheduler: asks, Miners: c.miners(), Token: c.cfg.Web.Token.Reveal(),
		AllowWrites: c.cfg.Web.AllowWrites, Version: thisBuild().Version, Log: c.logs.of("web"),
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
	explain *scheduler.Scheduler
	hangUp  func()
}

func (k *asker) scheduler(ctx context.Context) (*scheduler.Scheduler, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.explain != nil {
		return k.explain, nil
	}
	node, err := k.dial(ctx)
	if err != nil {
		return nil, err
	}
	if k.explain, err = k.cluster.scheduler(node, "web"); err != nil {
		node.Close()
		return nil, err
	}
	k.hangUp = node.Close
	return k.explain, nil
}

// Explain implements web.Scheduler.
func (k *asker) Explain(ctx context.Context, id jobs.SectorID) (jobs.Action, jobs.Reason, *jobs.Record, error) {
	s, err := k.scheduler(ctx)
	if err != nil {
		return jobs.Action{}, jobs.Reason{}, nil, err
	}
	return s.Explain(ctx, id)
}

// Order implements web.Scheduler.
func (k *asker) Order(ctx context.Context, id jobs.SectorID, order jobs.Event, by string) error {
	return k.order(ctx, id, order, by)
}

func (k *asker) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hangUp != nil {
		k.hangUp()
	}
}
