package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/builtin/v18/market"
	"github.com/filecoin-project/go-state-types/builtin/v18/verifreg"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// devnetOrders is what only the embedded node takes.
type devnetOrders struct {
	ChainHead         func(context.Context) (*lotus.TipSet, error)
	LpsealAllocate    func(context.Context, verifreg.Allocation) (verifreg.AllocationId, error)
	LpsealPublishDeal func(context.Context, market.DealProposal) (abi.DealID, error)
}

// dealFlags are those of the commands that play a client on the embedded network.
type dealFlags struct {
	client, miner string
	pieceSize     uint64
	days          int64
	within        int64
}

func (f *dealFlags) on(cmd *cobra.Command, within string) {
	flags := cmd.Flags()
	flags.StringVar(&f.client, "client", "t0101", "account that is the client")
	flags.StringVar(&f.miner, "miner", "t01000", "miner that is the provider")
	flags.Uint64Var(&f.pieceSize, "piece-size", 0, "padded piece size, a power of two (default the smallest that fits)")
	flags.Int64Var(&f.days, "days", 180, "days for which the data shall be stored, 180 to 1278")
	flags.Int64Var(&f.within, "within", 20_000, within)
}

// asClient runs an order of a client about a file's piece.
func (a *app) asClient(f *dealFlags, do func(context.Context, *devnetOrders, jobs.Piece, abi.ActorID, abi.ActorID) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, given []string) error {
		piece, err := pieceOfFile(given[0], abi.PaddedPieceSize(f.pieceSize))
		if err != nil {
			return err
		}
		client, err := parseMiner(f.client)
		if err != nil {
			return err
		}
		miner, err := parseMiner(f.miner)
		if err != nil {
			return err
		}
		l, err := a.load()
		if err != nil {
			return err
		}
		var node devnetOrders
		hangUp, err := dialDevnet(cmd.Context(), l.Config.Chain.API.Reveal(), &node)
		if err != nil {
			return err
		}
		defer hangUp()
		return do(cmd.Context(), &node, piece, client, miner)
	}
}

// dialDevnet connects the functions of a struct to the embedded node's methods of their names.
func dialDevnet(ctx context.Context, api string, methods any) (hangUp func(), err error) {
	endpoints, err := chain.ParseAPIInfo(api)
	if err != nil {
		return nil, usage("set FULLNODE_API_INFO as lpseal devnet prints it", "%w", err)
	}
	closer, err := jsonrpc.NewMergeClient(ctx, endpoints[0].URL, lotus.Namespace, []any{methods}, endpoints[0].Header())
	if err != nil {
		return nil, down("is lpseal devnet running?", err)
	}
	return closer, nil
}

// pieceOfFile computes a file's piece as sectors add does.
func pieceOfFile(name string, size abi.PaddedPieceSize) (jobs.Piece, error) {
	file, err := os.Open(name)
	if err != nil {
		return jobs.Piece{}, unopened("", err)
	}
	defer file.Close()
	raw, err := dataSize(file)
	if err != nil {
		return jobs.Piece{}, err
	}
	spec := pieceSpec{size: size}
	const any = abi.RegisteredSealProof_StackedDrg64GiBV1_1 // a piece's CommP depends on no sector size
	if size, err = spec.padded(raw, 64<<30); err != nil {
		return jobs.Piece{}, err
	}
	commP, err := part{size: raw, padded: size}.commP(any, file)
	return jobs.Piece{CID: commP, Size: size, RawSize: raw, Source: name}, err
}

func (a *app) devnetAllocateCmd() *cobra.Command {
	var f dealFlags
	cmd := &cobra.Command{
		Use:   "allocate FILE",
		Short: "As a client of the embedded network, allocate datacap to a file's piece",
		Long: `As a client of the embedded network, allocate datacap to a file's piece. Prints what to give to
lpseal sectors add.`,
		Args: args("FILE"),
		RunE: a.asClient(&f, func(ctx context.Context, node *devnetOrders, p jobs.Piece, client, miner abi.ActorID) error {
			head, err := node.ChainHead(ctx)
			if err != nil {
				return down("is lpseal devnet running?", err)
			}
			term := abi.ChainEpoch(f.days * builtin.EpochsInDay)
			id, err := node.LpsealAllocate(ctx, verifreg.Allocation{
				Client: client, Provider: miner, Data: p.CID, Size: p.Size, TermMin: term,
				TermMax: min(term+market.MarketDefaultAllocationTermBuffer, verifreg.MaximumVerifiedAllocationTerm), Expiration: head.Height + abi.ChainEpoch(f.within),
			})
			if err != nil {
				return fmt.Errorf("the embedded node: %w", err)
			}
			return a.forAdd(p, "allocation", jobs.Allocation{Client: client, ID: uint64(id)}.String())
		}),
	}
	f.on(cmd, "epochs from now within which it may be claimed, at most 60 days")
	return a.jsonFlag(cmd)
}

func (a *app) devnetDealCmd() *cobra.Command {
	var f dealFlags
	cmd := &cobra.Command{
		Use:   "deal FILE",
		Short: "As a client of the embedded network, publish a deal of the built-in market about a file's piece",
		Long: `As a client of the embedded network, publish a deal of the built-in market (f05) about a file's
piece. Prints what to give to lpseal sectors add.`,
		Args: args("FILE"),
		RunE: a.asClient(&f, func(ctx context.Context, node *devnetOrders, p jobs.Piece, client, miner abi.ActorID) error {
			head, err := node.ChainHead(ctx)
			if err != nil {
				return down("is lpseal devnet running?", err)
			}
			start := head.Height + abi.ChainEpoch(f.within)
			id, err := node.LpsealPublishDeal(ctx, market.DealProposal{
				PieceCID: p.CID, PieceSize: p.Size, Client: actorAddress(client), Provider: actorAddress(miner),
				StartEpoch: start, EndEpoch: start + abi.ChainEpoch(f.days*builtin.EpochsInDay),
				StoragePricePerEpoch: big.Zero(), ProviderCollateral: big.Zero(), ClientCollateral: big.Zero(),
			})
			if err != nil {
				return fmt.Errorf("the embedded node: %w", err)
			}
			return a.forAdd(p, "deal-id", fmt.Sprint(id))
		}),
	}
	f.on(cmd, "epochs from now after which the deal starts")
	return a.jsonFlag(cmd)
}

// forAdd prints a piece as flags of `sectors add`.
func (a *app) forAdd(p jobs.Piece, flag, value string) error {
	v := map[string]any{"piece": p.Source, "piece-cid": p.CID.String(), "piece-size": p.Size, flag: value}
	return a.emit(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "--piece %s --piece-cid %s --piece-size %d --%s %s\n", p.Source, p.CID, p.Size, flag, value)
		return err
	})
}

func actorAddress(id abi.ActorID) address.Address {
	addr, err := address.NewIDAddress(uint64(id))
	if err != nil {
		panic(err) // only above 2^63
	}
	return addr
}
