package cli

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// slowRedis is a round trip that is felt: a stage's hand-over takes about ten.
const slowRedis = 10 * time.Millisecond

// redis sees whether Redis can be trusted (design rule 14) and is near.
func (d *doctor) redis(ctx context.Context) {
	const fix = "take the settings of configs/ship/redis.conf"
	err := d.store.Check(ctx)
	var doubts *sectors.Warning
	switch {
	case errors.As(err, &doubts):
		for _, text := range doubts.Texts {
			d.warn("redis", fix, "%s", text)
		}
	case err != nil:
		for text := range strings.SplitSeq(err.Error(), "\n") {
			d.fail("redis", fix, "%s", text)
		}
		return
	}
	servers, err := d.store.Servers(ctx)
	if err != nil {
		d.fail("redis", "", "%w", err)
		return
	}
	for _, s := range servers {
		if s.Embedded() {
			d.warn("redis", "use redis-server 6.2 or later", "redis at %s is the demo's own: it keeps nothing", s.Addr)
			continue
		}
		d.ok("redis", "redis at %s is version %s, %s, its clock is %s away", s.Addr, s.Version, s.Eviction, s.Skew.Abs().Round(time.Millisecond))
	}
	var trips []time.Duration
	for range 9 {
		start := time.Now()
		if err := d.rdb.Ping(ctx).Err(); err != nil {
			d.fail("redis", "", "ping: %w", err)
			return
		}
		trips = append(trips, time.Since(start))
	}
	slices.Sort(trips)
	if median := trips[len(trips)/2]; median > slowRedis {
		d.warn("redis", "redis-cli --latency; put Redis nearer, or on a quieter machine", "a round trip takes %s", median.Round(time.Millisecond))
	} else {
		d.ok("redis", "a round trip takes %s", median.Round(10*time.Microsecond))
	}
}

// A node whose head is this many block delays old is behind, or far behind.
const (
	lagging = 3
	lost    = 10
)

// chain sees whether the node is the right one, in sync, and lets us send. It gives the
// network, and the seal proofs of the miners, the largest sectors first.
func (d *doctor) chain(ctx context.Context) (s surroundings) {
	node, err := d.connect(ctx, nil)
	if err != nil {
		d.fail("chain", "set FULLNODE_API_INFO as for lotus, chain.network and miners; lotus sync status", "%w", err)
		return s
	}
	defer node.Close()
	network, err := node.Network(ctx)
	if err != nil {
		d.fail("chain", "", "%w", err)
		return s
	}
	s.network = network
	d.network(ctx, node, network)
	d.tokens(ctx, node)
	if len(d.cfg.Miners) == 0 {
		d.warn("chain", "add it to the configuration: miners: [{id: t01000}]", "no miner is configured")
	}
	for _, m := range d.cfg.Miners {
		info, err := node.Miner(ctx, abi.ActorID(m.ID))
		if err != nil {
			d.fail("chain", "lotus state miner-info "+m.ID.String(), "miner %s: %w", m.ID, err)
			continue
		}
		s.add(info.SealProof)
		sender, err := node.Sender(ctx, abi.ActorID(m.ID))
		if err != nil {
			d.fail("chain", "lotus wallet list; lotus state miner-info "+m.ID.String(), "%w", err)
			continue
		}
		d.ok("chain", "miner %s has sectors of %s; %s pays for its messages", m.ID, info.SectorSize.ShortString(), sender)
		if d.cfg.Chain.Sender.Shared || d.cfg.Handover.To != jobs.HandoverLotusMiner {
			continue
		}
		funds, err := node.Funds(ctx, abi.ActorID(m.ID))
		if err != nil {
			d.fail("chain", "", "funds of %s: %w", m.ID, err)
			continue
		}
		for _, w := range funds.Wallets {
			if w.Key == sender.String() {
				d.senders[m.ID] = w
			}
		}
	}
	return s
}

func (d *doctor) network(ctx context.Context, node *chain.Client, network jobs.Network) {
	if d.cfg.Chain.Network == "" && !network.Embedded {
		d.warn("chain", "set chain.network to "+network.Name, "any network would do: messages cost money on the wrong one")
	}
	age, err := node.HeadAge(ctx)
	switch behind := age / max(network.BlockDelay, time.Second); {
	case err != nil:
		d.fail("chain", "", "%w", err)
	case behind >= lost:
		d.fail("chain", "lotus sync wait", "the node is out of sync: its head is %s old", age.Round(time.Second))
	case behind >= lagging:
		d.warn("chain", "lotus sync status", "the node is behind: its head is %s old", age.Round(time.Second))
	default:
		d.ok("chain", "the node follows %s and is in sync", network.Name)
	}
}

// tokens sees that messages can be signed, before a sector waits for it.
func (d *doctor) tokens(ctx context.Context, node *chain.Client) {
	const mend = "lotus auth create-token --perm sign"
	for i, s := range node.MaySign(ctx) {
		switch {
		case s.Err != nil:
			d.warn("chain", mend, "what the token allows: %w", s.Err)
		case s.May:
			d.ok("chain", "node %s signs for lpseal", s.Node)
		case i == 0:
			d.fail("chain", mend, "without a token that may sign node %s sends no message", s.Node)
		default:
			d.warn("chain", mend, "without a token that may sign node %s sends no message while those before it are away", s.Node)
		}
	}
}

// servers sees that every queue has a live worker, and every kind of stage has one.
func (d *doctor) servers(ctx context.Context) {
	workers, err := d.store.Workers(ctx)
	if _, err = sectors.Unread(err); err != nil {
		d.fail("workers", "", "%w", err)
		return
	}
	load, err := d.queues.Load(ctx)
	if err != nil {
		d.fail("workers", "", "%w", err)
		return
	}
	served, classes := map[string]bool{}, map[jobs.Class]bool{}
	for _, w := range workers {
		for _, l := range w.Lanes {
			if l.Unfit != "" {
				d.fail("workers", "mend it; the lane tries again by itself", "lane %s of %s took itself out: %s", l.Class, w.Name(), l.Unfit)
				continue
			}
			if w.Draining {
				continue
			}
			classes[l.Class] = true
			for _, q := range l.Queues(w.Host) {
				served[q.String()] = true
			}
		}
	}
	served[jobs.SchedulerQueue] = classes[jobs.ClassChain]
	for _, name := range slices.Sorted(maps.Keys(load)) {
		if n := load[name]; n > 0 && !served[name] {
			d.fail("workers", "lpseal machines list; start or resume the worker that has this lane", "queue %s has %d tasks and no live worker", name, n)
		}
	}
	for _, class := range jobs.Classes {
		switch {
		case classes[class]:
		case class == jobs.ClassChain:
			d.warn("workers", "systemctl start lpseal-scheduler", "no scheduler is live: nothing moves on")
		default:
			fix, out := "add a lane to worker.lanes of a host and start its worker", jobs.TakenOut(workers, class)
			if out != "" {
				fix = "resume or start the worker, or mend the lane: lpseal machines list"
			}
			d.warn("workers", fix, "no live worker has a fit %s lane%s", class, out)
		}
	}
	if len(classes) == len(jobs.Classes) {
		are := "are"
		if len(workers) == 1 {
			are = "is"
		}
		d.ok("workers", "%d %s live, with lanes of every class", len(workers), are)
	}
}
