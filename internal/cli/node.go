package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/handover"
	"github.com/lpseal/lpseal/internal/filelock"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/scheduler"
)

// dial connects to the node for reading. What became of a message is read from the
// journal that the senders share in Redis: without it every message would look as if it
// had never been sent.
func (c *cluster) dial(ctx context.Context) (*chain.Client, error) {
	return c.connect(ctx, c.store.Journal())
}

// dialSender connects to the node for sending, too. What is signed is journaled in Redis
// and on this host's disk before it is pushed (design rule 13); the second result closes both.
func (c *cluster) dialSender(ctx context.Context) (*chain.Client, func(), error) {
	// One process may hold the file, and several schedulers may run on a host.
	return c.dialSigning(ctx, c.cfg.Scheduler.Instance, chain.Mirror)
}

// dialOperator connects for one order of a person. What is signed for it is journaled as a scheduler's messages are, in a file of its own.
func (c *cluster) dialOperator(ctx context.Context) (*chain.Client, func(), error) {
	return c.dialSigning(ctx, "operator", chain.Kept)
}

func (c *cluster) dialSigning(ctx context.Context, name string, join func(shared, disk chain.Journal) chain.Journal) (*chain.Client, func(), error) {
	disk, err := chain.OpenFileJournal(filepath.Join(c.journalDir(), name+".jsonl"))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, nil, refused("wait for it to end, or stop it; schedulers of one host need a scheduler.instance each", "another lpseal sends messages as %s on this host: %w", name, err)
	}
	if err != nil {
		return nil, nil, &codedError{exitCode(err), err, []string{"it lies in chain.journal_dir, or in host.state_dir: a folder that this user may write"}}
	}
	node, err := c.connect(ctx, join(c.store.Journal(), disk))
	if err != nil {
		disk.Close()
		return nil, nil, err
	}
	return node, func() {
		node.Close()
		disk.Close()
	}, nil
}

// journalDir is where this host keeps signed messages.
func (c *cluster) journalDir() string {
	if dir := c.cfg.Chain.JournalDir; dir != "" {
		return dir
	}
	return filepath.Join(c.cfg.Host.StateDir, "messages")
}

// senders are the configured ones; none leaves the choice to the chain client.
func (c *cluster) senders() ([]address.Address, error) {
	a := c.cfg.Chain.Sender.Address
	if a == "" {
		return nil, nil
	}
	sender, err := address.NewFromString(a)
	if err != nil {
		return nil, fmt.Errorf("chain.sender.address: %w", err)
	}
	return []address.Address{sender}, nil
}

// connect dials the node as the configuration says, with a journal or, to read what is not about messages, without.
func (c *cluster) connect(ctx context.Context, journal chain.Journal) (*chain.Client, error) {
	own := c.cfg.Chain
	if own.API == "" {
		return nil, usage("set FULLNODE_API_INFO as for lotus, or chain.api; lpseal devnet runs a node for trying", "no node is configured")
	}
	if _, err := chain.ParseAPIInfo(own.API.Reveal()); err != nil {
		return nil, usage("lpseal config view --origin shows where chain.api is set", "%w", err)
	}
	senders, err := c.senders()
	if err != nil {
		return nil, err
	}
	node, err := chain.Dial(ctx, chain.Config{
		API: own.API.Reveal(), Network: own.Network, Miners: c.miners(), Confidence: own.Confidence, Log: c.logs.of("chain"),
		Journal: journal, Senders: senders, Shared: own.Sender.Shared, CollateralFromMiner: own.CollateralFromMiner, NeverAggregate: own.Aggregate == "off",
		MaxFeePreCommit: own.MaxFeePreCommit.Atto(), MaxFeeCommit: own.MaxFeeCommit.Atto(), MaxFeeMessage: own.MaxFeeMessage.Atto(),
		WaitBaseFee: own.WaitBaseFee.Atto(), ReplaceAfter: own.ReplaceAfter, MaxReplacements: own.MaxReplacements,
	})
	if fault := (*jobs.Fault)(nil); errors.As(err, &fault) && fault.Class == jobs.Transient {
		return nil, down("start the node, or set FULLNODE_API_INFO or chain.api (lpseal config view --origin shows where it is set)", err)
	}
	return node, err
}

// miners are the configured ones.
func (c *cluster) miners() []abi.ActorID {
	var out []abi.ActorID
	for _, m := range c.cfg.Miners {
		out = append(out, abi.ActorID(m.ID))
	}
	return out
}

// scheduler makes a scheduler under a name. One that does not run still gives orders,
// adds sectors and explains.
func (c *cluster) scheduler(node jobs.Chain, name string) (*scheduler.Scheduler, error) {
	ranges := map[abi.ActorID][]sectors.Range{}
	synthetic := map[abi.ActorID]bool{}
	for _, m := range c.cfg.Miners {
		synthetic[abi.ActorID(m.ID)] = m.Synthetic
		for _, r := range m.Ranges {
			ranges[abi.ActorID(m.ID)] = append(ranges[abi.ActorID(m.ID)], sectors.Range{From: r.First, To: r.Last})
		}
	}
	policy := c.cfg.JobsPolicy()
	policy.Commits.Aggregated = c.aggregates()
	return scheduler.New(scheduler.Options{
		Store: c.store, Queues: c.queues, Chain: node, Policy: policy,
		Log: c.logs.of("scheduler"), Period: c.cfg.Scheduler.Period, Name: name, Ranges: ranges, Synthetic: synthetic,
	})
}

// handover is who stored sectors are declared to; nil where nobody is to be told.
func (c *cluster) handover() (jobs.Handover, error) {
	if c.cfg.Handover.To == jobs.HandoverNone {
		return nil, nil
	}
	return handover.New(c.cfg.Handover.To, c.cfg.Handover.API.Reveal())
}
