package devnet_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/builtin"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/lotus"
)

// TestOneBadMemberOfABatch: the good ones are activated and the result names the bad one, unless all are required.
func TestOneBadMemberOfABatch(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.precommit(n.precommitInfo(7), n.precommitInfo(8), n.precommitInfo(9))
	bad := snark(n.seal(8))
	bad[0] ^= 1
	params := miner18.ProveCommitSectors3Params{
		SectorActivations: []miner18.SectorActivationManifest{{SectorNumber: 7}, {SectorNumber: 8}, {SectorNumber: 9}},
		SectorProofs:      [][]byte{snark(n.seal(7)), bad, snark(n.seal(9))}, RequireActivationSuccess: true,
	}
	n.refused(n.message(builtin.MethodsMiner.ProveCommitSectors3, &params), 16, "invalid proof for sector 8 while requiring activation success")

	params.RequireActivationSuccess = false
	found := n.land(n.message(builtin.MethodsMiner.ProveCommitSectors3, &params))
	var ret batch.BatchReturn
	require.NoError(t, ret.UnmarshalCBOR(bytes.NewReader(found.Receipt.Return)))
	require.Equal(t, batch.BatchReturn{SuccessCount: 2, FailCodes: []batch.FailCode{{Idx: 1, Code: 16}}}, ret)
	for number, committed := range map[abi.SectorNumber]bool{7: true, 8: false, 9: true} {
		sector, err := n.api.StateSectorGetInfo(n.ctx, n.miner, number, lotus.EmptyTSK)
		require.NoError(t, err)
		require.Equal(t, committed, sector != nil, number)
		pc, err := n.api.StateSectorPreCommitInfo(n.ctx, n.miner, number, lotus.EmptyTSK)
		require.NoError(t, err)
		require.Equal(t, committed, pc == nil, number)
	}
	n.land(n.proveMessage(8, snark(n.seal(8))))
}

func TestRefusesParametersThatDoNotFit(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.precommit(n.precommitInfo(7))
	proof := snark(n.seal(7))
	kind := abi.RegisteredAggregationProof_SnarkPackV2
	sector := []miner18.SectorActivationManifest{{SectorNumber: 7}}
	piece := miner18.PieceActivationManifest{
		CID: cid.MustParse("baga6ea4seaqicoyiliijespbati3bqmuyubusdfbrk5hj6tuzqgkrvlvzdnwadi"), Size: 2048,
		VerifiedAllocationKey: &miner18.VerifiedAllocationKey{Client: 100, ID: 1},
	}
	for text, params := range map[string]miner18.ProveCommitSectors3Params{
		"no sectors to prove": {SectorProofs: [][]byte{proof}},
		"exactly one of sector proofs or aggregate proof must be non-empty": {SectorActivations: sector},
		"aggregate proof type must be SnarkPackV2":                          {SectorActivations: sector, AggregateProof: proof},
		"too few sectors addressed, addressed 1 want >= 4":                  {SectorActivations: sector, AggregateProof: proof, AggregateProofType: &kind},
		"aggregate proof type must be null with batched proofs":             {SectorActivations: sector, SectorProofs: [][]byte{proof}, AggregateProofType: &kind},
		"mismatched lengths: 1 sector activations, 2 proofs":                {SectorActivations: sector, SectorProofs: [][]byte{proof, proof}},
		"unsealed CID does not match pieces": {SectorProofs: [][]byte{proof}, SectorActivations: []miner18.SectorActivationManifest{
			{SectorNumber: 7, Pieces: []miner18.PieceActivationManifest{piece}},
		}},
	} {
		n.wantReverted(n.message(builtin.MethodsMiner.ProveCommitSectors3, &params), 16, text)
	}
	raw := n.proveMessage(7, proof)
	raw.Params = []byte{0x80}
	n.wantReverted(raw, 21, "Serialization error for Cbor protocol")
}

// TestOffersOfASector: the oldest of more than four is forgotten.
func TestOffersOfASector(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.precommit(n.precommitInfo(7))
	c1 := statement(n.seal(7))
	offer := func(c1 []byte) {
		require.NoError(t, n.own.LpsealOfferVanilla(n.ctx, n.miner, 7, base64.StdEncoding.EncodeToString(c1)))
	}
	offer(c1)
	offer(c1)
	for i := range 3 {
		offer(fmt.Append(nil, "other ", i))
	}
	msg := n.proveMessage(7, native(c1))
	offer([]byte("one more"))
	n.wantReverted(msg, 16, "no valid proofs specified")
	offer(c1)
	n.land(msg)
}

func TestRandomnessOfARevertedFork(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.advance(5)
	old := n.node.Head()
	draw := func(key lotus.TipSetKey, epoch abi.ChainEpoch) abi.Randomness {
		r, err := n.api.StateGetRandomnessFromTickets(n.ctx, crypto.DomainSeparationTag_SealRandomness, epoch, nil, key)
		require.NoError(t, err)
		return r
	}
	before := []abi.Randomness{draw(old.Key(), 2), draw(old.Key(), 5), draw(old.Key(), 6)}
	require.NoError(t, n.node.Reorg(n.ctx, 3, false))
	require.Equal(t, before, []abi.Randomness{draw(old.Key(), 2), draw(old.Key(), 5), draw(old.Key(), 6)})
	require.Equal(t, before[0], draw(lotus.EmptyTSK, 2), "below the fork both agree")
	require.NotEqual(t, before[1], draw(lotus.EmptyTSK, 5))
	require.NotEqual(t, before[2], draw(lotus.EmptyTSK, 6))
}

// TestSmallQuestions asks what no other test does.
func TestSmallQuestions(t *testing.T) {
	t.Parallel()
	n := start(t)
	require.NoError(t, n.own.LpsealAdvance(n.ctx, 3))
	require.EqualValues(t, 4, n.node.Head().Height)
	wallet, err := n.api.WalletList(n.ctx)
	require.NoError(t, err)
	require.Len(t, wallet, 2)
	first, err := n.api.WalletDefaultAddress(n.ctx)
	require.NoError(t, err)
	require.Contains(t, wallet, first)
	sig, err := n.api.WalletSign(n.ctx, id(t, 100), []byte("hello"))
	require.NoError(t, err)
	require.NoError(t, lotus.VerifySignature(sig, first, []byte("hello")))
	claims, err := n.api.StateGetClaims(n.ctx, n.miner, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Empty(t, claims)
	_, err = n.api.StateMarketStorageDeal(n.ctx, 1, lotus.EmptyTSK)
	require.ErrorContains(t, err, "deal 1 not found")
	_, err = n.api.StateActorCodeCIDs(n.ctx, 27)
	require.ErrorContains(t, err, "invalid network version 27")
	_, err = n.api.StateMinerPartitions(n.ctx, n.miner, 48, lotus.EmptyTSK)
	require.ErrorContains(t, err, "invalid deadline 48")
	_, err = n.api.StateMinerInfo(n.ctx, n.from, lotus.EmptyTSK)
	require.ErrorContains(t, err, "failed to load miner actor state: unknown actor code")
	_, err = n.api.StateAccountKey(n.ctx, n.miner, lotus.EmptyTSK)
	require.ErrorContains(t, err, "unknown actor code")
	p := &player{network: n}
	for method, want := range map[string]string{
		"StateListMiners": `["f01000"]`, "StateMinerSectorSize": "2048", "ChainGetGenesis": `"Height":0`,
	} {
		params := map[string][]any{"StateListMiners": {[]any{}}, "StateMinerSectorSize": {n.miner, []any{}}, "ChainGetGenesis": {}}[method]
		got := p.call(t, "Filecoin."+method, params)
		require.Nil(t, got.Error)
		require.Contains(t, string(got.Result), want)
	}
	gas := p.call(t, "Filecoin.GasEstimateGasLimit", []any{n.precommitMessage(n.precommitInfo(7)), []any{}})
	require.Regexp(t, `^1\d{7}$`, string(gas.Result))
	verified := p.call(t, "Filecoin.WalletVerify", []any{first, []byte("hello"), sig})
	require.Equal(t, "true", string(verified.Result))
}
