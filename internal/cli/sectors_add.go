package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/filecoin-project/go-commp-utils/v2"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/scheduler"
)

// intakeFlags are what pledge and add have in common.
type intakeFlags struct {
	miner      string
	expiration int64
	keep       bool
}

func (f *intakeFlags) on(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.miner, "miner", "", "miner (default the one in the configuration)")
	cmd.Flags().Int64Var(&f.expiration, "expiration", 0, "epoch the sectors shall live to (default the longest allowed)")
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

// miner is the one named, or the only one configured.
func (c *cluster) miner(named string) (abi.ActorID, error) {
	if named != "" {
		return parseMiner(named)
	}
	if len(c.cfg.Miners) != 1 {
		return 0, usage("name it with --miner", "the configuration has %d miners", len(c.cfg.Miners))
	}
	return abi.ActorID(c.cfg.Miners[0].ID), nil
}

func (a *app) pledgeCmd() *cobra.Command {
	var f intakeFlags
	var count int
	cmd := &cobra.Command{
		Use:   "pledge",
		Short: "Add sectors without data (committed capacity)",
		Args:  args(cobra.NoArgs),
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
	made, err := in.sched.Add(ctx, scheduler.Request{Miner: in.miner, Count: count, Expiration: abi.ChainEpoch(f.expiration)}, who())
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
	inPlace   bool
	pieceCID  string
	pieceSize uint64
	host      string
}

func (a *app) addCmd() *cobra.Command {
	var f addFlags
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Add sectors that hold a file; a large one is split over several",
		Long: `Add sectors that hold a file. Its CommP is computed here; the data is copied to the host
that will seal it, over the file service, or used where it lies with --in-place. A file larger than a
sector is split: each sector is one piece.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error { return a.addFile(cmd.Context(), given[0], f) },
	}
	f.on(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.keep, "keep-unsealed", false, "store an unsealed copy beside the replica")
	flags.BoolVar(&f.inPlace, "in-place", false, "read the file where it lies, on this host; it must stay until tree_d is done")
	flags.StringVar(&f.pieceCID, "piece-cid", "", "refuse the file if its CommP is another one")
	flags.Uint64Var(&f.pieceSize, "piece-size", 0, "padded piece size, a power of two (default the smallest that fits)")
	flags.StringVar(&f.host, "host", "", "seal on this host (default the one with most space)")
	return a.jsonFlag(cmd)
}

func (a *app) addFile(ctx context.Context, name string, f addFlags) error {
	file, err := os.Open(name)
	if err != nil {
		return notFound("", "%w", err)
	}
	defer file.Close()
	in, stop, err := a.intake(ctx, f.intakeFlags)
	if err != nil {
		return err
	}
	defer stop()
	parts, size, err := in.plan(ctx, file, f)
	if err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	bar := a.progress(filepath.Base(name))
	defer bar.done()
	for i, part := range parts {
		r, err := in.addPart(ctx, file, part, size, f, bar)
		if err != nil {
			return fmt.Errorf("add %s, part %d of %d: %w", name, i+1, len(parts), err)
		}
		if err := a.added(r); err != nil {
			return err
		}
	}
	return nil
}

// plan splits the file and sees that the flags fit.
func (in *intake) plan(ctx context.Context, file *os.File, f addFlags) ([]part, abi.RegisteredSealProof, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	m, err := in.node.Miner(ctx, in.miner)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return nil, 0, refused("give a regular file with data", "it is empty or no regular file")
	}
	parts := split(uint64(info.Size()), m.SectorSize)
	switch {
	case len(parts) > 1 && (f.pieceCID != "" || f.pieceSize != 0):
		return nil, 0, usage("split it yourself, or leave the flags out", "it fills %d sectors, so it is not one piece", len(parts))
	case len(parts) > 1 && f.inPlace:
		return nil, 0, refused("leave --in-place out", "it fills %d sectors, and a part of a file is no piece's source", len(parts))
	}
	if f.pieceSize != 0 {
		parts[0].padded = abi.PaddedPieceSize(f.pieceSize)
		if err := parts[0].padded.Validate(); err != nil || uint64(parts[0].padded.Unpadded()) < parts[0].size || uint64(parts[0].padded) > uint64(m.SectorSize) {
			return nil, 0, usage("leave it out for the smallest that fits", "--piece-size %d does not hold %d bytes, or is not a power of two up to %d", f.pieceSize, info.Size(), m.SectorSize)
		}
	}
	return parts, m.SealProof, nil
}

// addPart makes one sector of a part of the file: CommP, then a home, then the data there, and
// last the record.
func (in *intake) addPart(ctx context.Context, file *os.File, p part, proof abi.RegisteredSealProof, f addFlags, bar *meter) (*jobs.Record, error) {
	bar.report(jobs.Progress{Step: "CommP", Total: p.size})
	commP, err := p.commP(proof, file)
	if err != nil {
		return nil, fmt.Errorf("CommP: %w", err)
	}
	if f.pieceCID != "" {
		if want, err := cid.Decode(f.pieceCID); err != nil || want != commP {
			return nil, refused("check the file, and that --piece-size is right", "its CommP is %s, not %s", commP, f.pieceCID)
		}
	}
	host := f.host
	if f.inPlace {
		host = in.cfg.Host.ID
	}
	home, err := in.home(ctx, proof, host)
	if err != nil {
		return nil, err
	}
	source, err := filepath.Abs(file.Name())
	if err == nil && !f.inPlace {
		source, err = in.bring(ctx, file, p, home, bar)
	}
	if err != nil {
		return nil, err
	}
	made, err := in.sched.Add(ctx, scheduler.Request{
		Miner: in.miner, KeepUnsealed: f.keep, Expiration: abi.ChainEpoch(f.expiration), Home: home,
		Pieces: []jobs.Piece{{CID: commP, Size: p.padded, RawSize: p.size, Source: source}},
	}, who())
	if err != nil {
		return nil, err
	}
	return made[0], nil
}

// home chooses a sealing path before the sector exists, by the scheduler's own rule, since
// its data must lie there first. host narrows the choice.
func (in *intake) home(ctx context.Context, proof abi.RegisteredSealProof, host string) (string, error) {
	network, err := in.node.Network(ctx)
	if err != nil {
		return "", err
	}
	workers, err := in.store.Workers(ctx)
	if err != nil {
		return "", err
	}
	for i := range workers {
		if host != "" && workers[i].Host != host {
			workers[i].Paths = nil
		}
	}
	policy := in.cfg.Policy.Jobs()
	action, why := jobs.Decide(&jobs.Record{Proof: proof}, &jobs.Facts{Now: time.Now(), Network: network, Workers: workers}, &policy)
	placed, ok := action.Event.(jobs.Placed)
	if !ok {
		return "", refused("lpseal machines list and lpseal storage list show what there is", "no home for the sector: %s", why.Text)
	}
	return placed.Path, nil
}

// bring copies a part to its home, here or over the file service.
func (in *intake) bring(ctx context.Context, file *os.File, p part, home string, bar *meter) (string, error) {
	host, err := in.openFiles(crash.Worker)
	if err != nil {
		return "", err
	}
	name := file.Name()
	if p.whole {
		return in.upload(ctx, host, home, name, p.size, bar)
	}
	// The file service takes files, so that it can go on after a cut.
	tmp, err := os.CreateTemp("", "lpseal-part-")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	_, err = io.Copy(tmp, p.open(file))
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return "", fmt.Errorf("cut a part of %s: %w", name, err)
	}
	return in.upload(ctx, host, home, tmp.Name(), p.size, bar)
}

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

// part is the bytes of a file that go into one sector.
type part struct {
	offset, size uint64
	padded       abi.PaddedPieceSize
	whole        bool // it is the whole file
}

// split gives each sector as much as its unpadded size holds. The last part is a
// piece of the next power of two.
func split(size uint64, sector abi.SectorSize) []part {
	most := uint64(abi.PaddedPieceSize(sector).Unpadded())
	var out []part
	for offset := uint64(0); offset < size; offset += most {
		n := min(most, size-offset)
		out = append(out, part{offset: offset, size: n, padded: paddedFor(n), whole: n == size})
	}
	return out
}

// paddedFor is the smallest piece that holds n bytes: a power of two, of which fr32 padding
// leaves 127 of 128 bytes.
func paddedFor(n uint64) abi.PaddedPieceSize {
	size := abi.PaddedPieceSize(128)
	for uint64(size.Unpadded()) < n {
		size *= 2
	}
	return size
}

func (p part) open(file io.ReaderAt) io.Reader {
	return io.NewSectionReader(file, int64(p.offset), int64(p.size))
}

// commP commits to the part and the zeros that fill its piece.
func (p part) commP(proof abi.RegisteredSealProof, file io.ReaderAt) (cid.Cid, error) {
	return commp.GeneratePieceCIDFromFile(proof, io.MultiReader(p.open(file), zeros{}), p.padded.Unpadded())
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
