package web

import (
	"context"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// fleet collects what Redis says of the whole fleet at the moment of a scrape. Schedulers
// and workers count what they do themselves; this is what is.
type fleet struct{ *site }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("lpseal_"+name, help, labels, nil)
}

var (
	sectorsDesc   = describe("sectors", "Open sectors with a stage in a state (queued, running, fault, wanted, done).", "miner", "stage", "state")
	openDesc      = describe("sectors_open", "Sectors in the pipeline, by how they stand (held, fault, running, waiting).", "miner", "standing")
	finishedDesc  = describe("sectors_finished", "Sectors out of the pipeline: committed, proven or removed.", "miner")
	notProvenDesc = describe("sectors_not_proven", "Committed sectors whose first WindowPoSt deadline closed without a proof, by state (unproven, faulty, terminated).", "miner", "state")
	commitByDesc  = describe("commit_deadline_epoch", "Last epoch at which the next pre-commitment can be proven that is not; absent while there is none.", "miner")
	brokenDesc    = describe("sectors_unreadable", "Records that cannot be parsed.")
	unreadDesc    = describe("unreadable", "Batches, deals and entries of the message journal that cannot be parsed, by kind (batch, deal, message).", "kind")
	widthDesc     = describe("lane_width", "Stages a lane runs at a time.", "host", "instance", "class", "gpu")
	busyDesc      = describe("lane_busy", "Stages a lane runs now.", "host", "instance", "class", "gpu")
	groupDesc     = describe("lane_lockstep", "Sectors in the lane's largest group that has its layers made together now.", "host", "instance", "class", "gpu")
	warmDesc      = describe("lane_warm", "Children of the lane that stay for the next c2 with proof parameters loaded.", "host", "instance", "class", "gpu")
	unfitDesc     = describe("lane_unfit", "1 if a lane took itself out.", "host", "instance", "class", "gpu")
	drainingDesc  = describe("worker_draining", "1 if a live worker was ordered to take no more work.", "host", "instance")
	capacityDesc  = describe("storage_capacity_bytes", "Bytes of a path that lpseal may fill.", "host", "instance", "path")
	freeDesc      = describe("storage_free_bytes", "Bytes that the file system of a path has free.", "host", "instance", "path")
	reservedDesc  = describe("storage_reserved_bytes", "Bytes of a path that are promised to sectors.", "host", "instance", "path")
	queueDesc     = describe("queue_tasks", "Tasks of a queue that wait or run.", "queue")
	dealsDesc     = describe("deals", "Deals that markets gave: waiting for a sector, packed into one, or refused because the chain would not take them any more.", "state")
	waitingDesc   = describe("messages_waiting", "Messages that were sent and are not settled.")
	oldestDesc    = describe("message_oldest_epochs", "Epochs since the oldest message that has not landed was signed; 0 if there is none.")
	walletDesc    = describe("wallet_fil", "Balance of an address that belongs to a miner.", "miner", "role", "address")
	availableDesc = describe("miner_available_fil", "Balance of a miner actor that is free for collateral.", "miner")
	shortDesc     = describe("funds_short_fil", "What must be sent to the senders so that the sectors in the pipeline can be paid for; 0: nothing.", "miner")
	shortAtDesc   = describe("funds_short_seconds", "Time until a payment cannot be made; absent while none is foreseen.", "miner")
	queueLaneDesc = describe("queue_width", "Tasks of a queue that live, fit lanes take at a time; 0 with tasks waiting is an alarm.", "queue")
)

// scrapePatience bounds one scrape.
const scrapePatience = 8 * time.Second

// Describe tells nothing: label values come and go with sectors and workers.
func (fleet) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f fleet) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapePatience)
	defer cancel()
	if err := f.collect(ctx, out); err != nil {
		out <- prometheus.NewInvalidMetric(sectorsDesc, err)
	}
}

func (f fleet) collect(ctx context.Context, out chan<- prometheus.Metric) error {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	t, err := f.census.take(ctx)
	if err != nil {
		return err
	}
	type stands struct {
		miner uint64
		standing
	}
	open := map[stands]int{}
	for _, e := range t.open {
		open[stands{uint64(e.id.Miner), e.standing}]++
	}
	for key, n := range open {
		gauge(openDesc, float64(n), minerLabel(key.miner), string(key.standing))
	}
	for key, n := range t.stages {
		gauge(sectorsDesc, float64(n), minerLabel(uint64(key.miner)), string(key.stage), string(key.state))
	}
	for miner, n := range t.doneBy {
		gauge(finishedDesc, float64(n), minerLabel(uint64(miner)))
	}
	for key, n := range t.notProven {
		gauge(notProvenDesc, float64(n), minerLabel(uint64(key.miner)), string(key.state))
	}
	for miner, epoch := range t.commitBy {
		gauge(commitByDesc, float64(epoch), minerLabel(uint64(miner)))
	}
	gauge(brokenDesc, float64(len(t.unreadable)))
	for kind, names := range t.unread {
		gauge(unreadDesc, float64(len(names)), kind)
	}
	deals, err := f.Store.CountDeals(ctx)
	if err != nil {
		return err
	}
	gauge(dealsDesc, float64(deals[jobs.DealWaiting]), "waiting")
	gauge(dealsDesc, float64(deals[jobs.DealSealing]), "packed")
	gauge(dealsDesc, float64(deals[jobs.DealRefused]), "refused")
	workers, err := f.Store.Workers(ctx)
	if _, err = sectors.Unread(err); err != nil {
		return err
	}
	for _, w := range workers {
		collectWorker(gauge, w)
	}
	load, err := f.Queues.Load(ctx)
	if err != nil {
		return err
	}
	for _, q := range queueLines(workers, load) {
		gauge(queueDesc, float64(q.Tasks), q.Name)
		gauge(queueLaneDesc, float64(q.Width), q.Name)
	}
	if err := f.collectMessages(ctx, gauge); err != nil {
		return err
	}
	return f.collectMoney(ctx, gauge, t)
}

func (f fleet) collectMessages(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string)) error {
	waiting, err := chain.Ledger{Shared: f.Store.Journal()}.Waiting(ctx)
	if err != nil {
		return err
	}
	gauge(waitingDesc, float64(len(waiting)))
	unread := 0
	for _, t := range waiting {
		if t.State == chain.MessageUnreadable {
			unread++
		}
	}
	gauge(unreadDesc, float64(unread), "message")
	lines, head := f.observed(ctx, waiting)
	if head == 0 {
		return nil // the node does not answer, which is another alarm
	}
	var oldest abi.ChainEpoch
	for _, m := range lines {
		oldest = max(oldest, m.Age)
	}
	gauge(oldestDesc, float64(oldest))
	return nil
}

func (f fleet) collectMoney(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string), t *tally) error {
	outlooks, held, err := f.money.outlook(ctx, t)
	if err != nil {
		return err
	}
	for i, o := range outlooks {
		miner := minerLabel(uint64(o.Miner))
		for _, w := range held.Funds[i].Wallets {
			gauge(walletDesc, inFIL(w.Balance), miner, strings.Join(w.Roles, ","), w.Key)
		}
		gauge(availableDesc, inFIL(held.Funds[i].Available), miner)
		gauge(shortDesc, inFIL(o.Short), miner)
		if o.Short.Sign() > 0 {
			gauge(shortAtDesc, max(0, o.ShortAt.Sub(f.Clock.Now()).Seconds()), miner)
		}
	}
	return nil
}

// inFIL is an amount as a metric: for curves and thresholds, never to count with.
func inFIL(a abi.TokenAmount) float64 {
	if a.Nil() {
		return 0
	}
	v, _ := new(big.Rat).SetFrac(a.Int, big.NewInt(1e18)).Float64()
	return v
}

func collectWorker(gauge func(*prometheus.Desc, float64, ...string), w jobs.Worker) {
	gauge(drainingDesc, one(w.Draining), w.Host, w.Instance)
	// Lanes of one class are told as one: labels would collide.
	type key struct{ class, gpu string }
	type sums struct{ width, busy, unfit, group, warm int }
	lanes := map[key]*sums{}
	for _, l := range w.Lanes {
		k := key{string(l.Class), l.GPU}
		if lanes[k] == nil {
			lanes[k] = &sums{}
		}
		lanes[k].width += l.Width
		lanes[k].busy += l.Busy
		lanes[k].group = max(lanes[k].group, l.Group)
		lanes[k].warm += l.Loaded
		lanes[k].unfit = max(lanes[k].unfit, int(one(l.Unfit != "")))
	}
	for k, n := range lanes {
		gauge(widthDesc, float64(n.width), w.Host, w.Instance, k.class, k.gpu)
		gauge(busyDesc, float64(n.busy), w.Host, w.Instance, k.class, k.gpu)
		gauge(groupDesc, float64(n.group), w.Host, w.Instance, k.class, k.gpu)
		gauge(warmDesc, float64(n.warm), w.Host, w.Instance, k.class, k.gpu)
		gauge(unfitDesc, float64(n.unfit), w.Host, w.Instance, k.class, k.gpu)
	}
	for _, p := range w.Paths {
		gauge(capacityDesc, float64(p.Capacity), w.Host, w.Instance, p.ID)
		gauge(freeDesc, float64(p.Free), w.Host, w.Instance, p.ID)
		gauge(reservedDesc, float64(p.Reserved), w.Host, w.Instance, p.ID)
	}
}

func minerLabel(miner uint64) string { return strconv.FormatUint(miner, 10) }

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// metrics serves the registry.
func (s *site) metrics() (http.Handler, error) {
	registry := prometheus.NewRegistry()
	all := append([]prometheus.Collector{
		fleet{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}, s.Collectors...)
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("web: metrics: %w", err)
		}
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}
