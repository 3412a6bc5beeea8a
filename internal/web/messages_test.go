package web_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/internal/web"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/jobstest"
)

// sealers is an embedded node, and a client that sends its messages for the fleet's sectors.
type sealers struct {
	*devnet.Node
	*chain.Client
	f *fleet
}

type noProofs struct{}

var errNoProof = errors.New("no proof is taken here")

func (noProofs) VerifyVanilla(context.Context, devnet.SealInfo, []byte) error { return errNoProof }
func (noProofs) VerifySNARK(context.Context, devnet.SealInfo, []byte) error   { return errNoProof }

func (f *fleet) onChain() *sealers {
	f.t.Helper()
	node, err := devnet.Start(f.ctx, devnet.Config{
		Verifier: noProofs{}, Logger: slog.New(slog.DiscardHandler), Miners: []devnet.Miner{devnet.DefaultMiner(miner, 32<<30)},
	})
	require.NoError(f.t, err)
	f.t.Cleanup(func() { require.NoError(f.t, node.Close()) })
	require.NoError(f.t, node.Advance(f.ctx, 10))
	client, err := chain.Dial(f.ctx, chain.Config{
		API: node.APIInfo(), Miners: []abi.ActorID{miner}, Journal: f.store.Journal(), HeadMaxAge: -1, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(f.t, err)
	f.t.Cleanup(client.Close)
	return &sealers{node, client, f}
}

// send pre-commits a sector and gives the message's CID.
func (s *sealers) send(id jobs.SectorID) string {
	s.f.t.Helper()
	head, err := s.Client.Head(s.f.ctx)
	require.NoError(s.f.t, err)
	ticket, err := s.Ticket(s.f.ctx, miner, head.Epoch-900)
	require.NoError(s.f.t, err)
	m := jobs.Meaning{Stage: jobs.PreCommit, ID: id, Fence: 1}
	seal := jobs.Seal{ID: id, Proof: abi.RegisteredSealProof_StackedDrg32GiBV1_1, Ticket: ticket, CommR: commitment("CommR", id)}
	sent, err := s.SendPreCommits(s.f.ctx, jobstest.Alone(m), []jobs.PreCommitRequest{{Meaning: m, Seal: seal, TicketEpoch: head.Epoch - 900, CC: true}})
	require.NoError(s.f.t, err)
	require.Nil(s.f.t, sent[0].Fault)
	return sent[0].Message
}

// key finds a message's place in the journal.
func (s *sealers) key(name string) string {
	s.f.t.Helper()
	found, err := chain.Ledger{Shared: s.f.store.Journal()}.Find(s.f.ctx, name)
	require.NoError(s.f.t, err)
	require.NotNil(s.f.t, found)
	return found.Key
}

// story sends the messages of a few sectors of the rack: settled, landed, replaced, canceled and waiting ones.
func (s *sealers) story() (names map[int]string) {
	s.f.t.Helper()
	names = map[int]string{}
	for _, n := range []int{5, 6, 8} {
		names[n] = s.send(sector(n))
	}
	require.NoError(s.f.t, s.Advance(s.f.ctx, 12))
	require.NoError(s.f.t, s.Tend(s.f.ctx))
	names[12] = s.send(sector(12))
	require.NoError(s.f.t, s.Advance(s.f.ctx, 2))
	for _, n := range []int{13, 14, 16} {
		names[n] = s.send(sector(n))
	}
	require.NoError(s.f.t, s.Misbehave(s.f.ctx, devnet.Misbehaviour{BaseFee: 2_000_000_000, BaseFeeEpochs: 1000}))
	require.NoError(s.f.t, s.Advance(s.f.ctx, 1))
	_, err := s.Replace(s.f.ctx, s.key(names[13]), devnet.FIL(1))
	require.NoError(s.f.t, err)
	_, err = s.Cancel(s.f.ctx, s.key(names[14]), big.Zero())
	require.NoError(s.f.t, err)
	return names
}

func TestMessagesPage(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	s := f.onChain()
	names := s.story()
	_, err := f.store.Wait(f.ctx, jobs.Group{Stage: jobs.Commit, Miner: miner, Proof: abi.RegisteredSealProof_StackedDrg32GiBV1_1}, sector(20), f.now.Add(3*time.Hour))
	require.NoError(t, err)
	v := f.serve(func(o *web.Options) { o.Node = s })

	got := v.page("/messages")
	require.Contains(t, got, "4 of 7 wait to land or to be believed; the head is at epoch 25")
	for _, n := range []int{5, 12, 14, 16} {
		require.Contains(t, got, names[n])
	}
	require.Regexp(t, `landed PreCommitSectorBatch2 s-t01000-12 3 ≤ 0\.\d+ FIL`, got)
	require.Regexp(t, `pushed 1 PreCommitSectorBatch2 s-t01000-13 4 ≤ 0\.\d+ FIL 1 24`, got)
	require.Regexp(t, `pushed canceled 1 PreCommitSectorBatch2 s-t01000-14 5`, got)
	require.Regexp(t, `confirmed PreCommitSectorBatch2 s-t01000-5 0 0\.\d+ FIL`, got)
	require.Regexp(t, `control \d+\.\d+ FIL yes [tf]1\w+`, got)
	require.Contains(t, got, "other software signs with it")
	require.Contains(t, got, "Enough is there.")

	require.Regexp(t, `commit/t01000/8 1 waiting in about (3h|2h59m)`, got)
	require.Regexp(t, `precommit/t01000/8 1 (closed|running) timeout b-\d{8}-`, got)

	own := v.page("/sectors/s-t01000-13")
	require.Contains(t, own, "Messages state age for nonce")
	require.Contains(t, own, "pushed 1 PreCommitSectorBatch2 s-t01000-13 4")
	require.NotContains(t, v.page("/sectors/s-t01000-28"), "Messages state")

	v = f.serve(func(o *web.Options) { o.Node = nobody{} })
	require.Contains(t, v.page("/"), "The node does not answer: nothing is sent, and nobody sees what lands. the node does not answer Messages and money")
	away := v.page("/messages")
	require.Contains(t, away, "the node does not say which have landed")
	require.Contains(t, away, "Nothing is known of money: the node does not answer")
	require.Contains(t, away, names[5])
	require.Contains(t, newFleet(t).serve(nil).page("/messages"), "No message was sent yet.")
}

// broke is a node whose miner has nothing.
type broke struct{ nobody }

func (broke) Treasury(context.Context, []abi.ActorID) (*jobs.Treasury, []*chain.Funds, error) {
	price := big.NewInt(1e18)
	each := map[jobs.Stage]abi.TokenAmount{jobs.PreCommit: price, jobs.Commit: price}
	a := jobs.Account{Available: big.Zero(), Senders: []string{"f1a"}, Deposit: price, Pledge: big.NewInt(3e18), Gas: each, MaxFee: each}
	f := &chain.Funds{Miner: "f01000", Available: big.NewInt(5e17), Trouble: "its key is elsewhere", Wallets: []chain.Wallet{{Roles: []string{"control"}, Key: "f1a", Balance: big.NewInt(2e18), Sends: true}}}
	return &jobs.Treasury{Network: jobs.Network{BlockDelay: 30 * time.Second, ChallengeDelay: 150}, Miners: map[abi.ActorID]jobs.Account{miner: a}, Senders: map[string]abi.TokenAmount{"f1a": big.NewInt(2e18)}},
		[]*chain.Funds{f}, nil
}

// What will be short is told on the first page, and to Prometheus.
func TestMoneyRunsShort(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.add(sector(1), time.Hour, false)
	f.until(sector(1), jobs.PreCommit, time.Minute)
	v := f.serve(func(o *web.Options) { o.Node = broke{} })
	require.Regexp(t, `Money of t01000 will be short by 3\.000000 FIL in about 1h15m`, v.page("/"))
	require.Contains(t, v.page("/"), "Nothing can be sent for f01000: its key is elsewhere")
	require.Contains(t, v.page("/messages"), "1 pre-commits and 1 commits: 1.000000 FIL of deposits, 2.000000 FIL more of pledge, 2.000000 FIL of gas")
	metrics := v.get("/metrics").body
	for _, line := range []string{
		`lpseal_funds_short_fil{miner="1000"} 3`, `lpseal_miner_available_fil{miner="1000"} 0.5`,
		`lpseal_wallet_fil{address="f1a",miner="1000",role="control"} 2`, `lpseal_funds_short_seconds{miner="1000"} `, "lpseal_messages_waiting 0",
	} {
		require.Contains(t, metrics, line)
	}
	require.NotContains(t, metrics, "lpseal_message_oldest_epochs 0", "nobody knows while the node is away")
}

func TestBrowserShowsMessages(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	s := f.onChain()
	s.story()
	v := f.serve(func(o *web.Options) { o.Node = s })
	ctx := browse(t, 1440, 900)
	open(t, ctx, v.url+"/messages")
	page, err := chromedp.Run(ctx, chromedp.Text("#main"))
	require.NoError(t, err)
	require.Contains(t, page, "PreCommitSectorBatch2")
	requireNothingRefused(t, ctx)
	picture(t, ctx, "messages.png")
	open(t, ctx, v.url+"/sectors/s-t01000-13")
	eventually(t, ctx, `document.querySelector("#main .messages").innerText.includes("pushed")`)
	requireNothingRefused(t, ctx)
}
