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
	Bytes   int    `json:"bytes"` // of the aggregate
	GasUsed int64  `json:"gas_used"`
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
	name := records[0].Stage(jobs.Commit).Message
	for _, r := range records {
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
	out, err := node.aggregate(ctx, message, ids)
	if err != nil {
		return nil, fmt.Errorf("message %s: %w", message, err)
	}
	return out, nil
}

// aggregate asks the node to execute the message once more where it landed, as it is and tampered with.
func (n *demoNode) aggregate(ctx context.Context, message cid.Cid, ids []jobs.SectorID) (*demoAggregate, error) {
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
	params, err := provesTogether(msg, ids)
	if err != nil {
		return nil, err
	}
	before, err := n.before(ctx, landed)
	if err != nil {
		return nil, err
	}
	if code, text, err := n.call(ctx, msg, before); err != nil {
		return nil, err
	} else if code != exitcode.Ok {
		return nil, fmt.Errorf("the node refuses it where it landed: exit code %s: %s", code, text)
	}
	out := &demoAggregate{
		Message: landed.Message.String(), Proofs: len(ids), Bytes: len(params.AggregateProof), GasUsed: landed.Receipt.GasUsed,
		Refused: map[string]exitcode.ExitCode{},
	}
	for what, tamper := range tamperings {
		changed := *params
		changed.AggregateProof, changed.SectorActivations = slices.Clone(params.AggregateProof), slices.Clone(params.SectorActivations)
		tamper(&changed)
		raw := new(bytes.Buffer)
		if err := changed.MarshalCBOR(raw); err != nil {
			return nil, fmt.Errorf("with %s: %w", what, err)
		}
		other := *msg
		other.Params = raw.Bytes()
		code, text, err := n.call(ctx, &other, before)
		if err != nil {
			return nil, fmt.Errorf("with %s: %w", what, err)
		}
		if code != exitcode.ErrIllegalArgument || !strings.Contains(text, "the proof is not of these") {
			return nil, fmt.Errorf("with %s, the node does not refuse the proof: exit code %s: %s", what, code, text)
		}
		out.Refused[what] = code
	}
	return out, nil
}

// provesTogether gives the parameters of a message that proves the sectors, and no others, by an aggregate.
func provesTogether(msg *lotus.Message, ids []jobs.SectorID) (*miner.ProveCommitSectors3Params, error) {
	var params miner.ProveCommitSectors3Params
	if err := params.UnmarshalCBOR(bytes.NewReader(msg.Params)); err != nil {
		return nil, fmt.Errorf("its parameters: %w", err)
	}
	if params.AggregateProofType == nil || len(params.AggregateProof) == 0 || len(params.SectorProofs) > 0 {
		return nil, fmt.Errorf("it carries %d proofs and no aggregate", len(params.SectorProofs))
	}
	want, proven := map[abi.SectorNumber]bool{}, map[abi.SectorNumber]bool{}
	for _, id := range ids {
		want[id.Number] = true
	}
	for _, a := range params.SectorActivations {
		proven[a.SectorNumber] = true
	}
	if !maps.Equal(want, proven) {
		return nil, fmt.Errorf("it proves sectors %v, not %v", slices.Sorted(maps.Keys(proven)), slices.Sorted(maps.Keys(want)))
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

// call executes a message without sending it.
func (n *demoNode) call(ctx context.Context, msg *lotus.Message, at lotus.TipSetKey) (exitcode.ExitCode, string, error) {
	r, err := n.StateCall(ctx, msg, at)
	if err != nil {
		return 0, "", err
	}
	return exitcode.ExitCode(r.MsgRct.ExitCode), r.Error, nil
}

// print is the summary for people; nothing for a demo that joined no proofs.
func (a *demoAggregate) print(w io.Writer) {
	if a == nil {
		return
	}
	fmt.Fprintf(w, "one message proved all %d sectors by an aggregate of %d bytes, %d gas\n  %s\n", a.Proofs, a.Bytes, a.GasUsed, a.Message)
	for _, what := range slices.Sorted(maps.Keys(a.Refused)) {
		fmt.Fprintf(w, "  with %s the node refuses it: exit code %d\n", what, a.Refused[what])
	}
}
