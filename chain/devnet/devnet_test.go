package devnet_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/batch"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/stretchr/testify/require"
	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// fakeVerifier stands for a real prover: a "proof" is a digest of everything that it must be bound to, so that a change of any of
// it, or of the proof, is seen. The package of the native prover runs the node with real proofs.
type fakeVerifier struct{}

func statement(s devnet.SealInfo) []byte {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return raw
}

func snark(s devnet.SealInfo) []byte {
	var proof []byte
	for i := byte(0); len(proof) < 192; i++ {
		h := sha256.Sum256(append(statement(s), i))
		proof = append(proof, h[:]...)
	}
	return proof
}

func (fakeVerifier) VerifySNARK(_ context.Context, s devnet.SealInfo, proof []byte) error {
	if !bytes.Equal(proof, snark(s)) {
		return errors.New("wrong proof")
	}
	return nil
}

func (fakeVerifier) VerifyVanilla(_ context.Context, s devnet.SealInfo, c1 []byte) error {
	if !bytes.Equal(c1, statement(s)) {
		return errors.New("wrong opening")
	}
	return nil
}

func native(c1 []byte) []byte {
	area := make([]byte, 160)
	copy(area, jobs.VanillaTag)
	digest := sha256.Sum256(c1)
	return append(area, digest[:]...)
}

// network is a running node with a client, as a sealer sees it.
type network struct {
	*testing.T
	ctx   context.Context
	node  *devnet.Node
	api   lotus.FullNode
	own   ownAPI
	miner address.Address
	from  address.Address // the control key
}

// ownAPI is what only the embedded node has.
type ownAPI struct {
	LpsealOfferVanilla func(context.Context, address.Address, abi.SectorNumber, string) error
	LpsealMisbehave    func(context.Context, devnet.Misbehaviour) error
	LpsealAdvance      func(context.Context, int) error
}

func start(t *testing.T, change ...func(*devnet.Config)) *network {
	t.Helper()
	cfg := devnet.Config{Verifier: fakeVerifier{}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, c := range change {
		c(&cfg)
	}
	node, err := devnet.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	n := &network{T: t, ctx: t.Context(), node: node, miner: id(t, 1000), from: devnet.Secp256k1Key("control").Address()}
	n.dial(node.URL(), cfg.Token)
	n.advance(1)
	return n
}

func (n *network) dial(url, token string) {
	n.Helper()
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	closer, err := jsonrpc.NewMergeClient(n.ctx, url, lotus.Namespace, []any{&n.api, &n.own}, header, jsonrpc.WithErrors(lotus.Errors()))
	require.NoError(n, err)
	n.Cleanup(closer)
}

func id(t *testing.T, n uint64) address.Address {
	t.Helper()
	a, err := address.NewIDAddress(n)
	require.NoError(t, err)
	return a
}

func (n *network) advance(epochs int) {
	n.Helper()
	require.NoError(n, n.node.Advance(n.ctx, epochs))
}

func encode(t *testing.T, v cbg.CBORMarshaler) []byte {
	t.Helper()
	var buf bytes.Buffer
	require.NoError(t, v.MarshalCBOR(&buf))
	return buf.Bytes()
}

// commR makes a CommR like no other.
func commR(t *testing.T, what string) cid.Cid {
	t.Helper()
	digest := sha256.Sum256([]byte(what))
	digest[31] &= 0x3f
	h, err := multihash.Encode(digest[:], multihash.POSEIDON_BLS12_381_A1_FC1)
	require.NoError(t, err)
	return cid.NewCidV1(cid.FilCommitmentSealed, h)
}

const proof2K = abi.RegisteredSealProof_StackedDrg2KiBV1_1

// precommitInfo is a good pre-commitment of a CC sector, as of the head.
func (n *network) precommitInfo(number abi.SectorNumber) miner18.SectorPreCommitInfo {
	head := n.node.Head().Height
	return miner18.SectorPreCommitInfo{
		SealProof: proof2K, SectorNumber: number, SealedCID: commR(n.T, fmt.Sprint("sector ", number)),
		SealRandEpoch: head - 900, Expiration: head + 1_000_000,
	}
}

func (n *network) precommitMessage(infos ...miner18.SectorPreCommitInfo) *lotus.Message {
	return n.message(builtin.MethodsMiner.PreCommitSectorBatch2, &miner18.PreCommitSectorBatchParams2{Sectors: infos})
}

func (n *network) proveMessage(number abi.SectorNumber, proof []byte) *lotus.Message {
	return n.message(builtin.MethodsMiner.ProveCommitSectors3, &miner18.ProveCommitSectors3Params{
		SectorActivations: []miner18.SectorActivationManifest{{SectorNumber: number}}, SectorProofs: [][]byte{proof},
	})
}

func (n *network) message(method abi.MethodNum, params cbg.CBORMarshaler) *lotus.Message {
	return &lotus.Message{
		To: n.miner, From: n.from, Value: big.Zero(), GasFeeCap: big.Zero(), GasPremium: big.Zero(), Method: method, Params: encode(n.T, params),
	}
}

// push sends a message with the node's nonce and returns its CID.
func (n *network) push(m *lotus.Message) cid.Cid {
	n.Helper()
	signed, err := n.api.MpoolPushMessage(n.ctx, m, &lotus.MessageSendSpec{MaxFee: devnet.FIL(1)})
	require.NoError(n, err)
	return signed.Cid()
}

// land sends a message, lets it execute and wants exit code 0.
func (n *network) land(m *lotus.Message) *lotus.MsgLookup {
	n.Helper()
	c := n.push(m)
	n.advance(2)
	found, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, c, -1, false)
	require.NoError(n, err)
	require.NotNil(n, found)
	require.Zero(n, found.Receipt.ExitCode)
	return found
}

// entropy is what seal randomness is drawn with: the miner's ID address in CBOR.
func (n *network) entropy() []byte { return encode(n.T, &n.miner) }

// seal is what a proof of a landed pre-commitment must be bound to, as a sealer learns it from the API.
func (n *network) seal(number abi.SectorNumber) devnet.SealInfo {
	n.Helper()
	pc, err := n.api.StateSectorPreCommitInfo(n.ctx, n.miner, number, lotus.EmptyTSK)
	require.NoError(n, err)
	require.NotNil(n, pc)
	params, err := n.api.StateGetNetworkParams(n.ctx)
	require.NoError(n, err)
	ticket, err := n.api.StateGetRandomnessFromTickets(n.ctx, crypto.DomainSeparationTag_SealRandomness, pc.Info.SealRandEpoch, n.entropy(), lotus.EmptyTSK)
	require.NoError(n, err)
	seed, err := n.api.StateGetRandomnessFromBeacon(n.ctx, crypto.DomainSeparationTag_InteractiveSealChallengeSeed,
		pc.PreCommitEpoch+params.PreCommitChallengeDelay, n.entropy(), lotus.EmptyTSK)
	require.NoError(n, err)
	commD, err := jobs.CommD(pc.Info.SealProof, nil)
	require.NoError(n, err)
	if pc.Info.UnsealedCid != nil {
		commD = *pc.Info.UnsealedCid
	}
	return devnet.SealInfo{
		ID: jobs.SectorID{Miner: 1000, Number: number}, Proof: pc.Info.SealProof,
		Ticket: ticket, Seed: seed, CommD: commD, CommR: pc.Info.SealedCID,
	}
}

// precommit lands a pre-commitment and waits for its seed.
func (n *network) precommit(infos ...miner18.SectorPreCommitInfo) {
	n.Helper()
	n.land(n.precommitMessage(infos...))
	n.advance(12)
}

func TestSealASector(t *testing.T) {
	t.Parallel()
	n := start(t)
	before, err := n.api.StateMinerAvailableBalance(n.ctx, n.miner, lotus.EmptyTSK)
	require.NoError(t, err)

	info := n.precommitInfo(7)
	found := n.land(n.precommitMessage(info))
	pc, err := n.api.StateSectorPreCommitInfo(n.ctx, n.miner, 7, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, info, pc.Info)
	require.Equal(t, found.Height-1, pc.PreCommitEpoch, "the receipt is found one epoch after inclusion")
	n.advance(12)

	deposited, err := n.api.StateMinerAvailableBalance(n.ctx, n.miner, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, big.Sub(before, pc.PreCommitDeposit), deposited, "value 0: the deposit comes from the miner's balance")

	found = n.land(n.proveMessage(7, snark(n.seal(7))))
	var ret batch.BatchReturn
	require.NoError(t, ret.UnmarshalCBOR(bytes.NewReader(found.Receipt.Return)))
	require.Equal(t, batch.BatchReturn{SuccessCount: 1}, ret)

	sector, err := n.api.StateSectorGetInfo(n.ctx, n.miner, 7, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, found.Height-1, sector.Activation)
	require.Equal(t, info.SealedCID, sector.SealedCID)
	require.Equal(t, info.Expiration, sector.Expiration)
	pc, err = n.api.StateSectorPreCommitInfo(n.ctx, n.miner, 7, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Nil(t, pc, "a committed sector is no longer pre-committed")

	pledged, err := n.api.StateMinerAvailableBalance(n.ctx, n.miner, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, big.Sub(before, sector.InitialPledge), pledged, "the deposit is free, the pledge locked")
	expiration, err := n.api.StateSectorExpiration(n.ctx, n.miner, 7, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, &lotus.SectorExpiration{OnTime: info.Expiration}, expiration)
}

func TestNativeProofNeedsItsOffer(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.precommit(n.precommitInfo(7))
	c1 := statement(n.seal(7))
	msg := n.proveMessage(7, native(c1))

	n.refused(msg, 16, "no valid proofs specified")
	wrong := append(bytes.Clone(c1), ' ')
	require.NoError(t, n.own.LpsealOfferVanilla(n.ctx, n.miner, 7, base64.StdEncoding.EncodeToString(wrong)))
	n.refused(msg, 16, "no valid proofs specified")
	n.refused(n.proveMessage(7, native(wrong)), 16, "no valid proofs specified")
	require.NoError(t, n.own.LpsealOfferVanilla(n.ctx, n.miner, 8, base64.StdEncoding.EncodeToString(c1)))
	n.refused(msg, 16, "no valid proofs specified")
	require.NoError(t, n.own.LpsealOfferVanilla(n.ctx, n.miner, 7, base64.StdEncoding.EncodeToString(c1)))
	n.land(msg)
	require.ErrorContains(t, n.own.LpsealOfferVanilla(n.ctx, n.miner, 7, "no base64"), "illegal base64")
}

// refused wants Lotus's error for a message whose execution fails, both when its gas is estimated and, pushed without an estimate,
// in the receipt.
func (n *network) refused(m *lotus.Message, code int64, text string) {
	n.Helper()
	_, err := n.api.GasEstimateMessageGas(n.ctx, m, nil, lotus.EmptyTSK)
	var reverted *lotus.ExecutionReverted
	require.ErrorAs(n, err, &reverted)
	require.Equal(n, "0x", reverted.Data)
	require.Regexp(n, fmt.Sprintf(`^message execution failed \(exit=\[(\w+\(%d\)|%[1]d)\], vm error=\[message failed with backtrace:\n`, code), reverted.Message)
	require.Contains(n, reverted.Message, text)

	forced := *m
	forced.GasLimit, forced.GasFeeCap, forced.GasPremium = 1_000_000_000, big.NewInt(1_000_000_000), big.NewInt(100_000)
	c := n.push(&forced)
	n.advance(2)
	found, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, c, -1, false)
	require.NoError(n, err)
	require.NotNil(n, found)
	require.Equal(n, code, found.Receipt.ExitCode)
	require.Nil(n, found.Receipt.Return)
}
