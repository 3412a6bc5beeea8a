package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/web"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/worker"
)

// metric is a metric as its collector describes it.
type metric struct {
	name, kind, help string
	labels           []string
}

// writeMetrics prints the metrics that the pages serve and those that each daemon counts.
func writeMetrics(w io.Writer) error {
	served, scheduler, own, err := allMetrics(context.Background())
	if err != nil {
		return err
	}
	heading(w, "Metrics", "`lpseal web` serves them at `/metrics`, to whoever may see the pages: on loopback, or with `Authorization: Bearer TOKEN`.\nLabels name miners, stages, classes and hosts, never a sector. configs/ship has a dashboard and alert rules that use them.")
	fmt.Fprint(w, "\n## The fleet, as Redis knows it at the moment of a scrape\n")
	metricRows(w, served)
	fmt.Fprint(w, "\nBeside them are the usual `go_*` and `process_*` metrics of the process that serves the pages.\n")
	fmt.Fprint(w, "\n## What each daemon counts\n\nA scheduler or worker with `metrics.listen` serves what it did itself since its start at `/metrics` there, without a token,\nand at `/healthz` says whether Redis answers it. Of both kinds, for a scheduler works on queue `chain`:\n")
	metricRows(w, own)
	fmt.Fprint(w, "\nOf schedulers:\n")
	metricRows(w, scheduler)
	return nil
}

func metricRows(w io.Writer, metrics []metric) {
	var body [][]string
	for _, m := range metrics {
		body = append(body, []string{code(m.name), m.kind, or(strings.Join(m.labels, ", "), "–"), cell(m.help)})
	}
	rows(w, []string{"metric", "kind", "labels", "what it is"}, body)
}

// allMetrics asks the pages of a small fleet that has one of everything, for their collector
// describes nothing beforehand, and the collectors of the daemons: those of a scheduler alone,
// and those of every one.
func allMetrics(ctx context.Context) (served, scheduler, own []metric, err error) {
	redis := miniredis.NewMiniRedis()
	if err := redis.Start(); err != nil {
		return nil, nil, nil, err
	}
	defer redis.Close()
	loaded, err := configs.Load(configs.Source{Alone: true, Flags: map[string]string{"redis.url": "redis://" + redis.Addr(), "host.id": "h1"}})
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := (&app{err: io.Discard}).joinAs(ctx, &loaded.Config)
	if err != nil {
		return nil, nil, nil, err
	}
	defer c.close()
	s, err := c.operator()
	if err != nil {
		return nil, nil, nil, err
	}
	if err := c.oneOfEverything(ctx); err != nil {
		return nil, nil, nil, err
	}
	pages, err := web.New(web.Options{
		Store: c.store, Queues: c.queues, Redis: c.rdb, Scheduler: &asker{cluster: c}, Node: poorNode{}, Token: "the generator's own",
		Log: slog.New(slog.DiscardHandler), Collectors: []prometheus.Collector{buildInfo()},
	})
	if err != nil {
		return nil, nil, nil, err
	}
	scrape, request := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Authorization", "Bearer the generator's own")
	pages.ServeHTTP(scrape, request)
	if scrape.Code != http.StatusOK {
		return nil, nil, nil, fmt.Errorf("/metrics answers %d: %s", scrape.Code, scrape.Body)
	}
	if served, err = scraped(scrape.Body); err != nil {
		return nil, nil, nil, err
	}
	if scheduler, err = described(s.Collectors()); err != nil {
		return nil, nil, nil, err
	}
	w, err := c.chainWorker(struct{ jobs.Chain }{}, nil, worker.ChildConfig{})
	if err != nil {
		return nil, nil, nil, err
	}
	own, err = described(append(w.Collectors(), rpcCalls{}, buildInfo()))
	return served, scheduler, own, err
}

// oneOfEverything makes an open sector that is pre-committed and nobody proved, and a finished one, a worker with a lane and a path, and
// with these a queue.
func (c *cluster) oneOfEverything(ctx context.Context) error {
	const proof = abi.RegisteredSealProof_StackedDrg2KiBV1_1
	commD, err := jobs.CommD(proof, nil)
	if err != nil {
		return err
	}
	now := time.Now()
	for n := range abi.SectorNumber(2) {
		r := &jobs.Record{
			ID: jobs.SectorID{Miner: 1000, Number: n}, Version: 1, Created: now, Proof: proof, CommD: commD, PreCommitEpoch: 1, CommitDeadline: 2,
			Stages: map[jobs.Stage]jobs.StageRecord{jobs.TreeD: {State: jobs.Queued, Fence: 1, Attempt: 1, Delivery: 1, Queue: "cpu.h1", Since: now}},
		}
		if err := c.store.Create(ctx, r, "generate"); err != nil {
			return err
		}
	}
	open, finished := jobs.SectorID{Miner: 1000}, jobs.SectorID{Miner: 1000, Number: 1}
	if _, err := c.store.Apply(ctx, open, jobs.ProofMissed{State: jobs.ProvingFaulty}, "generate", now); err != nil {
		return err
	}
	for _, e := range []jobs.Event{jobs.AbandonOrdered{}, jobs.Finished{Outcome: jobs.Removed}} {
		if _, err := c.store.Apply(ctx, finished, e, "generate", now); err != nil {
			return err
		}
	}
	return c.store.Join(ctx, jobs.Worker{
		Host: "h1", Instance: "main", Run: "generate",
		Lanes: []jobs.Lane{{Class: jobs.ClassCPU, Width: 1}}, Paths: []jobs.Path{{ID: "p1", CanSeal: true}},
	}, time.Minute)
}

// poorNode is a node with a miner that has too little for the open sector.
type poorNode struct{}

func (poorNode) Observe(context.Context, []chain.Tracked) (abi.ChainEpoch, error) { return 1, nil }

func (poorNode) Treasury(context.Context, []abi.ActorID) (*jobs.Treasury, []*chain.Funds, error) {
	zero := big.Zero()
	none := map[jobs.Stage]big.Int{jobs.PreCommit: zero, jobs.Commit: zero}
	account := jobs.Account{Available: zero, Deposit: big.NewInt(1), Pledge: big.NewInt(2), Gas: none, MaxFee: none}
	funds := &chain.Funds{Available: zero, Wallets: []chain.Wallet{{Roles: []string{"control"}, Key: "f1", Balance: zero}}}
	return &jobs.Treasury{Miners: map[abi.ActorID]jobs.Account{1000: account}}, []*chain.Funds{funds}, nil
}

var sample = regexp.MustCompile(`^(lpseal_\w+)(?:\{(.*)\})? `)

// scraped reads metrics of ours from Prometheus's text format.
func scraped(r io.Reader) ([]metric, error) {
	byName := map[string]*metric{}
	var names []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if words := strings.SplitN(line, " ", 4); len(words) == 4 && words[0] == "#" {
			name := words[2]
			if !strings.HasPrefix(name, "lpseal_") {
				continue
			}
			if byName[name] == nil {
				byName[name] = &metric{name: name}
				names = append(names, name)
			}
			if words[1] == "HELP" {
				byName[name].help = words[3]
			} else {
				byName[name].kind = words[3]
			}
			continue
		}
		if parts := sample.FindStringSubmatch(line); parts != nil && parts[2] != "" {
			byName[parts[1]].labels = labelNames(parts[2])
		}
	}
	slices.Sort(names)
	var out []metric
	for _, n := range names {
		out = append(out, *byName[n])
	}
	return out, lines.Err()
}

var labelName = regexp.MustCompile(`(\w+)="`)

func labelNames(pairs string) (names []string) {
	for _, m := range labelName.FindAllStringSubmatch(pairs, -1) {
		names = append(names, m[1])
	}
	return names
}

var description = regexp.MustCompile(`^Desc\{fqName: "(\w+)", help: "([^"]*)", unit: "[^"]*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// described reads the descriptions of collectors, which client_golang gives as text only.
func described(collectors []prometheus.Collector) ([]metric, error) {
	var out []metric
	for _, c := range collectors {
		descs := make(chan *prometheus.Desc, 1)
		c.Describe(descs)
		parts := description.FindStringSubmatch((<-descs).String())
		if parts == nil {
			return nil, errors.New("client_golang describes metrics in another way now")
		}
		m := metric{name: parts[1], kind: kindOf(c), help: parts[2], labels: labelNames(parts[3])}
		if parts[4] != "" {
			m.labels = append(m.labels, strings.Split(parts[4], ",")...)
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

func kindOf(c prometheus.Collector) string {
	switch c.(type) {
	case prometheus.Gauge, *prometheus.GaugeVec: // before Counter, whose methods a Gauge has, too
		return "gauge"
	case prometheus.Counter, *prometheus.CounterVec, rpcCalls:
		return "counter"
	}
	return "histogram"
}
