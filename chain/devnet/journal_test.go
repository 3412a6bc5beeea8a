package devnet_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// refuseAll shows that a replay checks no proof again.
type refuseAll struct{}

func (refuseAll) VerifyVanilla(context.Context, devnet.SealInfo, []byte) error {
	return errors.New("no")
}
func (refuseAll) VerifySNARK(context.Context, devnet.SealInfo, []byte) error { return errors.New("no") }

// seen is what a sealer sees of a network.
type seen struct {
	head      *lotus.TipSet
	sector    *lotus.SectorOnChainInfo
	found     *lotus.MsgLookup
	parts     []lotus.Partition
	available abi.TokenAmount
	balance   abi.TokenAmount
	pending   []*lotus.SignedMessage
	ticket    abi.Randomness
}

func (n *network) see(found *lotus.MsgLookup, deadline uint64) (s seen) {
	n.Helper()
	var errs [8]error
	s.head = n.node.Head()
	s.sector, errs[0] = n.api.StateSectorGetInfo(n.ctx, n.miner, 7, lotus.EmptyTSK)
	s.found, errs[1] = n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, found.Message, -1, false)
	s.parts, errs[2] = n.api.StateMinerPartitions(n.ctx, n.miner, deadline, lotus.EmptyTSK)
	s.available, errs[3] = n.api.StateMinerAvailableBalance(n.ctx, n.miner, lotus.EmptyTSK)
	s.balance, errs[4] = n.api.WalletBalance(n.ctx, n.from)
	s.pending, errs[5] = n.api.MpoolPending(n.ctx, lotus.EmptyTSK)
	s.ticket, errs[6] = n.api.StateGetRandomnessFromTickets(n.ctx, 5, 3, n.entropy(), lotus.EmptyTSK)
	require.NoError(n, errors.Join(errs[:]...))
	return s
}

func TestContinuesFromItsJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inDir := func(c *devnet.Config) { c.Dir = dir }
	n := start(t, inDir)
	n.precommit(n.precommitInfo(7))
	found := n.land(n.proveMessage(7, snark(n.seal(7))))
	sector := jobs.SectorID{Miner: 1000, Number: 7}
	require.NoError(t, n.node.SetSector(sector, devnet.Faulty))
	require.NoError(t, n.node.Fund(n.miner, big.NewInt(12345)))
	require.Error(t, n.node.Fund(id(t, 4242), big.NewInt(1)))
	n.order(devnet.Misbehaviour{BaseFee: 777, BaseFeeEpochs: 2, LoseReceipts: 1})
	lost := n.push(n.precommitMessage(n.precommitInfo(9)))
	n.advance(4)
	n.land(n.precommitMessage(n.precommitInfo(8)))
	require.NoError(t, n.node.Reorg(n.ctx, 2, false))
	n.advance(2)
	n.order(devnet.Misbehaviour{DropMessages: 1})
	spec := &lotus.MessageSendSpec{MaxFee: devnet.FIL(1), MsgUuid: uuid.MustParse("11111111-2222-4333-8444-555555555555")}
	transfer := &lotus.Message{To: n.from, From: n.from, Value: big.NewInt(1), GasFeeCap: big.Zero(), GasPremium: big.Zero()}
	dropped, err := n.api.MpoolPushMessage(n.ctx, transfer, spec)
	require.NoError(t, err)
	waiting := n.push(transfer)
	where, err := n.api.StateSectorPartition(n.ctx, n.miner, 7, lotus.EmptyTSK)
	require.NoError(t, err)
	before := n.see(found, where.Deadline)
	require.Len(t, before.pending, 1)
	require.NoError(t, n.node.Close())

	journal := filepath.Join(dir, "journal.jsonl")
	file, err := os.OpenFile(journal, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteString(`{"Line":{"Tips`) // the process was killed while it wrote
	require.NoError(t, errors.Join(err, file.Close()))

	again := restart(t, dir)
	require.Equal(t, before, again.see(found, where.Deadline))
	same, err := again.api.MpoolPushMessage(n.ctx, transfer, spec)
	require.NoError(t, err)
	require.Equal(t, dropped, same, "the MsgUuid is remembered")
	require.Equal(t, before.pending, again.see(found, where.Deadline).pending, "and its message not pushed again")
	next, err := again.api.MpoolPushMessage(n.ctx, transfer, nil)
	require.NoError(t, err)
	require.Equal(t, dropped.Message.Nonce+2, next.Message.Nonce, "and so are the nonces that the node gave")
	nothing, err := again.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, lost, -1, false)
	require.NoError(t, err)
	require.Nil(t, nothing, "lost receipts stay lost")
	_, err = again.api.ChainGetMessage(n.ctx, waiting)
	require.NoError(t, err)
	again.advance(1)
	require.NoError(t, again.node.Close())
	require.Equal(t, before.head.Height+1, restart(t, dir).node.Head().Height)
}

// restart starts a node on a directory, without the first epoch that start makes.
func restart(t *testing.T, dir string, change ...func(*devnet.Config)) *network {
	t.Helper()
	cfg := devnet.Config{Dir: dir, Verifier: refuseAll{}}
	for _, c := range change {
		c(&cfg)
	}
	node, err := devnet.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = node.Close() })
	n := &network{T: t, ctx: t.Context(), node: node, miner: id(t, 1000), from: devnet.Secp256k1Key("control").Address()}
	n.dial(node.URL(), "")
	return n
}

func TestRefusesAnotherNetworksJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, func(c *devnet.Config) { c.Dir = dir })
	first.land(first.precommitMessage(first.precommitInfo(7)))
	require.NoError(t, first.node.Close())
	_, err := devnet.Start(t.Context(), devnet.Config{Dir: dir, NetworkName: "other"})
	require.ErrorContains(t, err, "it is of another network")
	require.ErrorContains(t, err, "name another directory or remove this one")

	journal := filepath.Join(dir, "journal.jsonl")
	raw, err := os.ReadFile(journal)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(journal, append(raw, "nonsense\n"...), 0o600))
	_, err = devnet.Start(t.Context(), devnet.Config{Dir: dir})
	require.ErrorContains(t, err, "invalid character")
	cut := raw[len(`{"Network":`):] // the first line is damaged
	require.NoError(t, os.WriteFile(journal, append([]byte(`{"Net":`), cut...), 0o600))
	_, err = devnet.Start(t.Context(), devnet.Config{Dir: dir})
	require.ErrorContains(t, err, "the first line names no network")
	_, err = devnet.Start(t.Context(), devnet.Config{Dir: filepath.Join(journal, "below")})
	require.ErrorContains(t, err, "journal: mkdir")
}
