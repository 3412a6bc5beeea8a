package cli

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

// bridge is a Redis, an embedded node whose epochs the test makes, and a sender of messages.
type bridge struct {
	t      *testing.T
	node   *devnet.Node
	state  string // host.state_dir
	common []string
	*cluster
	sender *chain.Client
}

func newBridge(t *testing.T, sets ...string) *bridge {
	t.Helper()
	b := &bridge{t: t, state: t.TempDir()}
	cfg, err := devnetConfig("2KiB", []string{"t01000"}, verifier{})
	require.NoError(t, err)
	b.node, err = devnet.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.node.Close()) })
	require.NoError(t, b.node.Advance(t.Context(), 10))

	flags := map[string]string{
		"redis.url": redistest.StartMini(t).URL, "chain.api": b.node.APIInfo(), "host.id": "h1", "host.state_dir": b.state,
		"miners": "[{id: t01000}]", "log.level": "error",
	}
	for _, s := range sets {
		key, value, _ := strings.Cut(s, "=")
		flags[key] = value
	}
	for key, value := range flags {
		b.common = append(b.common, "--set", key+"="+value)
	}
	loaded, err := configs.Load(configs.Source{Alone: true, Flags: flags})
	require.NoError(t, err)
	b.cluster, err = (&app{err: &bytes.Buffer{}}).joinAs(t.Context(), &loaded.Config)
	require.NoError(t, err)
	t.Cleanup(b.close)
	sender, hangUp, err := b.dialSender(t.Context())
	require.NoError(t, err)
	t.Cleanup(hangUp)
	b.sender = sender
	return b
}

// run gives a command's exit code and what it printed.
func (b *bridge) run(args ...string) (int, string, string) {
	b.t.Helper()
	var out, errs bytes.Buffer
	code := Run(b.t.Context(), append(append([]string{"--alone"}, b.common...), args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// prints runs a command that must succeed.
func (b *bridge) prints(args ...string) string {
	b.t.Helper()
	code, out, errs := b.run(args...)
	require.Zero(b.t, code, errs)
	return out
}

func (b *bridge) advance(epochs int) {
	b.t.Helper()
	require.NoError(b.t, b.node.Advance(b.t.Context(), epochs))
}

// preCommit adds a sector to Redis and sends its pre-commit.
func (b *bridge) preCommit(number abi.SectorNumber) (id jobs.SectorID, name string) {
	b.t.Helper()
	const proof = abi.RegisteredSealProof_StackedDrg2KiBV1_1
	id = jobs.SectorID{Miner: 1000, Number: number}
	commD, err := jobs.CommD(proof, nil)
	require.NoError(b.t, err)
	require.NoError(b.t, b.store.Create(b.t.Context(), &jobs.Record{
		ID: id, Version: 1, Created: time.Now(), Proof: proof, CommD: commD, Stages: map[jobs.Stage]jobs.StageRecord{},
	}, "test"))
	raw := make([]byte, 32)
	raw[0] = byte(number)
	commR, err := commcid.ReplicaCommitmentV1ToCID(raw)
	require.NoError(b.t, err)
	head, err := b.sender.Head(b.t.Context())
	require.NoError(b.t, err)
	ticket, err := b.sender.Ticket(b.t.Context(), 1000, head.Epoch-900)
	require.NoError(b.t, err)
	m := jobs.Meaning{Stage: jobs.PreCommit, ID: id, Fence: 1}
	sent, err := b.sender.SendPreCommits(b.t.Context(), jobstest.Alone(m), []jobs.PreCommitRequest{{
		Meaning: m, Seal: jobs.Seal{ID: id, Proof: proof, Ticket: ticket, CommD: commD, CommR: commR}, TicketEpoch: head.Epoch - 900, CC: true,
	}})
	require.NoError(b.t, err)
	require.Nil(b.t, sent[0].Fault)
	return id, sent[0].Message
}

func TestMessages(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	id, name := b.preCommit(1)
	other, otherName := b.preCommit(2)

	list := b.prints("messages", "list")
	require.Regexp(t, `(?m)^pushed +- +0 +[tf]1\w+ +precommit/s-t01000-1/f1 +at most 0\.\d+ FIL +`+name+`$`, list)
	require.Contains(t, b.prints("messages", "show", otherName), "PreCommitSectorBatch2 of miner")
	require.Equal(t, b.prints("messages", "show", name), b.prints("messages", "show", "precommit/s-t01000-1/f1"))
	require.Equal(t, b.prints("messages", "show", name), b.prints("messages", "show", id.String()))
	shown := b.prints("sectors", "show", id.String())
	require.Contains(t, shown, name)
	require.Contains(t, shown, "MESSAGE")

	code, _, errs := b.run("messages", "cancel", id.String())
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "give --yes")
	require.Contains(t, b.prints("messages", "cancel", "--yes", id.String()), "nonce 0 is for a transfer of nothing now")
	require.Contains(t, b.prints("messages", "list"), "pushed, canceled")

	require.NoError(t, b.node.Misbehave(t.Context(), devnet.Misbehaviour{BaseFee: 3_000_000_000, BaseFeeEpochs: 1}))
	b.advance(1)
	code, _, errs = b.run("messages", "replace", otherName)
	require.Equal(t, exitRefused, code, errs)
	require.Contains(t, errs, "--max-fee")
	code, _, _ = b.run("messages", "replace", otherName, "--max-fee", "lots")
	require.Equal(t, exitUsage, code)
	require.Contains(t, b.prints("messages", "replace", otherName, "--max-fee", "1 FIL"), "nonce 1 is for bafy")

	for n := 0; !strings.Contains(b.prints("messages", "list"), "landed"); n++ {
		require.Less(t, n, 20)
		b.advance(1)
	}
	b.advance(10)
	reader, err := b.dial(t.Context()) // a head that was just asked for
	require.NoError(t, err)
	defer reader.Close()
	states, err := reader.Messages(t.Context(), []jobs.Meaning{{Stage: jobs.PreCommit, ID: id, Fence: 1}, {Stage: jobs.PreCommit, ID: other, Fence: 1}})
	require.NoError(t, err)
	require.Equal(t, jobs.MessageDropped, states[0].State)
	require.Equal(t, jobs.MessageConfirmed, states[1].State)
	require.NotContains(t, b.prints("messages", "list"), "bafy")
	require.Regexp(t, `(?m)^confirmed +- +1 .* \d+ nFIL|0\.\d+ FIL +bafy`, b.prints("messages", "list", "--all"))
	code, _, errs = b.run("messages", "replace", otherName)
	require.Equal(t, exitRefused, code, errs)
	require.Contains(t, b.prints("messages", "show", otherName), "exit code 0")

	for _, unknown := range []string{"bafynothing", "s-t01000-9"} {
		code, _, _ = b.run("messages", "show", unknown)
		require.Equal(t, exitNotFound, code, unknown)
	}
}

// TestAggregateIsShown: an operator sees that one proof stands for all members.
func TestAggregateIsShown(t *testing.T) {
	t.Parallel()
	m := chain.Tracked{Key: "message/b-1/1", Method: "ProveCommitSectors3", Members: make([]chain.Member, 5)}
	var plain, joined bytes.Buffer
	printMessage(&plain, &m)
	require.NotContains(t, plain.String(), "aggregate")
	m.Aggregate = true
	printMessage(&joined, &m)
	require.Regexp(t, `(?m)^  proof +one aggregate of 5 sectors$`, joined.String())
}

// What Redis lost is still told from the disk of this host, and a node that is away hides no message.
func TestMessagesAfterALoss(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	_, name := b.preCommit(1)
	require.NoError(t, b.node.Misbehave(t.Context(), devnet.Misbehaviour{FailRatio: 1}))
	require.Contains(t, b.prints("messages", "list"), name)
	require.NoError(t, b.node.Misbehave(t.Context(), devnet.Misbehaviour{}))

	require.NoError(t, b.rdb.FlushAll(t.Context()).Err())
	out := b.prints("messages", "list", "--json")
	var list messageList
	require.NoError(t, json.Unmarshal([]byte(out), &list))
	require.Len(t, list.Messages, 1)
	require.True(t, list.Messages[0].DiskOnly)
	require.Equal(t, name, list.Messages[0].CID)

	_, err := chain.ReadFileJournal(filepath.Join(b.state, "messages", "none.jsonl"))
	require.Error(t, err)
	disk, err := chain.ReadFileJournal(filepath.Join(b.state, "messages", "scheduler.jsonl"))
	require.NoError(t, err)
	_, err = disk.Swap(t.Context(), "x", nil, []byte("1"))
	require.Error(t, err)
}

// The balances say who may send and why others may not, and the forecast what the pipeline still needs.
func TestWalletBalances(t *testing.T) {
	t.Parallel()
	b := newBridge(t)
	out := b.prints("wallet", "balances")
	require.Regexp(t, `(?m)^miner [tf]01000 has .* FIL free; a sector's deposit is 0\.\d+ FIL, its pledge \d+ nFIL; base fee \d+ attoFIL$`, out)
	require.Regexp(t, `(?m)^control +\d+\.\d+ FIL +yes +yes +[tf]0\d+ +[tf]1`, out)
	require.Regexp(t, `(?m)^owner, worker +\d+\.\d+ FIL +no +yes +[tf]0\d+ +[tf]3\w+ +other software signs with it`, out)
	require.Contains(t, out, "no sector owes anything")
	b.preCommit(1)
	out = b.prints("wallet", "balances")
	require.Regexp(t, `1 pre-commits and 1 commits need 0\.\d+ FIL of deposits, 0 FIL more of pledge and 0\.\d+ FIL of gas: enough is there`, out)

	poor := newBridge(t, "chain.max_fee_commit=1000000 FIL", "chain.max_fee_message=1000000 FIL")
	poor.preCommit(1)
	var m money
	require.NoError(t, json.Unmarshal([]byte(poor.prints("wallet", "balances", "--json")), &m))
	require.Len(t, m.Outlook, 1)
	require.Positive(t, m.Outlook[0].Short.Sign())
	require.Contains(t, poor.prints("wallet", "balances"), "SHORT by ")

	nobody := newBridge(t, "chain.sender.address=t01000")
	out = nobody.prints("wallet", "balances")
	require.Contains(t, out, "nothing can be sent: none of the senders")
	require.Contains(t, out, "it is not chain.sender.address")
	code, _, errs := b.run("wallet", "balances", "--set", "miners=[]")
	require.Equal(t, exitUsage, code, errs)
}
