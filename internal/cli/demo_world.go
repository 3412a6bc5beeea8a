package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/alicebob/miniredis/v2"
	"golang.org/x/sync/errgroup"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/worker"
)

// demoHosts are the demo's two hosts, each with a worker of its own GPU class.
var demoHosts = []struct{ id, gpu string }{{"h1", "a"}, {"h2", "b"}}

const (
	demoLog   = "demo.log"
	demoMiner = "t01000"
)

// demoWorld is everything that runs in the demo: Redis, the node, and the daemons, each from a
// configuration file of its own, as they would run apart.
type demoWorld struct {
	*cluster // the operator's view
	app      *app
	dir      string
	ownInput bool // the input was generated
	page     string

	redis   *miniredis.Miniredis
	node    *devnet.Node
	daemons *errgroup.Group
	failed  context.Context // ends when a daemon fails
	end     context.CancelFunc
}

// startDemo starts everything. The daemons outlive ctx: stop ends them in order.
func startDemo(ctx context.Context, a *app, dir, input string, f demoFlags) (_ *demoWorld, err error) {
	w := &demoWorld{app: a, dir: dir, ownInput: f.data == ""}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	w.end = end
	w.daemons, w.failed = errgroup.WithContext(life)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop())
		}
	}()
	w.redis = miniredis.NewMiniRedis()
	w.redis.ClockTTL(true)
	if err := w.redis.Start(); err != nil {
		return nil, fmt.Errorf("redis in the process: %w", err)
	}
	if err := w.writeConfigs(f, input); err != nil {
		return nil, err
	}
	operator, err := w.joinAs(ctx, "operator")
	if err != nil {
		return nil, err
	}
	w.cluster = operator
	for _, name := range []string{"scheduler", "h1", "h2"} {
		if err := w.startDaemon(name); err != nil {
			return nil, err
		}
	}
	return w, w.startWeb()
}

func (w *demoWorld) file(name string) string { return filepath.Join(w.dir, name+".yaml") }

// daemonApp is the program as it would be started for one daemon.
func (w *demoWorld) daemonApp(name string) *app {
	return &app{in: w.app.in, out: w.app.err, err: w.app.err, config: w.file(name), alone: true, flags: map[string]string{}}
}

func (w *demoWorld) joinAs(ctx context.Context, name string) (*cluster, error) {
	return w.daemonApp(name).join(ctx)
}

// startDaemon starts one daemon from its file.
func (w *demoWorld) startDaemon(name string) error {
	a := w.daemonApp(name)
	c, err := a.join(w.failed)
	if err != nil {
		return err
	}
	child := a.childConfig()
	child.Poll = 50 * time.Millisecond // sectors are small here
	w.daemons.Go(func() error {
		defer c.close()
		run := c.runWorker
		if name == "scheduler" {
			run = c.runScheduler
		}
		if err := run(w.failed, child); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	return nil
}

// startWeb serves the pages on loopback.
func (w *demoWorld) startWeb() error {
	l, err := w.listenWeb()
	if err != nil {
		return err
	}
	w.page = "http://" + l.Addr().String() + "/"
	fmt.Fprintf(w.app.err, "pages: %s\n", w.page)
	w.daemons.Go(func() error { return w.runWeb(w.failed, l) })
	return nil
}

// demoConfig is the configuration of one daemon. Waits are short because epochs are.
const demoConfig = `
redis: {url: "redis://%[1]s"}
chain: {api: %[2]q}
miners: [{id: ` + demoMiner + `}]
policy: {look: 1s, busy_wait: 1s, backoff_base: 500ms, backoff_max: 5s%[10]s}
host: {id: %[3]s, state_dir: %[4]q}
worker:
  drain: 0s
  lanes: [%[5]s]
  paths: [%[6]s]
  file_service: {listen: "127.0.0.1:0", secret: %[7]s}
scheduler: {instance: %[8]s, period: 1s}
web: {listen: "127.0.0.1:0"}
log: {level: info, format: nocolor, file: %[9]q}
`

// writeConfigs starts the node and makes the hosts' folders and everybody's file.
func (w *demoWorld) writeConfigs(f demoFlags, input string) error {
	secret := rand.Text() + rand.Text()
	s, err := f.sectors(input)
	if err != nil {
		return err
	}
	batch := ""
	if f.aggregate {
		// One batch of all. The default slack is more time than there is to a deadline in epochs of a second, and would send each sector at once.
		batch = fmt.Sprintf(", commit_batch: {max: %d, wait: 20m, slack: 0s}", s.all())
	}
	write := func(name, host, lanes, paths string) error {
		text := fmt.Sprintf(demoConfig, w.redis.Addr(), w.node.APIInfo(), host, filepath.Join(w.dir, host, "state"),
			lanes, paths, secret, "scheduler", filepath.Join(w.dir, demoLog), batch)
		return os.WriteFile(w.file(name), []byte(text), 0o600)
	}
	if err := w.startNode(f); err != nil {
		return err
	}
	room, err := demoRoom(f, s)
	if err != nil {
		return err
	}
	for _, h := range demoHosts {
		paths := ""
		for name, o := range map[string]files.PathOptions{"seal": {CanSeal: true, Capacity: room}, "store": {CanStore: true}} {
			dir := filepath.Join(w.dir, h.id, name)
			if _, err := files.Init(dir, o); err != nil {
				return err
			}
			paths += fmt.Sprintf("{dir: %q}, ", dir)
		}
		lanes := fmt.Sprintf("{class: sdr, width: 1, prover: %[2]s}, {class: cpu, width: 1, prover: %[2]s}, {class: io, width: 2}, {class: gpu, gpu: %[1]s, device: none, width: 1, prover: %[2]s}", h.gpu, f.prover)
		if err := write(h.id, h.id, lanes, paths); err != nil {
			return err
		}
	}
	return errors.Join(write("scheduler", "h0", "", ""), write("operator", "h0", "", ""))
}

// demoRoom is the capacity of a sealing path: enough for all sectors. It is bounded so that what
// is promised counts, and the sectors are spread over both hosts.
func demoRoom(f demoFlags, s demoSectors) (uint64, error) {
	proof, err := sealProof(f.size)
	if err != nil {
		return 0, err
	}
	if f.synthetic {
		if proof, err = jobs.SyntheticOf(proof); err != nil {
			return 0, err
		}
	}
	return jobs.SealingSpace(proof) * uint64(s.all()), nil
}

func (w *demoWorld) startNode(f demoFlags) error {
	v, err := f.verifier()
	if err != nil {
		return err
	}
	cfg, err := devnetConfig(f.size, []string{demoMiner}, v)
	if err != nil {
		return err
	}
	logs, err := newLogs(configs.Log{Level: "info", Format: "nocolor", File: filepath.Join(w.dir, demoLog)}, w.app.err)
	if err != nil {
		return err
	}
	cfg.EpochDuration, cfg.Logger = f.epochDuration(), logs.of("devnet")
	w.node, err = devnet.Start(w.failed, cfg)
	return err
}

// workersLive waits for the workers' first heartbeats.
func (w *demoWorld) workersLive(ctx context.Context, n int) error {
	return w.until(ctx, 20*time.Millisecond, func() (bool, error) {
		live, err := w.store.Workers(ctx)
		lanes := 0
		for _, l := range live {
			for _, lane := range l.Lanes {
				if lane.Class == jobs.ClassGPU {
					lanes++
				}
			}
		}
		return lanes == n, err
	})
}

// until asks again and again, until the answer is yes, ctx ends or a daemon fails.
func (w *demoWorld) until(ctx context.Context, every time.Duration, ask func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if yes, err := ask(); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.failed.Done():
			return w.daemons.Wait()
		case <-tick.C:
		}
	}
}

// stop ends everything. Child processes outlive their workers on purpose, so they are ended
// after them.
func (w *demoWorld) stop() error {
	w.end()
	errs := []error{w.daemons.Wait()}
	for _, h := range demoHosts {
		errs = append(errs, worker.EndAll(filepath.Join(w.dir, h.id, "state"), time.Second))
	}
	if w.cluster != nil {
		w.close()
	}
	if w.node != nil {
		errs = append(errs, w.node.Close())
	}
	if w.redis != nil {
		w.redis.Close()
	}
	return errors.Join(errs...)
}
