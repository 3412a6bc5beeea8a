package chain_test

import (
	"bytes"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"
	cbg "github.com/whyrusleeping/cbor-gen"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// dataPiece fills a 2 KiB sector.
var dataPiece = cid.MustParse("baga6ea4seaqicoyiliijespbati3bqmuyubusdfbrk5hj6tuzqgkrvlvzdnwadi")

// refusals have a node estimate messages of miner 1000 that it must refuse, and compare what the recovery table makes of its words. The same are asked of the
// embedded node and of a Lotus node (TestLotusRefusals).
type refusals struct {
	t              *testing.T
	api            *lotus.FullNode
	from, stranger address.Address // may send for the miner, and may not
	replica        cid.Cid         // any CommR
	head           abi.ChainEpoch

	used          abi.SectorNumber // on chain
	empty, filled abi.SectorNumber // pre-committed without data and with dataPiece, their seeds drawn
	early         abi.SectorNumber // pre-committed, its seed not drawn

	seen map[string]bool // lines of the table that were reached
}

// Whom the table blames.
const ofOne, ofAll = true, false

func (s *refusals) try(what string, class jobs.FaultClass, member bool, m *lotus.Message) {
	s.t.Helper()
	_, err := s.api.GasEstimateMessageGas(s.t.Context(), m, nil, lotus.EmptyTSK)
	require.Error(s.t, err, what)
	gotWhat, gotClass, gotMember := chain.Situation(err)
	require.Equal(s.t, what, gotWhat, "%s", err)
	require.Equal(s.t, class, gotClass, "%s", err)
	require.Equal(s.t, member, gotMember, "%s", err)
	s.seen[what] = true
}

func (s *refusals) message(method abi.MethodNum, v cbg.CBORMarshaler) *lotus.Message {
	var params bytes.Buffer
	require.NoError(s.t, v.MarshalCBOR(&params))
	return &lotus.Message{To: idAddress(s.t, 1000), From: s.from, Value: devnet.FIL(1), Method: method, Params: params.Bytes(), GasFeeCap: big.Zero(), GasPremium: big.Zero()}
}

func (s *refusals) preCommit(change func(*miner18.SectorPreCommitInfo)) *lotus.Message {
	info := miner18.SectorPreCommitInfo{
		SealProof: abi.RegisteredSealProof_StackedDrg2KiBV1_1, SectorNumber: 50, SealedCID: s.replica, SealRandEpoch: s.head - 900, Expiration: s.head + 1000*builtin.EpochsInDay,
	}
	change(&info)
	return s.message(28, &miner18.PreCommitSectorBatchParams2{Sectors: []miner18.SectorPreCommitInfo{info}})
}

func (s *refusals) commit(number abi.SectorNumber, proof []byte, pieces ...miner18.PieceActivationManifest) *lotus.Message {
	return s.message(34, &miner18.ProveCommitSectors3Params{
		SectorActivations: []miner18.SectorActivationManifest{{SectorNumber: number, Pieces: pieces}}, SectorProofs: [][]byte{proof},
		RequireActivationSuccess: true, RequireNotificationSuccess: true,
	})
}

func asIs(*miner18.SectorPreCommitInfo) {}

func with(m *lotus.Message, change func(*lotus.Message)) *lotus.Message {
	change(m)
	return m
}

func idAddress(t *testing.T, id uint64) address.Address {
	t.Helper()
	a, err := address.NewIDAddress(id)
	require.NoError(t, err)
	return a
}

func (s *refusals) preCommits() {
	s.t.Helper()
	s.try("the ticket is too old", jobs.Deadline, ofOne, s.preCommit(func(i *miner18.SectorPreCommitInfo) { i.SealRandEpoch = s.head - 4000 }))
	s.try("the ticket is of the future", jobs.Transient, ofOne, s.preCommit(func(i *miner18.SectorPreCommitInfo) { i.SealRandEpoch = s.head + 100 }))
	s.try("the number is used", jobs.Rejected, ofOne, s.preCommit(func(i *miner18.SectorPreCommitInfo) { i.SectorNumber = s.used }))
	for _, days := range []abi.ChainEpoch{0, 31, 200, 4000} {
		s.try("the expiration is too near or too far", jobs.Rejected, ofOne, s.preCommit(func(i *miner18.SectorPreCommitInfo) { i.Expiration = days * builtin.EpochsInDay }))
	}
	for _, proof := range []abi.RegisteredSealProof{abi.RegisteredSealProof_StackedDrg32GiBV1_1, abi.RegisteredSealProof_StackedDrg8MiBV1_1} {
		s.try("the proof type is wrong", jobs.Rejected, ofOne, s.preCommit(func(i *miner18.SectorPreCommitInfo) { i.SealProof = proof }))
	}
	s.try("any other failure", jobs.Rejected, ofOne, s.preCommit(func(i *miner18.SectorPreCommitInfo) { i.SealedCID = dataPiece }))
	s.try("any other failure", jobs.Rejected, ofOne, s.message(28, &miner18.PreCommitSectorBatchParams2{}))
}

func (s *refusals) commits() {
	s.t.Helper()
	s.try("there is no pre-commitment", jobs.Deadline, ofOne, s.commit(99, goodProof))
	s.try("the seed is not drawn yet", jobs.Transient, ofOne, s.commit(s.early, goodProof))
	s.try("the proof does not verify", jobs.Input, ofOne, s.commit(s.empty, make([]byte, 192)))
	s.try("the proof does not verify", jobs.Input, ofOne, s.commit(s.empty, make([]byte, 193)))
}

// provenCommits are refused for what their sector holds: a node looks at that after the proof, which must be good.
func (s *refusals) provenCommits() {
	s.t.Helper()
	piece := func(change func(*miner18.PieceActivationManifest)) *lotus.Message {
		p := miner18.PieceActivationManifest{CID: dataPiece, Size: 2048}
		change(&p)
		return s.commit(s.filled, goodProof, p)
	}
	notify := func(a address.Address) *lotus.Message {
		return piece(func(p *miner18.PieceActivationManifest) {
			p.Notify = []miner18.DataActivationNotification{{Address: a, Payload: []byte{1}}}
		})
	}
	s.try("the pieces do not make the pre-committed CommD", jobs.Data, ofOne, s.commit(s.filled, goodProof))
	s.try("an allocation cannot be claimed", jobs.Rejected, ofOne, piece(func(p *miner18.PieceActivationManifest) {
		p.VerifiedAllocationKey = &miner18.VerifiedAllocationKey{Client: 100, ID: 77}
	}))
	s.try("nobody is there to be notified", jobs.Rejected, ofOne, notify(idAddress(s.t, 7777)))
	s.try("who is notified does not answer", jobs.Rejected, ofOne, notify(idAddress(s.t, 100)))
	s.try("who is notified fails", jobs.Rejected, ofOne, notify(idAddress(s.t, 1000)))
	s.try("who is notified refuses, such as a deal whose start has passed", jobs.Rejected, ofOne, notify(builtin.StorageMarketActorAddr))
}

// messages are refused whatever sectors they name.
func (s *refusals) messages() {
	s.t.Helper()
	s.try("the sender lacks the value", jobs.Funds, ofAll, with(s.preCommit(asIs), func(m *lotus.Message) { m.Value = devnet.FIL(900_000_000) }))
	s.try("the sender may not send for the miner", jobs.Rejected, ofAll, with(s.preCommit(asIs), func(m *lotus.Message) { m.From, m.Value = s.stranger, big.Zero() }))
	s.try("the parameters do not decode", jobs.Bug, ofAll, with(s.commit(s.empty, goodProof), func(m *lotus.Message) { m.Params = []byte{0x80} }))
	s.try("the network has no such method", jobs.Rejected, ofAll, with(s.commit(s.empty, goodProof), func(m *lotus.Message) { m.Method = 9999 }))
}
