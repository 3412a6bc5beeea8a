package devnet_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// wantReverted wants an estimate to fail with an exit code and text, without sending anything.
func (n *network) wantReverted(m *lotus.Message, code int, text string) {
	n.Helper()
	_, err := n.api.GasEstimateMessageGas(n.ctx, m, nil, lotus.EmptyTSK)
	var reverted *lotus.ExecutionReverted
	require.ErrorAs(n, err, &reverted)
	require.Contains(n, reverted.Message, fmt.Sprintf("(%d)], vm error=[", code))
	require.Contains(n, reverted.Message, text)
}

func TestRefusesEveryChangedByteOfASNARK(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.precommit(n.precommitInfo(7))
	good := snark(n.seal(7))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		n.wantReverted(n.proveMessage(7, bad), 16, "no valid proofs specified")
	}
	n.wantReverted(n.proveMessage(7, append(good, 0)), 16, "sector proof size 193 exceeds max 192")
	n.wantReverted(n.proveMessage(7, good[:191]), 16, "no valid proofs specified")
	n.refused(n.proveMessage(7, make([]byte, 192)), 16, "no valid proofs specified")
	n.land(n.proveMessage(7, good))
}

func TestRefusesEveryChangedByteOfANativeProof(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.precommit(n.precommitInfo(7))
	c1 := statement(n.seal(7))
	require.NoError(t, n.own.LpsealOfferVanilla(n.ctx, n.miner, 7, base64.StdEncoding.EncodeToString(c1)))
	good := native(c1)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		n.wantReverted(n.proveMessage(7, bad), 16, "no valid proofs specified")
	}
	n.land(n.proveMessage(7, good))
}

// TestRefusesAProofOfSomethingElse proves the right sector with one thing wrong in what the proof is bound to.
func TestRefusesAProofOfSomethingElse(t *testing.T) {
	t.Parallel()
	other, err := jobs.CommD(abi.RegisteredSealProof_StackedDrg8MiBV1_1, nil)
	require.NoError(t, err)
	for name, change := range map[string]func(*devnet.SealInfo){
		"CommD":  func(s *devnet.SealInfo) { s.CommD = other },
		"CommR":  func(s *devnet.SealInfo) { s.CommR = commR(t, "another") },
		"ticket": func(s *devnet.SealInfo) { s.Ticket[0] ^= 1 },
		"seed":   func(s *devnet.SealInfo) { s.Seed[31] ^= 1 },
		"number": func(s *devnet.SealInfo) { s.ID.Number++ },
		"miner":  func(s *devnet.SealInfo) { s.ID.Miner++ },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t)
			n.precommit(n.precommitInfo(7))
			seal := n.seal(7)
			change(&seal)
			n.refused(n.proveMessage(7, snark(seal)), 16, "no valid proofs specified")

			c1 := statement(seal)
			require.NoError(t, n.own.LpsealOfferVanilla(n.ctx, n.miner, 7, base64.StdEncoding.EncodeToString(c1)))
			n.refused(n.proveMessage(7, native(c1)), 16, "no valid proofs specified")
			n.land(n.proveMessage(7, snark(n.seal(7))))
		})
	}
}

func TestRefusesPiecesThatAreNotCommD(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.precommit(n.precommitInfo(7))
	piece := jobs.Piece{CID: cid.MustParse("baga6ea4seaqicoyiliijespbati3bqmuyubusdfbrk5hj6tuzqgkrvlvzdnwadi"), Size: 2048}
	msg := n.message(builtin.MethodsMiner.ProveCommitSectors3, &miner18.ProveCommitSectors3Params{
		SectorActivations: []miner18.SectorActivationManifest{{SectorNumber: 7, Pieces: []miner18.PieceActivationManifest{{CID: piece.CID, Size: piece.Size}}}},
		SectorProofs:      [][]byte{snark(n.seal(7))},
	})
	n.refused(msg, 16, "unsealed CID does not match pieces for sector 7, computed Cid(baga6ea4seaqicoyiliijespbati3bqmuyubusdfbrk5hj6tuzqgkrvlvzdnwadi)")

	// With the piece declared when the sector was pre-committed, the same activation is good.
	commD, err := jobs.CommD(proof2K, []jobs.Piece{piece})
	require.NoError(t, err)
	info := n.precommitInfo(8)
	info.UnsealedCid = &commD
	n.precommit(info)
	n.wantReverted(n.proveMessage(8, snark(n.seal(8))), 16, "unsealed CID does not match pieces for sector 8")
	n.land(n.message(builtin.MethodsMiner.ProveCommitSectors3, &miner18.ProveCommitSectors3Params{
		SectorActivations: []miner18.SectorActivationManifest{{SectorNumber: 8, Pieces: []miner18.PieceActivationManifest{{CID: piece.CID, Size: piece.Size}}}},
		SectorProofs:      [][]byte{snark(n.seal(8))},
	}))
	sector, err := n.api.StateSectorGetInfo(n.ctx, n.miner, 8, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, big.Mul(big.NewInt(2048), big.NewInt(int64(sector.Expiration-sector.Activation))), sector.DealWeight)
}

// TestRefusesAPreCommit changes one thing of a good pre-commitment.
func TestRefusesAPreCommit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(head abi.ChainEpoch, info *miner18.SectorPreCommitInfo)
		code   int64
		text   string
	}{
		"ticket too old": {func(head abi.ChainEpoch, i *miner18.SectorPreCommitInfo) { i.SealRandEpoch = head - 3781 }, 16, "too old, must be after"},
		"ticket in the future": {func(head abi.ChainEpoch, i *miner18.SectorPreCommitInfo) { i.SealRandEpoch = head + 100 },
			16, "must be before now"},
		"expiration before the last activation": {func(head abi.ChainEpoch, i *miner18.SectorPreCommitInfo) { i.Expiration = head + 86_410 },
			16, "must be after activation"},
		"expiration too soon": {func(head abi.ChainEpoch, i *miner18.SectorPreCommitInfo) { i.Expiration = head + 86_410 + 518_399 },
			16, "must exceed 518400 after activation"},
		"expiration too late": {func(head abi.ChainEpoch, i *miner18.SectorPreCommitInfo) { i.Expiration = head + 3_680_640 + 100 },
			16, "cannot be more than 3680640 past current epoch"},
		"seal proof of a larger network": {func(_ abi.ChainEpoch, i *miner18.SectorPreCommitInfo) {
			i.SealProof = abi.RegisteredSealProof_StackedDrg32GiBV1_1
		}, 16, "unsupported seal proof type 8"},
		"seal proof of another miner's size": {func(_ abi.ChainEpoch, i *miner18.SectorPreCommitInfo) {
			i.SealProof = abi.RegisteredSealProof_StackedDrg8MiBV1_1
		}, 16, "sector Window PoSt proof type %d must match miner Window PoSt proof type 11 (seal proof type 10)"},
		"seal proof V1": {func(_ abi.ChainEpoch, i *miner18.SectorPreCommitInfo) {
			i.SealProof = abi.RegisteredSealProof_StackedDrg2KiBV1
		}, 16, "unsupported seal proof type 0"},
		"CommR of another kind": {func(_ abi.ChainEpoch, i *miner18.SectorPreCommitInfo) {
			i.SealedCID = cid.MustParse("baga6ea4seaqicoyiliijespbati3bqmuyubusdfbrk5hj6tuzqgkrvlvzdnwadi")
		}, 16, "sealed CID had wrong prefix"},
		"CommD of another kind": {func(_ abi.ChainEpoch, i *miner18.SectorPreCommitInfo) { i.UnsealedCid = &i.SealedCID },
			16, "unsealed CID had wrong prefix"},
		"market deals": {func(_ abi.ChainEpoch, i *miner18.SectorPreCommitInfo) { i.DealIDs = []abi.DealID{5} }, 17, "no such deal 5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t)
			info := n.precommitInfo(7)
			good := info
			c.change(n.node.Head().Height, &info)
			n.refused(n.precommitMessage(info), c.code, c.text)
			n.wantReverted(n.precommitMessage(n.precommitInfo(6), info), int(c.code), c.text) // one bad one fails all
			n.land(n.precommitMessage(good))
		})
	}
}

// TestTicketAgeToTheEpoch holds the bounds of the ticket's and the expiration's windows exactly.
func TestTicketAgeToTheEpoch(t *testing.T) {
	t.Parallel()
	n := start(t)
	info := n.precommitInfo(7)
	head := n.node.Head().Height // at which estimates execute
	estimate := func(change func(*miner18.SectorPreCommitInfo)) error {
		changed := info
		change(&changed)
		_, err := n.api.GasEstimateMessageGas(n.ctx, n.precommitMessage(changed), nil, lotus.EmptyTSK)
		return err
	}
	require.NoError(t, estimate(func(i *miner18.SectorPreCommitInfo) { i.SealRandEpoch = head - 3780 }))
	require.ErrorContains(t, estimate(func(i *miner18.SectorPreCommitInfo) { i.SealRandEpoch = head - 3781 }),
		fmt.Sprintf("seal challenge epoch %d too old, must be after %d", head-3781, head-3780))
	require.NoError(t, estimate(func(i *miner18.SectorPreCommitInfo) { i.SealRandEpoch = head - 1 }))
	require.ErrorContains(t, estimate(func(i *miner18.SectorPreCommitInfo) { i.SealRandEpoch = head }), "must be before now")
	const soonest, latest = 86_410 + 518_400, 3_680_640
	require.NoError(t, estimate(func(i *miner18.SectorPreCommitInfo) { i.Expiration = head + soonest }))
	require.Error(t, estimate(func(i *miner18.SectorPreCommitInfo) { i.Expiration = head + soonest - 1 }))
	require.NoError(t, estimate(func(i *miner18.SectorPreCommitInfo) { i.Expiration = head + latest }))
	require.Error(t, estimate(func(i *miner18.SectorPreCommitInfo) { i.Expiration = head + latest + 1 }))
}

func TestRefusesAProofBeforeItsSeed(t *testing.T) {
	t.Parallel()
	n := start(t)
	landed := n.land(n.precommitMessage(n.precommitInfo(7)))
	seed := landed.Height - 1 + 10
	require.NoError(t, n.node.AdvanceTo(n.ctx, seed))
	n.wantReverted(n.proveMessage(7, make([]byte, 192)), 18, "too early to prove sector")
	n.advance(1)
	n.wantReverted(n.proveMessage(7, make([]byte, 192)), 16, "no valid proofs specified")
	n.land(n.proveMessage(7, snark(n.seal(7))))
}

func TestRefusesAProofAfterExpiry(t *testing.T) {
	t.Parallel()
	n := start(t)
	landed := n.land(n.precommitMessage(n.precommitInfo(7)))
	due := landed.Height - 1 + 30*2880 + 10
	before, err := n.api.StateMinerAvailableBalance(n.ctx, n.miner, lotus.EmptyTSK)
	require.NoError(t, err)
	require.NoError(t, n.node.AdvanceTo(n.ctx, due))
	proof := n.proveMessage(7, snark(n.seal(7)))
	_, err = n.api.GasEstimateMessageGas(n.ctx, proof, nil, lotus.EmptyTSK)
	require.NoError(t, err, "the last epoch is still in time")
	n.advance(1)
	n.refused(proof, 16, "no valid precommits specified")

	// 960 epochs later the chain forgets it, with its deposit.
	require.NoError(t, n.node.AdvanceTo(n.ctx, due+961))
	pc, err := n.api.StateSectorPreCommitInfo(n.ctx, n.miner, 7, lotus.EmptyTSK)
	require.NoError(t, err)
	require.NotNil(t, pc)
	n.advance(1)
	pc, err = n.api.StateSectorPreCommitInfo(n.ctx, n.miner, 7, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Nil(t, pc)
	n.refused(proof, 17, "loading precommits: sector 7 not found")
	after, err := n.api.StateMinerAvailableBalance(n.ctx, n.miner, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, before, after, "the deposit is burnt")
	n.refused(n.precommitMessage(n.precommitInfo(7)), 16, "already allocated")
}

func TestRefusesANumberUsedTwice(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.wantReverted(n.precommitMessage(n.precommitInfo(7), n.precommitInfo(7)), 16, "duplicate sector number 7")
	n.precommit(n.precommitInfo(7))
	n.refused(n.precommitMessage(n.precommitInfo(7)), 16, "sector numbers BitField { ranges: [7..8], set: {}, unset: {} } already allocated")
	n.land(n.proveMessage(7, snark(n.seal(7))))
	n.refused(n.precommitMessage(n.precommitInfo(6), n.precommitInfo(7), n.precommitInfo(9)), 16, "BitField { ranges: [7..8], set: {}, unset: {} }")
	n.refused(n.proveMessage(7, make([]byte, 192)), 17, "loading precommits: sector 7 not found")
}

func TestDepositComesFromValueAndBalanceTogether(t *testing.T) {
	t.Parallel()
	const deposit = 998_483_271_680
	n := start(t, func(c *devnet.Config) {
		m := devnet.DefaultMiner(1000, 2<<10)
		m.Balance = big.NewInt(deposit - 100)
		c.Miners = []devnet.Miner{m}
	})
	msg := n.precommitMessage(n.precommitInfo(7))
	n.refused(msg, 19, "insufficient funds 0.00000099848327158 for pre-commit deposit: 0.00000099848327168")
	msg.Value = big.NewInt(99)
	n.refused(msg, 19, "insufficient funds")
	msg.Value = big.NewInt(100)
	n.land(msg)
	left, err := n.api.StateMinerAvailableBalance(n.ctx, n.miner, lotus.EmptyTSK)
	require.NoError(t, err)
	require.True(t, left.IsZero())
	n.advance(12)
	proof := n.proveMessage(7, snark(n.seal(7)))
	proof.Value = big.Zero()
	n.land(proof) // the pledge is smaller than the deposit that it frees
}

func TestRefusesACallerThatIsNotTheMiners(t *testing.T) {
	t.Parallel()
	stranger := devnet.Secp256k1Key("stranger")
	n := start(t, func(c *devnet.Config) {
		c.Accounts = append(devnet.DefaultAccounts(), devnet.Account{Key: stranger, Balance: devnet.FIL(10)})
	})
	n.from = stranger.Address()
	n.refused(n.precommitMessage(n.precommitInfo(7)), 18, "caller f0102 is not one of supported")
	for _, key := range []address.Address{devnet.BLSKey("owner").Address(), id(t, 100), id(t, 101)} {
		n.from = key
		_, err := n.api.GasEstimateMessageGas(n.ctx, n.precommitMessage(n.precommitInfo(7)), nil, lotus.EmptyTSK)
		require.NoError(t, err)
	}
}

func TestRefusesUnknownSenders(t *testing.T) {
	t.Parallel()
	n := start(t)
	nobody := devnet.Secp256k1Key("nobody")
	n.from = nobody.Address()
	msg := n.precommitMessage(n.precommitInfo(7))
	_, err := n.api.GasEstimateMessageGas(n.ctx, msg, nil, lotus.EmptyTSK)
	require.ErrorContains(t, err, "not found on chain: sender validation failed")
	_, err = n.api.MpoolGetNonce(n.ctx, n.from)
	require.ErrorContains(t, err, fmt.Sprintf("resolution lookup failed (%s): actor not found", n.from))
	msg.GasLimit, msg.GasFeeCap, msg.GasPremium = 20_000_000, big.NewInt(200_000_000), big.NewInt(100_000)
	signed, err := nobody.SignMessage(msg)
	require.NoError(t, err)
	_, err = n.api.MpoolPush(n.ctx, signed)
	require.ErrorContains(t, err, "failed to look up actor state nonce: resolution lookup failed")
	_, err = n.api.MpoolPushMessage(n.ctx, msg, nil)
	require.ErrorContains(t, err, "mpool push: getting origin balance")
	_, err = n.api.WalletSign(n.ctx, n.from, []byte("hello"))
	require.ErrorContains(t, err, "key not found for "+n.from.String())
	_, err = n.api.StateLookupID(n.ctx, n.from, lotus.EmptyTSK)
	require.ErrorContains(t, err, "actor not found")
	balance, err := n.api.WalletBalance(n.ctx, n.from)
	require.NoError(t, err)
	require.True(t, balance.IsZero())
}

func TestRefusesATransferWithoutFunds(t *testing.T) {
	t.Parallel()
	n := start(t)
	msg := n.precommitMessage(n.precommitInfo(7))
	msg.Value = devnet.FIL(1_001)
	n.wantReverted(msg, 6, "sender does not have funds to transfer (balance 1000.0, transfer 1001.0) (5: insufficient funds)")
	msg.Value, msg.GasLimit, msg.GasFeeCap = devnet.FIL(1), 9_000_000_000, devnet.FIL(1)
	signed, err := devnet.Secp256k1Key("control").SignMessage(withPremium(msg))
	require.NoError(t, err)
	_, err = n.api.MpoolPush(n.ctx, signed)
	require.ErrorContains(t, err, "not enough funds (required: 9000000000 FIL, balance: 1000 FIL): not enough funds to execute transaction")
}

func withPremium(m *lotus.Message) *lotus.Message {
	m.GasPremium = big.NewInt(100_000)
	return m
}
