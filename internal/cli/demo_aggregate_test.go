package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/lotus"
)

func cidOf(t *testing.T, text string) cid.Cid {
	sum, err := multihash.Sum([]byte(text), multihash.SHA2_256, -1)
	require.NoError(t, err)
	return cid.NewCidV1(cid.Raw, sum)
}

// judgingNode has one message, included by a tipset above tipset "before", and judges every call of it there.
func judgingNode(t *testing.T, p *miner.ProveCommitSectors3Params, judge func(*miner.ProveCommitSectors3Params) (exitcode.ExitCode, string)) *demoNode {
	raw := new(bytes.Buffer)
	require.NoError(t, p.MarshalCBOR(raw))
	before, including, after := lotus.NewTipSetKey(cidOf(t, "before")), lotus.NewTipSetKey(cidOf(t, "including")), lotus.NewTipSetKey(cidOf(t, "after"))
	above := map[lotus.TipSetKey]lotus.TipSetKey{after: including, including: before}
	return &demoNode{
		ChainGetTipSet: func(_ context.Context, key lotus.TipSetKey) (*lotus.TipSet, error) {
			return &lotus.TipSet{Blocks: []*lotus.BlockHeader{{Parents: above[key].Cids()}}}, nil
		},
		ChainGetMessage: func(_ context.Context, name cid.Cid) (*lotus.Message, error) {
			require.Equal(t, cidOf(t, "replacement"), name)
			return &lotus.Message{Params: raw.Bytes()}, nil
		},
		StateSearchMsg: func(_ context.Context, _ lotus.TipSetKey, name cid.Cid, _ abi.ChainEpoch, _ bool) (*lotus.MsgLookup, error) {
			if name != cidOf(t, "message") {
				return nil, nil
			}
			return &lotus.MsgLookup{Message: cidOf(t, "replacement"), TipSet: after}, nil
		},
		StateCall: func(_ context.Context, msg *lotus.Message, at lotus.TipSetKey) (*lotus.InvocResult, error) {
			require.Equal(t, before, at)
			var called miner.ProveCommitSectors3Params
			require.NoError(t, called.UnmarshalCBOR(bytes.NewReader(msg.Params)))
			code, text := judge(&called)
			return &lotus.InvocResult{MsgRct: &lotus.MessageReceipt{ExitCode: int64(code), GasUsed: int64(10 + len(called.SectorProofs))}, Error: text}, nil
		},
	}
}

// TestDemoJudgesTheAggregate: the demo is content with one message whose aggregate, and no other, the node takes.
func TestDemoJudgesTheAggregate(t *testing.T) {
	t.Parallel()
	kind := abi.RegisteredAggregationProof_SnarkPackV2
	proof := []byte("an aggregate")
	joined := func() *miner.ProveCommitSectors3Params {
		return &miner.ProveCommitSectors3Params{
			SectorActivations: []miner.SectorActivationManifest{{SectorNumber: 1}, {SectorNumber: 0}},
			AggregateProof:    proof, AggregateProofType: &kind,
		}
	}
	own := map[abi.SectorNumber][]byte{0: []byte("zero"), 1: []byte("one")}
	const refusal = "aggregate seal verify failed: the proof is not of these 2 sectors"
	isProof := func(p *miner.ProveCommitSectors3Params) bool { return bytes.Equal(p.AggregateProof, proof) }
	inOrder := func(p *miner.ProveCommitSectors3Params) bool { return p.SectorActivations[0].SectorNumber == 1 }
	strict := func(p *miner.ProveCommitSectors3Params) (exitcode.ExitCode, string) {
		if len(p.SectorProofs) > 0 {
			require.Equal(t, [][]byte{own[1], own[0]}, p.SectorProofs)
			require.Empty(t, p.AggregateProof)
			require.True(t, p.RequireActivationSuccess)
			return exitcode.Ok, ""
		}
		if isProof(p) && inOrder(p) {
			return exitcode.Ok, ""
		}
		return exitcode.ErrIllegalArgument, refusal
	}
	got, err := judgingNode(t, joined(), strict).aggregate(t.Context(), cidOf(t, "message"), own)
	require.NoError(t, err)
	require.Equal(t, &demoAggregate{
		Message: cidOf(t, "replacement").String(), Proofs: 2, Bytes: len(proof), GasUsed: 10, PlainGas: 12,
		Refused: map[string]exitcode.ExitCode{"one bit of the proof flipped": 16, "two sectors in each other's place": 16},
	}, got)
	_, err = judgingNode(t, joined(), strict).aggregate(t.Context(), cidOf(t, "another"), own)
	require.ErrorContains(t, err, "it is not on chain")

	for want, judge := range map[string]func(*miner.ProveCommitSectors3Params) (exitcode.ExitCode, string){
		"where it landed: the node refuses it: exit code ErrIllegalArgument(16)": func(p *miner.ProveCommitSectors3Params) (exitcode.ExitCode, string) {
			if len(p.SectorProofs) > 0 {
				return exitcode.Ok, ""
			}
			return exitcode.ErrIllegalArgument, refusal
		},
		"with the sectors' own proofs: the node refuses it": func(p *miner.ProveCommitSectors3Params) (exitcode.ExitCode, string) {
			if len(p.SectorProofs) > 0 {
				return exitcode.ErrIllegalArgument, "invalid proof"
			}
			return strict(p)
		},
		"with one bit of the proof flipped, the node does not refuse": func(p *miner.ProveCommitSectors3Params) (exitcode.ExitCode, string) {
			if inOrder(p) {
				return exitcode.Ok, ""
			}
			return strict(p)
		},
		"with two sectors in each other's place, the node does not refuse": func(p *miner.ProveCommitSectors3Params) (exitcode.ExitCode, string) {
			if isProof(p) {
				return exitcode.Ok, ""
			}
			return strict(p)
		},
		"the node does not refuse the proof: exit code ErrIllegalArgument(16): sector 1 is too late": func(p *miner.ProveCommitSectors3Params) (exitcode.ExitCode, string) {
			if code, _ := strict(p); code == exitcode.Ok {
				return code, ""
			}
			return exitcode.ErrIllegalArgument, "sector 1 is too late"
		},
	} {
		_, err := judgingNode(t, joined(), judge).aggregate(t.Context(), cidOf(t, "message"), own)
		require.ErrorContains(t, err, want)
	}

	for want, change := range map[string]func(*miner.ProveCommitSectors3Params){
		"it carries 2 proofs and no aggregate": func(p *miner.ProveCommitSectors3Params) {
			p.AggregateProof, p.AggregateProofType, p.SectorProofs = nil, nil, [][]byte{{1}, {2}}
		},
		"it proves sectors [0 1 2], not [0 1]": func(p *miner.ProveCommitSectors3Params) {
			p.SectorActivations = slices.Concat(p.SectorActivations, []miner.SectorActivationManifest{{SectorNumber: 2}})
		},
	} {
		p := joined()
		change(p)
		_, err := judgingNode(t, p, strict).aggregate(t.Context(), cidOf(t, "message"), own)
		require.ErrorContains(t, err, want)
	}
}

// TestDemoSectors: an aggregate needs four, and the demo pledges what the data leaves of them, but one in any case.
func TestDemoSectors(t *testing.T) {
	t.Parallel()
	input := filepath.Join(t.TempDir(), "input")
	for _, c := range []struct {
		bytes     int64
		aggregate bool
		want      demoSectors
	}{
		{1, false, demoSectors{1, 1}}, {5 * 2032, false, demoSectors{5, 1}},
		{1, true, demoSectors{1, 3}}, {2033, true, demoSectors{2, 2}}, {3 * 2032, true, demoSectors{3, 1}}, {5 * 2032, true, demoSectors{5, 1}},
		{818 * 2032, true, demoSectors{818, 1}},
	} {
		require.NoError(t, os.WriteFile(input, nil, 0o644))
		require.NoError(t, os.Truncate(input, c.bytes))
		got, err := demoFlags{size: "2KiB", aggregate: c.aggregate}.sectors(input)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%+v", c)
	}
	require.NoError(t, os.Truncate(input, 819*2032))
	_, err := demoFlags{size: "2KiB", aggregate: true}.sectors(input)
	require.ErrorContains(t, err, "takes 820 sectors, and an aggregate proves 819 at most")
	require.Equal(t, exitUsage, exitCode(err))
}
