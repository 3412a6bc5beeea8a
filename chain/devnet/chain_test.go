package devnet_test

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/blake2b"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, // but for what go-jsonrpc leaves behind: its metrics, and the reader of a WebSocket that was cut
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreTopFunction("github.com/filecoin-project/go-jsonrpc.(*wsConn).nextMessage"))
}

// at gives the key of the tipset at a height.
func (n *network) at(height abi.ChainEpoch) lotus.TipSetKey {
	n.Helper()
	ts, err := n.api.ChainGetTipSetByHeight(n.ctx, height, lotus.EmptyTSK)
	require.NoError(n, err)
	require.Equal(n, height, ts.Height)
	return ts.Key()
}

func TestHistoricState(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.advance(5)
	landed := n.land(n.precommitMessage(n.precommitInfo(7)))
	included := landed.Height - 1
	n.advance(12)
	committed := n.land(n.proveMessage(7, snark(n.seal(7))))
	n.advance(5)
	for _, c := range []struct {
		height                            abi.ChainEpoch
		allocated, precommitted, isSector bool
	}{
		{included - 1, false, false, false},
		{included, false, false, false}, // the state before the tipset's own messages
		{included + 1, true, true, false},
		{committed.Height - 1, true, true, false},
		{committed.Height, true, false, true},
	} {
		key := n.at(c.height)
		allocated, err := n.api.StateMinerSectorAllocated(n.ctx, n.miner, 7, key)
		require.NoError(t, err)
		require.Equal(t, c.allocated, allocated, c.height)
		pc, err := n.api.StateSectorPreCommitInfo(n.ctx, n.miner, 7, key)
		require.NoError(t, err)
		require.Equal(t, c.precommitted, pc != nil, c.height)
		sector, err := n.api.StateSectorGetInfo(n.ctx, n.miner, 7, key)
		require.NoError(t, err)
		require.Equal(t, c.isSector, sector != nil, c.height)
		found, err := n.api.StateSearchMsg(n.ctx, key, landed.Message, -1, false)
		require.NoError(t, err)
		require.Equal(t, c.height > included, found != nil, c.height)
		sender, err := n.api.StateGetActor(n.ctx, n.from, key)
		require.NoError(t, err)
		require.Equal(t, c.height > included, sender.Nonce > 0, c.height)
	}
	found, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, landed.Message, 3, false)
	require.NoError(t, err)
	require.Nil(t, found, "older than the lookback limit")
}

func TestForgetsOldStatesButNotTheirRandomness(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *devnet.Config) { c.History = 50 })
	old := n.node.Head()
	landed := n.land(n.precommitMessage(n.precommitInfo(7)))
	n.advance(1)
	ticket := func() abi.Randomness {
		r, err := n.api.StateGetRandomnessFromTickets(n.ctx, crypto.DomainSeparationTag_SealRandomness, old.Height, n.entropy(), lotus.EmptyTSK)
		require.NoError(t, err)
		return r
	}
	require.NoError(t, n.node.Reorg(n.ctx, 1, false))
	forked := n.node.Head()
	before := ticket()
	n.advance(200)
	sinceFork, err := n.api.StateGetRandomnessFromTickets(n.ctx, crypto.DomainSeparationTag_SealRandomness, forked.Height, nil, lotus.EmptyTSK)
	require.NoError(t, err)
	digest := blake2b.Sum256(forked.Blocks[0].Ticket.VRFProof)
	want := blake2b.Sum256(bytes.Join([][]byte{
		binary.BigEndian.AppendUint64(nil, 5), digest[:], binary.BigEndian.AppendUint64(nil, uint64(forked.Height)),
	}, nil))
	require.EqualValues(t, want[:], sinceFork)
	require.Equal(t, before, ticket())
	_, err = n.api.ChainGetTipSet(n.ctx, old.Key())
	require.ErrorContains(t, err, "ipld: could not find")
	_, err = n.api.ChainGetTipSetByHeight(n.ctx, old.Height, lotus.EmptyTSK)
	require.ErrorContains(t, err, "older than the 50 epochs that this node keeps")
	found, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, landed.Message, -1, false)
	require.NoError(t, err)
	require.Equal(t, landed, found)
	n.at(0) // the genesis is never forgotten
}

func TestRandomness(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.advance(20)
	head := n.node.Head()
	draw := func(n *network, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte) string {
		f := n.api.StateGetRandomnessFromTickets
		if tag == crypto.DomainSeparationTag_InteractiveSealChallengeSeed {
			f = n.api.StateGetRandomnessFromBeacon
		}
		r, err := f(n.ctx, tag, epoch, entropy, lotus.EmptyTSK)
		require.NoError(t, err)
		require.Len(t, r, 32)
		return string(r)
	}
	const seal, seed = crypto.DomainSeparationTag_SealRandomness, crypto.DomainSeparationTag_InteractiveSealChallengeSeed
	drawn := map[string]bool{}
	for _, epoch := range []abi.ChainEpoch{-850, -1, 0, 1, 19} { // before genesis the ticket is that of genesis, but the epoch still counts
		drawn[draw(n, seal, epoch, n.entropy())] = true
		drawn[draw(n, seed, epoch, n.entropy())] = true
		drawn[draw(n, seal, epoch, []byte("else"))] = true
	}
	require.Len(t, drawn, 15, "epoch, purpose and entropy all matter")
	_, err := n.api.StateGetRandomnessFromTickets(n.ctx, seal, head.Height+1, n.entropy(), lotus.EmptyTSK)
	require.ErrorContains(t, err, "getting chain randomness: cannot draw randomness from the future")
	_, err = n.api.StateGetRandomnessFromBeacon(n.ctx, seed, 5, n.entropy(), n.at(4))
	require.ErrorContains(t, err, "cannot draw randomness from the future")

	// Drawn by hand, as the specification says: from the ticket or entry at the height, that of genesis before it.
	hash := func(parts ...[]byte) string {
		h := blake2b.Sum256(bytes.Join(parts, nil))
		return string(h[:])
	}
	epochBytes := func(n abi.ChainEpoch) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
	for _, epoch := range []abi.ChainEpoch{-850, 0, 7} {
		ts, err := n.api.ChainGetTipSetByHeight(n.ctx, max(epoch, 0), lotus.EmptyTSK)
		require.NoError(t, err)
		ticket, entry := ts.Blocks[0].Ticket.VRFProof, ts.Blocks[0].BeaconEntries[0].Data
		require.Equal(t, hash(epochBytes(5), []byte(hash(ticket)), epochBytes(epoch), n.entropy()), draw(n, seal, epoch, n.entropy()))
		require.Equal(t, hash(epochBytes(6), []byte(hash(entry)), epochBytes(epoch), n.entropy()), draw(n, seed, epoch, n.entropy()))
	}

	same, other := start(t), start(t, func(c *devnet.Config) { c.Secret[0] = 1 })
	same.advance(20)
	other.advance(20)
	require.Equal(t, draw(n, seed, 7, nil), draw(same, seed, 7, nil), "equal secrets, equal beacons")
	require.NotEqual(t, draw(n, seed, 7, nil), draw(other, seed, 7, nil))
}

// subscribe follows the head over a WebSocket.
func (n *network) subscribe() <-chan []*lotus.HeadChange {
	n.Helper()
	var ws lotus.FullNode
	closer, err := jsonrpc.NewMergeClient(n.ctx, strings.Replace(n.node.URL(), "http", "ws", 1), lotus.Namespace, []any{&ws}, nil, jsonrpc.WithNoReconnect())
	require.NoError(n, err)
	n.Cleanup(closer)
	changes, err := ws.ChainNotify(n.ctx)
	require.NoError(n, err)
	return changes
}

func (n *network) next(changes <-chan []*lotus.HeadChange) []*lotus.HeadChange {
	n.Helper()
	select {
	case c, ok := <-changes:
		require.True(n, ok, "the subscription ended")
		return c
	case <-time.After(10 * time.Second):
		require.Fail(n, "no head change")
		return nil
	}
}

func TestNotifiesOfHeads(t *testing.T) {
	t.Parallel()
	n := start(t)
	changes := n.subscribe()
	first := n.next(changes)
	require.Equal(t, []*lotus.HeadChange{{Type: lotus.HeadCurrent, Val: n.node.Head()}}, first)
	n.advance(1)
	require.Equal(t, []*lotus.HeadChange{{Type: lotus.HeadApply, Val: n.node.Head()}}, n.next(changes))
	n.advance(4)
	for range 4 {
		n.next(changes)
	}

	old := n.node.Head()
	require.NoError(t, n.own.LpsealMisbehave(n.ctx, devnet.Misbehaviour{Reorg: 3}))
	var got []string
	for _, c := range n.next(changes) {
		got = append(got, c.Type+" "+string('0'+rune(c.Val.Height)))
	}
	require.Equal(t, []string{"revert 6", "revert 5", "revert 4", "apply 4", "apply 5", "apply 6", "apply 7"}, got)
	still, err := n.api.ChainGetTipSet(n.ctx, old.Key())
	require.NoError(t, err, "a reverted tipset can still be asked for")
	require.Equal(t, old, still)
	require.NotEqual(t, old.Key(), n.at(old.Height))
}

func TestReorg(t *testing.T) {
	t.Parallel()
	n := start(t)
	n.advance(3)
	landed := n.land(n.precommitMessage(n.precommitInfo(7)))
	n.advance(2)
	fork := n.node.Head()
	require.ErrorContains(t, n.node.Reorg(n.ctx, 100, false), "the chain has 8 above genesis")
	require.NoError(t, n.node.Reorg(n.ctx, 4, false))
	pc, err := n.api.StateSectorPreCommitInfo(n.ctx, n.miner, 7, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Nil(t, pc, "the pre-commitment never happened")
	found, err := n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, landed.Message, -1, false)
	require.NoError(t, err)
	require.Nil(t, found)
	pc, err = n.api.StateSectorPreCommitInfo(n.ctx, n.miner, 7, fork.Key())
	require.NoError(t, err)
	require.Equal(t, landed.Height-1, pc.PreCommitEpoch, "but on the old fork it did")

	n.advance(2)
	pc, err = n.api.StateSectorPreCommitInfo(n.ctx, n.miner, 7, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Greater(t, pc.PreCommitEpoch, landed.Height, "the message landed again, later: the seed is another one")
	n.advance(12)
	n.land(n.proveMessage(7, snark(n.seal(7))))

	lost := n.land(n.precommitMessage(n.precommitInfo(8)))
	require.NoError(t, n.own.LpsealMisbehave(n.ctx, devnet.Misbehaviour{Reorg: 3, DropReverted: true}))
	n.advance(5)
	found, err = n.api.StateSearchMsg(n.ctx, lotus.EmptyTSK, lost.Message, -1, false)
	require.NoError(t, err)
	require.Nil(t, found, "lost with its fork")
}

func TestSectorStatus(t *testing.T) {
	t.Parallel()
	n := start(t)
	sector := jobs.SectorID{Miner: 1000, Number: 7}
	require.ErrorContains(t, n.node.SetSector(sector, devnet.Proven), "it is not committed")
	n.precommit(n.precommitInfo(7))
	n.land(n.proveMessage(7, snark(n.seal(7))))
	where, err := n.api.StateSectorPartition(n.ctx, n.miner, 7, lotus.EmptyTSK)
	require.NoError(t, err)
	due, err := n.api.StateMinerProvingDeadline(n.ctx, n.miner, lotus.EmptyTSK)
	require.NoError(t, err)
	require.True(t, due.IsOpen())
	require.Equal(t, abi.ChainEpoch(60), due.Close-due.Open)
	require.NotContains(t, []uint64{due.Index, (due.Index + 1) % 48}, where.Deadline, "never due in the open deadline or the next")

	for _, c := range []struct {
		status                     devnet.SectorStatus
		active, faulty, recovering bool
	}{
		{devnet.Unproven, false, false, false},
		{devnet.Proven, true, false, false},
		{devnet.Faulty, false, true, false},
		{devnet.Recovering, false, true, true},
		{devnet.Proven, true, false, false},
	} {
		require.NoError(t, n.node.SetSector(sector, c.status))
		n.advance(2)
		parts, err := n.api.StateMinerPartitions(n.ctx, n.miner, where.Deadline, lotus.EmptyTSK)
		require.NoError(t, err)
		require.Len(t, parts, 1)
		isSet := func(set interface{ IsSet(uint64) (bool, error) }) bool {
			on, err := set.IsSet(7)
			require.NoError(t, err)
			return on
		}
		require.True(t, isSet(&parts[0].AllSectors))
		require.True(t, isSet(&parts[0].LiveSectors))
		require.Equal(t, c.active, isSet(&parts[0].ActiveSectors), c.status)
		require.Equal(t, c.faulty, isSet(&parts[0].FaultySectors), c.status)
		require.Equal(t, c.recovering, isSet(&parts[0].RecoveringSectors), c.status)
		active, err := n.api.StateMinerActiveSectors(n.ctx, n.miner, lotus.EmptyTSK)
		require.NoError(t, err)
		require.Equal(t, c.active, len(active) == 1)
		power, err := n.api.StateMinerPower(n.ctx, n.miner, lotus.EmptyTSK)
		require.NoError(t, err)
		require.Equal(t, c.active, power.HasMinPower)
		faults, err := n.api.StateMinerFaults(n.ctx, n.miner, lotus.EmptyTSK)
		require.NoError(t, err)
		require.Equal(t, c.faulty, isSet(&faults))
	}
	deadlines, err := n.api.StateMinerDeadlines(n.ctx, n.miner, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Len(t, deadlines, 48)
}

func TestAmountsAreTheRecordedOnes(t *testing.T) {
	t.Parallel()
	n := start(t)
	info := n.precommitInfo(7)
	pledge, err := n.api.StateMinerInitialPledgeForSector(n.ctx, 1_000_000, 2048, 0, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, "65565108224", pledge.String())
	collateral, err := n.api.StateMinerInitialPledgeCollateral(n.ctx, n.miner, info, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, pledge, collateral)
	deposit, err := n.api.StateMinerPreCommitDepositForPower(n.ctx, n.miner, info, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, "1098331598848", deposit.String(), "recorded: 1100204469023, it varies with rewards")
	info.SealProof = abi.RegisteredSealProof_StackedDrg8MiBV1_1
	larger, err := n.api.StateMinerInitialPledgeCollateral(n.ctx, n.miner, info, lotus.EmptyTSK)
	require.NoError(t, err)
	require.Equal(t, big.Mul(pledge, big.NewInt(4096)), larger)
	fee, err := n.api.GasEstimateFeeCap(n.ctx, &lotus.Message{To: n.from, From: n.from, Value: big.Zero(), GasFeeCap: big.Zero(), GasPremium: big.NewInt(5)}, 20, n.at(0))
	require.NoError(t, err)
	require.Equal(t, "1054296880", fee.String(), "20 full epochs on the genesis base fee, and the premium")
}

func TestToken(t *testing.T) {
	t.Parallel()
	const token = "eyJ.secret"
	n := start(t, func(c *devnet.Config) { c.Token = token })
	require.Regexp(t, `^eyJ\.secret:/ip4/127\.0\.0\.1/tcp/\d+/http$`, n.node.APIInfo())
	_, err := n.api.ChainHead(n.ctx)
	require.NoError(t, err)
	for _, header := range []string{"", "Bearer other", token} {
		req, err := http.NewRequestWithContext(n.ctx, http.MethodPost, n.node.URL(), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"Filecoin.ChainHead","params":[]}`))
		require.NoError(t, err)
		req.Header.Set("Authorization", header)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	}
	require.NotContains(t, start(t).node.APIInfo(), ":")
}

func TestTickerMakesEpochs(t *testing.T) {
	t.Parallel()
	n := start(t, func(c *devnet.Config) { c.EpochDuration = 5 * time.Millisecond })
	changes := n.subscribe()
	for head := n.next(changes)[0].Val; head.Height < 10; {
		next := n.next(changes)[0].Val
		require.Equal(t, head.Key(), next.Parents())
		head = next
	}
	version, err := n.api.Version(n.ctx)
	require.NoError(t, err)
	require.Equal(t, lotus.Version{Version: "v1.36.0+lpseal-devnet", APIVersion: 131840, BlockDelay: 0, Agent: devnet.Agent}, version, "less than a second")
}

func TestRefusesABadConfiguration(t *testing.T) {
	t.Parallel()
	_, err := devnet.Start(t.Context(), devnet.Config{Miners: []devnet.Miner{
		{ID: 7, Size: 2 << 10}, {ID: 1000, Size: 3 << 10}, {ID: 1001, Size: 2 << 10, Control: []int{9}},
	}})
	require.ErrorContains(t, err, "miner t07: an ID must be used once and lie in 1000..999999")
	require.ErrorContains(t, err, "miner t01000: there are no sectors of 3072 bytes")
	require.ErrorContains(t, err, "miner t01001: there is no account 9, only 2")
	_, err = devnet.Start(t.Context(), devnet.Config{Listen: "127.0.0.1:x"})
	require.ErrorContains(t, err, "embedded node: listen")
}
