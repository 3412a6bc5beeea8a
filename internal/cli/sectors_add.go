package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/scheduler"
)

// intakeFlags are what pledge and add have in common.
type intakeFlags struct {
	miner      string
	expiration int64
	duration   string
	keep       bool
	synthetic  bool
}

func (f *intakeFlags) on(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.miner, "miner", "", "miner (default the one in the configuration)")
	cmd.Flags().Int64Var(&f.expiration, "expiration", 0, "epoch the sectors shall live to (default the longest allowed)")
	cmd.Flags().StringVar(&f.duration, "duration", "", "how long the sectors shall live from now on, in days as 540d or in epochs; about 211d to 1278d (default the longest allowed)")
	cmd.Flags().BoolVar(&f.synthetic, "synthetic", false, "with synthetic proofs: layers go before pre-commit (also by miners[].synthetic)")
}

// request is what the flags ask for, pieces aside.
func (f *intakeFlags) request(miner abi.ActorID) (scheduler.Request, error) {
	duration, err := lifetime(f.duration)
	if err != nil {
		return scheduler.Request{}, err
	}
	return scheduler.Request{Miner: miner, KeepUnsealed: f.keep, Expiration: abi.ChainEpoch(f.expiration), Duration: duration, Synthetic: f.synthetic}, nil
}

// lifetime reads days or epochs. A day has 2,880 epochs on every network, as the actors count.
func lifetime(s string) (abi.ChainEpoch, error) {
	if s == "" {
		return 0, nil
	}
	number, days := strings.CutSuffix(s, "d")
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n <= 0 {
		return 0, usage("write days as 540d, or epochs", "--duration %q is no duration", s)
	}
	if days {
		n *= builtin.EpochsInDay
	}
	return abi.ChainEpoch(n), nil
}

// intake is a node and a scheduler to add sectors with.
type intake struct {
	*cluster
	node  jobs.Chain
	sched *scheduler.Scheduler
	miner abi.ActorID
}

// intake connects for adding sectors; the second result disconnects.
func (a *app) intake(ctx context.Context, f intakeFlags) (*intake, func(), error) {
	c, err := a.join(ctx)
	if err != nil {
		return nil, nil, err
	}
	node, err := c.dial(ctx)
	if err != nil {
		c.close()
		return nil, nil, err
	}
	stop := func() { node.Close(); c.close() }
	in := &intake{cluster: c, node: node}
	if in.miner, err = c.miner(f.miner); err == nil {
		in.sched, err = c.scheduler(node, "cli")
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return in, stop, nil
}

// miner is the one named, or the only one configured. One that is not configured has no
// ranges, and its numbers may be another program's.
func (c *cluster) miner(named string) (abi.ActorID, error) {
	if named != "" {
		id, err := parseMiner(named)
		known := slices.ContainsFunc(c.cfg.Miners, func(m configs.Miner) bool { return abi.ActorID(m.ID) == id })
		if err == nil && !known && len(c.cfg.Miners) > 0 {
			return 0, usage("add it to miners, with the ranges of sector numbers that are lpseal's", "miner %s is not one of those configured", configs.MinerID(id))
		}
		return id, err
	}
	if len(c.cfg.Miners) != 1 {
		return 0, usage("name it with --miner, or in the configuration: miners: [{id: t01000}]", "the configuration has %d miners", len(c.cfg.Miners))
	}
	return abi.ActorID(c.cfg.Miners[0].ID), nil
}

func (a *app) pledgeCmd() *cobra.Command {
	var f intakeFlags
	var count int
	cmd := &cobra.Command{
		Use:   "pledge",
		Short: "Add sectors without data (committed capacity)",
		Args:  args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if count < 1 {
				return usage("", "--count %d: at least 1", count)
			}
			in, stop, err := a.intake(cmd.Context(), f)
			if err != nil {
				return err
			}
			defer stop()
			return a.pledge(cmd.Context(), in, count, f)
		},
	}
	f.on(cmd)
	cmd.Flags().IntVar(&count, "count", 1, "how many")
	return a.jsonFlag(cmd)
}

func (a *app) pledge(ctx context.Context, in *intake, count int, f intakeFlags) error {
	req, err := f.request(in.miner)
	if err != nil {
		return err
	}
	req.Count = count
	made, err := in.sched.Add(ctx, req, who())
	for _, r := range made {
		err = errors.Join(err, a.added(r))
	}
	return err
}

// added says that a sector is made: one line each, so that a cut-off order tells what it did.
func (a *app) added(r *jobs.Record) error {
	v := map[string]any{"sector": r.ID, "comm_d": r.CommD.String(), "pieces": r.Pieces, "home": r.Home}
	return a.emit(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s\n", r.ID)
		return err
	})
}

// addFlags are those of `sectors add`.
type addFlags struct {
	intakeFlags
	pieces  pieceFlags
	inPlace bool
	host    string
}

func (a *app) addCmd() *cobra.Command {
	var f addFlags
	cmd := &cobra.Command{
		Use:   "add {FILE | --piece FILE|URL [flags of the piece] [--piece ...]}",
		Short: "Add sectors that hold a file; a large one is split over several",
		Long: `Add sectors that hold a file, or one sector that holds several pieces.

  lpseal sectors add FILE
  lpseal sectors add --piece a.car --piece-cid baga… --allocation 1001/7 --piece https://… --piece-cid baga… --piece-size 1048576

A file's CommP is computed here; the data is copied to the host that will seal it, over the file
service, or used where it lies with --in-place. A file larger than a sector is split: each sector is
one piece. With --piece, one sector is made of the pieces in the order given, each aligned to its own
size; the flags after a --piece are that piece's. The host that seals fetches a URL itself.`,
		Args: args("[FILE]"),
		RunE: func(cmd *cobra.Command, given []string) error {
			switch {
			case len(given) == 1 && len(f.pieces.named) == 0:
				return a.addFile(cmd.Context(), given[0], f)
			case len(given) == 0 && len(f.pieces.named) > 0 && f.pieces.file == pieceSpec{}:
				return a.addPieces(cmd.Context(), f)
			}
			return usage("see lpseal sectors add --help", "give a FILE, or pieces with --piece, each before its own flags")
		},
	}
	f.on(cmd)
	f.pieces.on(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.keep, "keep-unsealed", false, "store an unsealed copy beside the replica")
	flags.BoolVar(&f.inPlace, "in-place", false, "read files where they lie, on this host; they must stay until tree_d is done")
	flags.StringVar(&f.host, "host", "", "seal on this host (default the one with most space)")
	return a.jsonFlag(cmd)
}

// homes is where a person sees which homes there are.
const homes = "lpseal machines list and lpseal storage list show what there is"

// home chooses a sealing path before the sector exists, by the scheduler's own rule, since
// its data must lie there first. host narrows the choice.
func (in *intake) home(ctx context.Context, req scheduler.Request, host string) (string, error) {
	proof, err := in.sched.SealProof(ctx, req)
	if err != nil {
		return "", err
	}
	network, err := in.node.Network(ctx)
	if err != nil {
		return "", err
	}
	workers, err := in.store.Workers(ctx)
	if _, err = sectors.Unread(err); err != nil {
		return "", err
	}
	if host != "" {
		seals := func(p jobs.Path) bool { return p.CanSeal }
		if !slices.ContainsFunc(workers, func(w jobs.Worker) bool { return w.Host == host && slices.ContainsFunc(w.Paths, seals) }) {
			return "", refused(homes, "no home for the sector: no live worker of host %s serves a sealing path", host)
		}
		for i := range workers {
			if workers[i].Host != host {
				workers[i].Paths = nil
			}
		}
	}
	policy := in.cfg.JobsPolicy()
	action, why := jobs.Decide(&jobs.Record{Proof: proof}, &jobs.Facts{Now: time.Now(), Network: network, Workers: workers}, &policy)
	placed, ok := action.Event.(jobs.Placed)
	if !ok {
		return "", refused(homes, "no home for the sector: %s", why.Text)
	}
	return placed.Path, nil
}

// openHost opens this host's files to copy data with.
func (in *intake) openHost() (*files.Host, error) { return in.openFiles(crash.Worker, true) }

func (in *intake) upload(ctx context.Context, host *files.Host, home, name string, size uint64, bar *meter) (string, error) {
	source, err := host.UploadPiece(ctx, home, name, func(done int64) {
		bar.report(jobs.Progress{Step: "copy", Done: uint64(done), Total: size})
	})
	if err != nil {
		return "", &codedError{exitRefused, err, []string{
			"the data must lie on the host of path " + home + ": set worker.file_service there and here, or run this there with --in-place",
		}}
	}
	return source, nil
}
