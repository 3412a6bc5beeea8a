package chain_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/exitcode"
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

// elsewhere are the lines of the recovery table that an estimate cannot reach, with the test that does.
var elsewhere = map[string]func(*testing.T){
	"the sender's nonce or balance changed": TestAMessageThatItsSenderCannotPay,
	"an allocation is not there":            TestAllocationsLostOnTheWay,
	"nobody kept the result":                TestLostReceipt,
	"out of gas":                            TestBatchBeyondABlock,
}

// Every line of the recovery table that a failed execution leads to is reached on the embedded node, and has the class that it should.
func TestRecoveryTable(t *testing.T) {
	t.Parallel()
	stranger := devnet.Secp256k1Key("stranger")
	node := startNode(t, func(c *devnet.Config) {
		c.Accounts = append(devnet.DefaultAccounts(), devnet.Account{Key: stranger, Balance: devnet.FIL(1)})
		poor := devnet.DefaultMiner(1001, 2<<10)
		poor.Balance = big.Zero()
		punished := devnet.DefaultMiner(1002, 2<<10)
		punished.PunishedUntil = 900
		c.Miners = []devnet.Miner{devnet.DefaultMiner(1000, 2<<10), poor, punished}
	})
	c := dial(t, node, withJournal(openJournal(t)))
	api := rawAPI(t, node)
	pres := preCommitsOf(t, c, 3)
	commD, err := jobs.CommD(pres[2].Seal.Proof, []jobs.Piece{{CID: dataPiece, Size: 2048}})
	require.NoError(t, err)
	pres[2].CC, pres[2].Seal.CommD = false, commD // sectors 1 and 2 hold nothing, 3 the piece
	sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
	require.NoError(t, err)
	requireTogether(t, sent)
	advance(t, node, 20)
	require.NoError(t, c.Tend(t.Context()), "what landed is settled")
	early := preCommitOf(t, c, 4)
	_, err = sendPreCommit(t.Context(), c, early)
	require.NoError(t, err)
	advance(t, node, 2)

	to := func(miner uint64) address.Address {
		a, err := address.NewIDAddress(miner)
		require.NoError(t, err)
		return a
	}
	message := func(method abi.MethodNum, v cbg.CBORMarshaler) *lotus.Message {
		var params bytes.Buffer
		require.NoError(t, v.MarshalCBOR(&params))
		return &lotus.Message{To: to(1000), From: ownerKey, Value: devnet.FIL(1), Method: method, Params: params.Bytes(), GasFeeCap: big.Zero(), GasPremium: big.Zero()}
	}
	preCommit := func(change func(*miner18.SectorPreCommitInfo)) *lotus.Message {
		head := node.Head().Height
		info := miner18.SectorPreCommitInfo{
			SealProof: pres[0].Seal.Proof, SectorNumber: 50, SealedCID: pres[0].Seal.CommR, SealRandEpoch: head - 900, Expiration: head + 1000*2880,
		}
		change(&info)
		return message(28, &miner18.PreCommitSectorBatchParams2{Sectors: []miner18.SectorPreCommitInfo{info}})
	}
	commit := func(number abi.SectorNumber, proof []byte, pieces ...miner18.PieceActivationManifest) *lotus.Message {
		return message(34, &miner18.ProveCommitSectors3Params{
			SectorActivations: []miner18.SectorActivationManifest{{SectorNumber: number, Pieces: pieces}}, SectorProofs: [][]byte{proof},
			RequireActivationSuccess: true, RequireNotificationSuccess: true,
		})
	}
	piece := func(change func(*miner18.PieceActivationManifest)) miner18.PieceActivationManifest {
		p := miner18.PieceActivationManifest{CID: dataPiece, Size: 2048}
		change(&p)
		return p
	}
	notify := func(a address.Address, payload ...byte) miner18.PieceActivationManifest {
		return piece(func(p *miner18.PieceActivationManifest) {
			p.Notify = []miner18.DataActivationNotification{{Address: a, Payload: payload}}
		})
	}
	with := func(m *lotus.Message, change func(*lotus.Message)) *lotus.Message {
		change(m)
		return m
	}
	seen := map[string]bool{}
	try := func(what string, class jobs.FaultClass, member bool, m *lotus.Message) {
		t.Helper()
		_, err := api.GasEstimateMessageGas(t.Context(), m, nil, lotus.EmptyTSK)
		require.Error(t, err, what)
		gotWhat, gotClass, gotMember := chain.Situation(err)
		require.Equal(t, what, gotWhat, "%s", err)
		require.Equal(t, class, gotClass, "%s", err)
		require.Equal(t, member, gotMember, "%s", err)
		seen[what] = true
	}

	const ofOne, ofAll = true, false
	old, young := abi.ChainEpoch(-4000), node.Head().Height+100
	try("the ticket is too old", jobs.Deadline, ofOne, preCommit(func(s *miner18.SectorPreCommitInfo) { s.SealRandEpoch = old }))
	try("the ticket is of the future", jobs.Transient, ofOne, preCommit(func(s *miner18.SectorPreCommitInfo) { s.SealRandEpoch = young }))
	try("the number is used", jobs.Rejected, ofOne, preCommit(func(s *miner18.SectorPreCommitInfo) { s.SectorNumber = 1 }))
	for _, expiration := range []abi.ChainEpoch{0, 31 * 2880, 200 * 2880, 4000 * 2880} {
		try("the expiration is too near or too far", jobs.Rejected, ofOne, preCommit(func(s *miner18.SectorPreCommitInfo) { s.Expiration = expiration }))
	}
	for _, proof := range []abi.RegisteredSealProof{abi.RegisteredSealProof_StackedDrg32GiBV1_1, abi.RegisteredSealProof_StackedDrg8MiBV1_1} {
		try("the proof type is wrong", jobs.Rejected, ofOne, preCommit(func(s *miner18.SectorPreCommitInfo) { s.SealProof = proof }))
	}
	try("any other failure", jobs.Rejected, ofOne, preCommit(func(s *miner18.SectorPreCommitInfo) { s.SealedCID = dataPiece }))
	try("any other failure", jobs.Rejected, ofOne, message(28, &miner18.PreCommitSectorBatchParams2{}))

	try("there is no pre-commitment", jobs.Deadline, ofOne, commit(99, goodProof))
	try("the seed is not drawn yet", jobs.Transient, ofOne, commit(4, goodProof))
	try("the proof does not verify", jobs.Input, ofOne, commit(1, make([]byte, 192)))
	try("the proof does not verify", jobs.Input, ofOne, commit(1, make([]byte, 193)))
	try("the pieces do not make the pre-committed CommD", jobs.Data, ofOne, commit(3, goodProof))
	try("an allocation cannot be claimed", jobs.Rejected, ofOne, commit(3, goodProof, piece(func(p *miner18.PieceActivationManifest) {
		p.VerifiedAllocationKey = &miner18.VerifiedAllocationKey{Client: 100, ID: 77}
	})))
	try("nobody is there to be notified", jobs.Rejected, ofOne, commit(3, goodProof, notify(to(7777), 1)))
	try("who is notified does not answer", jobs.Rejected, ofOne, commit(3, goodProof, notify(to(100), 1)))
	try("who is notified fails", jobs.Rejected, ofOne, commit(3, goodProof, notify(to(1001), 1)))
	try("who is notified refuses, such as a deal whose start has passed", jobs.Rejected, ofOne, commit(3, goodProof, notify(builtin.StorageMarketActorAddr, 1)))

	try("the sender lacks the value", jobs.Funds, ofAll, with(preCommit(func(*miner18.SectorPreCommitInfo) {}), func(m *lotus.Message) { m.Value = devnet.FIL(900_000_000) }))
	try("the miner lacks deposit or pledge", jobs.Funds, ofAll, with(preCommit(func(*miner18.SectorPreCommitInfo) {}), func(m *lotus.Message) { m.To, m.Value = to(1001), big.Zero() }))
	try("the miner is punished for a consensus fault", jobs.Rejected, ofAll, with(preCommit(func(*miner18.SectorPreCommitInfo) {}), func(m *lotus.Message) { m.To = to(1002) }))
	try("the sender may not send for the miner", jobs.Rejected, ofAll, with(preCommit(func(*miner18.SectorPreCommitInfo) {}), func(m *lotus.Message) {
		m.From, m.Value = stranger.Address(), big.Zero()
	}))
	try("the parameters do not decode", jobs.Bug, ofAll, with(commit(1, goodProof), func(m *lotus.Message) { m.Params = []byte{0x80} }))
	try("the network has no such method", jobs.Rejected, ofAll, with(commit(1, goodProof), func(m *lotus.Message) { m.Method = 9999 }))

	// What the pre-commitments come to when nobody proves them: the client's own words, too.
	advance(t, node, 30*2880+20)
	try("the pre-commitment expired", jobs.Deadline, ofOne, commit(2, goodProof))
	on, err := c.OnChain(t.Context(), pres[1].Seal.ID)
	require.NoError(t, err)
	require.Nil(t, on.PreCommit, "the actor has it still, and takes no proof for it")
	_, err = sendCommit(t.Context(), c, commitOf(pres[1].Seal.ID))
	requireClass(t, jobs.Deadline, err)
	advance(t, node, 8*120+1) // it is cleaned up
	try("there is no pre-commitment", jobs.Deadline, ofOne, commit(2, goodProof))
	again := preCommitOf(t, c, 2)
	_, err = sendPreCommit(t.Context(), c, again)
	requireClass(t, jobs.Rejected, err)
	require.ErrorContains(t, err, "already allocated")
	require.ErrorContains(t, err, "abandon")

	for _, r := range chain.Recoveries() {
		if r.Exit != 0 && !seen[r.What] {
			require.NotNil(t, elsewhere[r.What], "nothing reaches %q", r.What)
		}
	}
}

// A batch that a block has no room for goes in several messages.
func TestBatchBeyondABlock(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	c := dial(t, node, withJournal(newMemory()), func(c *chain.Config) { c.MaxFeeCommit = devnet.FIL(5) })
	commits := preCommitted(t, node, c, 240)
	sent, err := c.SendCommits(t.Context(), "b-1", commits, nil)
	require.NoError(t, err)
	var names []string
	for i, s := range sent {
		require.Nil(t, s.Fault, "member %d", i)
		if !slices.Contains(names, s.Message) {
			names = append(names, s.Message)
		}
	}
	require.Len(t, names, 2, "240 proofs use more gas than a block has")
	advance(t, node, 8)
	committed := 0
	for _, r := range commits {
		on, err := c.OnChain(t.Context(), r.Seal.ID)
		require.NoError(t, err)
		if on.Sector != nil {
			committed++
		}
	}
	require.Equal(t, 240, committed)
}

// A message may sit in a block though its sender could not pay: a reorganisation took back the money after the mempool had taken the message. It did not land, and
// its nonce is not used: it waits for money, the same bytes are pushed again, and once they land the sectors tell so, though the node tells of the first block.
func TestAMessageThatItsSenderCannotPay(t *testing.T) {
	t.Parallel()
	node := startNode(t, func(c *devnet.Config) {
		c.Accounts = devnet.DefaultAccounts()
		c.Accounts[1].Balance = big.Zero()
	})
	journal := newMemory()
	c := dial(t, node, withJournal(journal))
	pres := preCommitsOf(t, c, 2)
	require.NoError(t, node.Fund(controlKey, devnet.FIL(1)))
	advance(t, node, 2)
	sent, err := c.SendPreCommits(t.Context(), "b-1", pres)
	require.NoError(t, err)
	name, err := cid.Decode(requireTogether(t, sent))
	require.NoError(t, err)
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{Reorg: 2, CarelessBlocks: 1}))
	advance(t, node, 2)

	found, err := rawAPI(t, node).StateSearchMsg(t.Context(), lotus.EmptyTSK, name, -1, true)
	require.NoError(t, err)
	require.EqualValues(t, exitcode.SysErrSenderStateInvalid, found.Receipt.ExitCode)
	require.Zero(t, found.Receipt.GasUsed)
	require.Zero(t, used(t, node, controlKey))
	advance(t, node, 8)
	require.Equal(t, jobs.MessagePushed, message(t, c, pres[0].Meaning).State, "it may land still")
	require.ErrorContains(t, c.Tend(t.Context()), "not enough funds")
	sent, err = c.SendPreCommits(t.Context(), "b-2", pres)
	require.NoError(t, err)
	for _, s := range sent {
		require.Equal(t, jobs.Funds, s.Fault.Class, s.Fault.Text)
	}

	require.NoError(t, node.Fund(controlKey, devnet.FIL(1)))
	advance(t, node, 1)
	require.NoError(t, c.Tend(t.Context()))
	advance(t, node, 8)
	for _, r := range pres {
		m := message(t, c, r.Meaning)
		require.Equal(t, jobs.Message{CID: name.String(), State: jobs.MessageConfirmed}, m)
	}
	require.True(t, allThere(t, c, pres))
	requireOnce(t, journal)
	require.EqualValues(t, 1, used(t, node, controlKey))
}
