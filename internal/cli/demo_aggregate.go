package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// demoAggregate is the one message that proved all sectors, as the chain has it.
type demoAggregate struct {
	Message string `json:"message"`
	Proofs  int    `json:"proofs"`
	Bytes   int    `json:"bytes"`    // of the aggregate
	GasUsed int64  `json:"gas_used"` // to execute it
	// PlainGas is what a message with the sectors' own proofs takes in its place.
	PlainGas int64 `json:"plain_gas"`
	// Refused are the exit codes of the same message with something changed.
	Refused map[string]exitcode.ExitCode `json:"refused"`
}

// demoNode is what is asked of the embedded node about the aggregate.
type demoNode struct {
	ChainGetTipSet  func(context.Context, lotus.TipSetKey) (*lotus.TipSet, error)
	ChainGetMessage func(context.Context, cid.Cid) (*lotus.Message, error)
	StateSearchMsg  func(ctx context.Context, from lotus.TipSetKey, msg cid.Cid, limit abi.ChainEpoch, allowReplaced bool) (*lotus.MsgLookup, error)
	StateCall       func(context.Context, *lotus.Message, lotus.TipSetKey) (*lotus.InvocResult, error)
}

// tamperings change an aggregate's message in ways that only a look at its proof can tell.
var tamperings = map[string]func(*miner.ProveCommitSectors3Params){
	"one bit of the proof flipped": func(p *miner.ProveCommitSectors3Params) {
		p.AggregateProof[len(p.AggregateProof)/2] ^= 1
	},
	"two sectors in each other's place": func(p *miner.ProveCommitSectors3Params) {
		p.SectorActivations[0], p.SectorActivations[1] = p.SectorActivations[1], p.SectorActivations[0]
	},
}

// aggregate sees that one message proved the sectors by an aggregate, and that the node takes no other for it.
func (w *demoWorld) aggregate(ctx context.Context, ids []jobs.SectorID) (*demoAggregate, error) {
	records, err := w.store.LoadMany(ctx, ids)
	if err != nil {
		return nil, err
	}
	name, proofs := records[0].Stage(jobs.Commit).Message, map[abi.SectorNumber][]byte{}
	for _, r := range records {
		proofs[r.ID.Number] = r.PoRep
		if other := r.Stage(jobs.Commit).Message; other != name {
			return nil, fmt.Errorf("%s was proven by message %s, and %s by %s: the proofs were not joined", ids[0], name, r.ID, other)
		}
	}
	message, err := cid.Decode(name)
	if err != nil {
		return nil, fmt.Errorf("message %q of %s: %w", name, ids[0], err)
	}
	var node demoNode
	hangUp, err := dialDevnet(ctx, w.node.APIInfo(), &node)
	if err != nil {
		return nil, err
	}
	defer hangUp()
	out, err := node.aggregate(ctx, message, proofs)
	if err != nil {
		return nil, fmt.Errorf("message %s: %w", message, err)
	}
	return out, nil
}

// aggregate asks the node to execute the message once more where it landed: as it is, with the sectors' own proofs for
// the aggregate, and tampered with.
func (n *demoNode) aggregate(ctx context.Context, message cid.Cid, proofs map[abi.SectorNumber][]byte) (*demoAggregate, error) {
	const noLimit = abi.ChainEpoch(-1)
	landed, err := n.StateSearchMsg(ctx, lotus.EmptyTSK, message, noLimit, true)
	if err != nil {
		return nil, err
	}
	if landed == nil {
		return nil, errors.New("it is not on chain")
	}
	msg, err := n.ChainGetMessage(ctx, landed.Message)
	if err != nil {
		return nil, err
	}
	params, err := provesTogether(msg, proofs)
	if err != nil {
		return nil, err
	}
	before, err := n.before(ctx, landed)
	if err != nil {
		return nil, err
	}
	plain := *params
	plain.AggregateProof, plain.AggregateProofType, plain.RequireActivationSuccess = nil, nil, true
	for _, a := range params.SectorActivations {
		plain.SectorProofs = append(plain.SectorProofs, proofs[a.SectorNumber])
	}
	out := &demoAggregate{
		Message: landed.Message.String(), Proofs: len(proofs), Bytes: len(params.AggregateProof), Refused: map[string]exitcode.ExitCode{},
	}
	if out.GasUsed, err = n.gas(ctx, msg, params, before); err != nil {
		return nil, fmt.Errorf("where it landed: %w", err)
	}
	if out.PlainGas, err = n.gas(ctx, msg, &plain, before); err != nil {
		return nil, fmt.Errorf("with the sectors' own proofs: %w", err)
	}
	for what, tamper := range tamperings {
		changed := *params
		changed.AggregateProof, changed.SectorActivations = slices.Clone(params.AggregateProof), slices.Clone(params.SectorActivations)
		tamper(&changed)
		r, err := n.call(ctx, msg, &changed, before)
		if err != nil {
			return nil, fmt.Errorf("with %s: %w", what, err)
		}
		code := exitcode.ExitCode(r.MsgRct.ExitCode)
		if code != exitcode.ErrIllegalArgument || !strings.Contains(r.Error, "the proof is not of these") {
			return nil, fmt.Errorf("with %s, the node does not refuse the proof: exit code %s: %s", what, code, r.Error)
		}
		out.Refused[what] = code
	}
	return out, nil
}

// provesTogether gives the parameters of a message that proves the sectors, and no others, by an aggregate.
func provesTogether(msg *lotus.Message, proofs map[abi.SectorNumber][]byte) (*miner.ProveCommitSectors3Params, error) {
	var params miner.ProveCommitSectors3Params
	if err := params.UnmarshalCBOR(bytes.NewReader(msg.Params)); err != nil {
		return nil, fmt.Errorf("its parameters: %w", err)
	}
	if params.AggregateProofType == nil || len(params.AggregateProof) == 0 || len(params.SectorProofs) > 0 {
		return nil, fmt.Errorf("it carries %d proofs and no aggregate", len(params.SectorProofs))
	}
	var proven []abi.SectorNumber
	for _, a := range params.SectorActivations {
		proven = append(proven, a.SectorNumber)
	}
	slices.Sort(proven)
	if want := slices.Sorted(maps.Keys(proofs)); !slices.Equal(want, proven) {
		return nil, fmt.Errorf("it proves sectors %v, not %v", proven, want)
	}
	return &params, nil
}

// before is the tipset below the one that included a message.
func (n *demoNode) before(ctx context.Context, landed *lotus.MsgLookup) (lotus.TipSetKey, error) {
	after, err := n.ChainGetTipSet(ctx, landed.TipSet) // the one above it, as lookups name
	if err != nil {
		return lotus.EmptyTSK, err
	}
	including, err := n.ChainGetTipSet(ctx, after.Parents())
	if err != nil {
		return lotus.EmptyTSK, err
	}
	return including.Parents(), nil
}

// gas is what a message with other parameters takes, which the node must not refuse.
func (n *demoNode) gas(ctx context.Context, msg *lotus.Message, params *miner.ProveCommitSectors3Params, at lotus.TipSetKey) (int64, error) {
	r, err := n.call(ctx, msg, params, at)
	if err != nil {
		return 0, err
	}
	if code := exitcode.ExitCode(r.MsgRct.ExitCode); code != exitcode.Ok {
		return 0, fmt.Errorf("the node refuses it: exit code %s: %s", code, r.Error)
	}
	return r.MsgRct.GasUsed, nil
}

// call executes a message with other parameters, without sending it.
func (n *demoNode) call(ctx context.Context, msg *lotus.Message, params *miner.ProveCommitSectors3Params, at lotus.TipSetKey) (*lotus.InvocResult, error) {
	raw := new(bytes.Buffer)
	if err := params.MarshalCBOR(raw); err != nil {
		return nil, err
	}
	other := *msg
	other.Params = raw.Bytes()
	return n.StateCall(ctx, &other, at)
}

// print is the summary for people; nothing for a demo that joined no proofs.
func (a *demoAggregate) print(w io.Writer) {
	if a == nil {
		return
	}
	fmt.Fprintf(w, "one message proved all %d sectors by an aggregate of %d bytes\n  %s\n  %d gas to execute; %d with the sectors' own proofs\n",
		a.Proofs, a.Bytes, a.Message, a.GasUsed, a.PlainGas)
	for _, what := range slices.Sorted(maps.Keys(a.Refused)) {
		fmt.Fprintf(w, "  with %s the node refuses it: exit code %d\n", what, a.Refused[what])
	}
}
