package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/worker"
)

func (a *app) workerCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run a worker: it seals on this host's lanes and serves its storage paths",
		Args:  args(),
		RunE: a.daemon(func(ctx context.Context, c *cluster) error {
			return c.runWorker(ctx, a.childConfig())
		}),
	}
	a.configFlag(cmd, "instance", "worker.instance", "name of this worker on its host")
	a.configFlag(cmd, "host", "host.id", "name of this host")
	a.configFlag(cmd, "metrics", "metrics.listen", "address of its metrics")
	return cmd
}

// homeless are the lanes that run nothing for want of a path: all but c2 runs where the
// sector lies.
func homeless(w *configs.Worker) (lanes []jobs.Class) {
	if len(w.Paths) > 0 {
		return nil
	}
	for _, l := range w.Lanes {
		if l.Class != jobs.ClassGPU {
			lanes = append(lanes, l.Class)
		}
	}
	return lanes
}

// runWorker is the worker daemon. When ctx ends it drains for a while and then leaves; child
// processes go on and are adopted by the next start.
func (c *cluster) runWorker(ctx context.Context, child worker.ChildConfig) error {
	if len(c.cfg.Worker.Lanes) == 0 {
		return usage("lpseal config default shows how lanes are written", "worker.lanes is empty: this worker would seal nothing")
	}
	if err := c.check(ctx); err != nil {
		return err
	}
	if idle := homeless(&c.cfg.Worker); len(idle) > 0 {
		c.logs.of("worker").Warn("worker.paths is empty: no sector lies here, so these lanes get no work; lpseal storage attach makes a path", "lanes", idle)
	}
	host, err := c.openFiles(crash.Worker, false)
	if err != nil {
		return err
	}
	node, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer node.Close()
	around, err := c.look(ctx, node, host.Paths())
	if err != nil {
		return err
	}
	child.Env = append(child.Env, networkEnv+"="+around.network.Name)
	to, err := c.handover()
	if err != nil {
		return err
	}
	envs, lanes, err := c.lanes(around, func(p jobs.Prover) *jobs.Env { return c.env(p, node, host, to) })
	if err != nil {
		return err
	}
	service, err := c.serveFiles(host)
	if err != nil {
		return err
	}
	defer service.close()
	w, err := worker.New(worker.Options{
		Host: c.cfg.Host.ID, Instance: c.cfg.Worker.Instance, Run: rand.Text(), Version: thisBuild().Version, FileURL: service.url,
		StateDir: c.cfg.Host.StateDir, Lanes: lanes, Store: c.store, Queues: c.queues, Files: host,
		Env: envs, Child: child, Policy: c.cfg.JobsPolicy(), Log: c.logs.of("worker"), Capacity: around.capacity,
		Unproven: c.watchParameters(ctx, around, lanes),
	})
	if err != nil {
		return err
	}
	metrics, err := c.serveMetrics(append(w.Collectors(), rpcCalls{node.Calls})...)
	if err != nil {
		return err
	}
	defer metrics.close()
	go c.warnOfSlowLabels(ctx, lanes)
	return c.drive(ctx, w)
}

// drive runs a worker until ctx ends, then drains it and lets it leave.
func (c *cluster) drive(ctx context.Context, w *worker.Worker) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var g errgroup.Group
	g.Go(func() error { defer end(); return w.Run(life) })
	select {
	case <-life.Done(): // it could not join
	case <-ctx.Done():
		patience, cancel := context.WithTimeout(life, c.cfg.Worker.Drain)
		defer cancel()
		if err := w.Drain(patience); err != nil {
			c.logs.of("worker").Info("leaving with work in hand; the next start adopts it", "err", err)
		}
		end()
	}
	return g.Wait()
}

// check sees that Redis can be trusted (design rule 14); what it can live with is logged.
func (c *cluster) check(ctx context.Context) error {
	err := c.store.Check(ctx)
	var warning *sectors.Warning
	if errors.As(err, &warning) {
		for _, text := range warning.Texts {
			c.logs.of("redis").Warn(text)
		}
		return nil
	}
	if err != nil {
		return down("lpseal config view --origin shows where redis.url is set", err)
	}
	return nil
}

// openFiles opens this host's storage paths; see [files.Options] for partial.
func (c *cluster) openFiles(role crash.Role, partial bool) (*files.Host, error) {
	var dirs []string
	for _, p := range c.cfg.Worker.Paths {
		dirs = append(dirs, p.Dir)
	}
	return files.Open(files.Options{
		Host: c.cfg.Host.ID, Paths: dirs, Peers: c.store.Workers, Secret: []byte(c.cfg.Worker.FileService.Secret.Reveal()),
		Fence: func(ctx context.Context, id jobs.SectorID, s jobs.Stage) (int, error) {
			r, err := c.store.Load(ctx, id)
			if err != nil {
				return 0, err
			}
			return r.Stage(s).Fence, nil
		},
		Wanted: c.store.AnyOpen, Partial: partial, Role: role, Log: c.logs.of("files"),
	})
}

// env is what a stage may touch in this process.
func (c *cluster) env(prover jobs.Prover, node jobs.Chain, host *files.Host, to jobs.Handover) *jobs.Env {
	pieces := files.NewSources(files.SourceOptions{AllowPrivate: c.cfg.Worker.Pieces.AllowPrivate})
	return &jobs.Env{
		Prover: prover, Chain: node, Files: host, Pieces: pieces, Handover: to, Clock: clock{}, Rand: rand.Reader, Progress: func(jobs.Progress) {},
	}
}

type clock struct{}

func (clock) Now() time.Time { return time.Now() }

// fileService is the listener of a worker's file service; without one nothing listens.
type fileService struct {
	url    string
	server *http.Server
}

func (s *fileService) close() {
	if s.server != nil {
		_ = s.server.Close()
	}
}

func (c *cluster) serveFiles(host *files.Host) (*fileService, error) {
	f := c.cfg.Worker.FileService
	if f.Listen == "" {
		return &fileService{}, nil
	}
	l, err := net.Listen("tcp", f.Listen)
	if err != nil {
		return nil, fmt.Errorf("worker.file_service.listen: %w", err)
	}
	s := &fileService{url: or(f.Advertise, "http://"+l.Addr().String()), server: &http.Server{Handler: host.Handler(), ReadHeaderTimeout: 10 * time.Second}}
	go func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.logs.of("files").Error("the file service ended", "err", err)
		}
	}()
	return s, nil
}

// configFlag is a flag for a configuration key that one command is often given.
func (a *app) configFlag(cmd *cobra.Command, name, key, help string) {
	cmd.Flags().Func(name, help+" ("+key+")", func(v string) error {
		a.flags[key] = v
		return nil
	})
}
