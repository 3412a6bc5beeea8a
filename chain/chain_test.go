package chain_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

func TestMain(m *testing.M) {
	lotus.PrintAddressesOf("localnet")
	// Each check plays a whole network: rapid's own 100 of them would take the suite's time. -rapid.checks still counts.
	if err := flag.Set("rapid.checks", "12"); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}

const minerID = abi.ActorID(1000)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// goodProof is the only proof that the tests' verifier takes.
var goodProof = append([]byte("good"), make([]byte, 188)...)

type verifier struct{}

func (verifier) VerifyVanilla(context.Context, devnet.SealInfo, []byte) error {
	return errors.New("these tests offer no vanilla proof")
}

func (verifier) VerifySNARK(_ context.Context, _ devnet.SealInfo, proof []byte) error {
	if string(proof[:4]) != "good" {
		return errors.New("bad proof")
	}
	return nil
}

// startNode runs an embedded node whose epochs the test makes, with a few of them behind it.
func startNode(t testing.TB, change ...func(*devnet.Config)) *devnet.Node {
	t.Helper()
	cfg := devnet.Config{Verifier: verifier{}, Logger: quiet}
	for _, c := range change {
		c(&cfg)
	}
	node, err := devnet.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	advance(t, node, 10)
	return node
}

func advance(t testing.TB, node *devnet.Node, epochs int) {
	t.Helper()
	require.NoError(t, node.Advance(t.Context(), epochs))
}

func openJournal(t testing.TB) *chain.FileJournal {
	t.Helper()
	j, err := chain.OpenFileJournal(filepath.Join(t.TempDir(), "messages"))
	require.NoError(t, err)
	t.Cleanup(j.Close)
	return j
}

// dial connects with a head that is asked for every time: tests make epochs by hand.
func dial(t testing.TB, node *devnet.Node, change ...func(*chain.Config)) *chain.Client {
	t.Helper()
	cfg := chain.Config{API: node.APIInfo(), Miners: []abi.ActorID{minerID}, HeadMaxAge: -1, Backoff: time.Millisecond, Log: quiet}
	for _, c := range change {
		c(&cfg)
	}
	c, err := chain.Dial(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func withJournal(j chain.Journal) func(*chain.Config) { return func(c *chain.Config) { c.Journal = j } }

func shared(c *chain.Config) { c.Shared = true }

// preCommitOf is the request for a CC sector whose ticket is the current one.
func preCommitOf(t testing.TB, c *chain.Client, number abi.SectorNumber) jobs.PreCommitRequest {
	t.Helper()
	head, err := c.Head(t.Context())
	require.NoError(t, err)
	epoch := head.Epoch - 900
	ticket, err := c.Ticket(t.Context(), minerID, epoch)
	require.NoError(t, err)
	id := jobs.SectorID{Miner: minerID, Number: number}
	return jobs.PreCommitRequest{
		Meaning:     jobs.Meaning{Stage: jobs.PreCommit, ID: id, Fence: 1},
		Seal:        jobs.Seal{ID: id, Proof: abi.RegisteredSealProof_StackedDrg2KiBV1_1, Ticket: ticket, CommR: commR(t, byte(number))},
		TicketEpoch: epoch,
		CC:          true,
	}
}

func commR(t testing.TB, b byte) cid.Cid {
	t.Helper()
	raw := make([]byte, 32)
	raw[0] = b
	c, err := commcid.ReplicaCommitmentV1ToCID(raw)
	require.NoError(t, err)
	return c
}

func commitOf(id jobs.SectorID) jobs.CommitRequest {
	return jobs.CommitRequest{Meaning: jobs.Meaning{Stage: jobs.Commit, ID: id, Fence: 1}, Seal: jobs.Seal{ID: id}, Proof: goodProof}
}

// message gives the state of one message.
func message(t *testing.T, c *chain.Client, m jobs.Meaning) jobs.Message {
	t.Helper()
	all, err := c.Messages(t.Context(), []jobs.Meaning{m})
	require.NoError(t, err)
	require.Len(t, all, 1)
	got := all[0]
	require.Equal(t, got.State.Terminal(), got.Epoch > 0, "the epoch of what is settled, and of nothing else")
	got.Epoch = 0 // which one follows from what a test did before
	return got
}

func requireClass(t *testing.T, want jobs.FaultClass, err error) {
	t.Helper()
	var f *jobs.Fault
	require.ErrorAs(t, err, &f)
	require.Equal(t, want, f.Class, "%s", err)
}

// used counts the messages of a key that landed.
func used(t *testing.T, node *devnet.Node, key address.Address) uint64 {
	t.Helper()
	return actorNonce(t, node, key)
}

var (
	controlKey = devnet.Secp256k1Key("control").Address() // dedicated: our own nonces
	ownerKey   = devnet.BLSKey("owner").Address()         // worker too: shared with other software
)

// One sector from nothing to a committed sector, with both kinds of senders, and what the chain client says at each step.
func TestPipeline(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mode   func(*chain.Config)
		sender address.Address
	}{
		"own nonces": {func(*chain.Config) {}, controlKey},
		"shared key": {func(c *chain.Config) { shared(c); c.Senders = []address.Address{ownerKey} }, ownerKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := startNode(t)
			c := dial(t, node, withJournal(openJournal(t)), tc.mode)
			ctx := t.Context()

			network, err := c.Network(ctx)
			require.NoError(t, err)
			require.Equal(t, abi.ChainEpoch(10), network.ChallengeDelay, "asked, never assumed")
			require.True(t, network.Embedded)
			m, err := c.Miner(ctx, minerID)
			require.NoError(t, err)
			require.Equal(t, jobs.Miner{SectorSize: 2 << 10, SealProof: abi.RegisteredSealProof_StackedDrg2KiBV1_1}, m)

			pre := preCommitOf(t, c, 42)
			require.Equal(t, jobs.MessageNone, message(t, c, pre.Meaning).State)
			name, err := sendPreCommit(ctx, c, pre)
			require.NoError(t, err)
			require.Equal(t, jobs.Message{CID: name, State: jobs.MessagePushed}, message(t, c, pre.Meaning))
			again, err := sendPreCommit(ctx, c, pre)
			require.NoError(t, err)
			require.Equal(t, name, again, "a meaning is sent once")

			advance(t, node, 2)
			require.Equal(t, jobs.MessageLanded, message(t, c, pre.Meaning).State)
			on, err := c.OnChain(ctx, pre.Seal.ID)
			require.NoError(t, err)
			require.Equal(t, jobs.OnChain{AsOf: node.Head().Height - 5}, on, "not believed before confidence")
			advance(t, node, 5)
			require.Equal(t, jobs.Message{CID: name, State: jobs.MessageConfirmed}, message(t, c, pre.Meaning))
			settled, err := c.Messages(ctx, []jobs.Meaning{pre.Meaning})
			require.NoError(t, err)
			on, err = c.OnChain(ctx, pre.Seal.ID)
			require.GreaterOrEqual(t, on.AsOf, settled[0].Epoch, "its effect is shown as of its epoch")
			require.NoError(t, err)
			require.Equal(t, &jobs.OnChainPreCommit{Epoch: 11, CommR: pre.Seal.CommR, Expires: 11 + 30*2880 + 10, TicketEpoch: pre.TicketEpoch}, on.PreCommit)

			advance(t, node, 10)
			seed, err := c.Seed(ctx, minerID, on.PreCommit.Epoch+network.ChallengeDelay)
			require.NoError(t, err)
			require.Len(t, seed, 32)
			commit := commitOf(pre.Seal.ID)
			name, err = sendCommit(ctx, c, commit)
			require.NoError(t, err)
			advance(t, node, 7)
			require.Equal(t, jobs.Message{CID: name, State: jobs.MessageConfirmed}, message(t, c, commit.Meaning))
			on, err = c.OnChain(ctx, pre.Seal.ID)
			require.NoError(t, err)
			require.NotNil(t, on.Sector)
			require.Nil(t, on.PreCommit)
			require.Equal(t, pre.Seal.CommR, on.Sector.CommR)
			allocated, err := c.Allocated(ctx, minerID)
			require.NoError(t, err)
			set, err := allocated.IsSet(42)
			require.NoError(t, err)
			require.True(t, set)
			require.EqualValues(t, 2, used(t, node, tc.sender), "messages of the sender")
		})
	}
}

// crash ends a process at a step: everything it tries afterwards fails, as if it were gone.
type crash struct {
	mu    sync.Mutex
	steps int // left before the end
	after bool
	dead  bool
}

var errCrashed = errors.New("crashed")

// step runs one thing that touches the world, or does not, or runs it and dies before it can tell.
func (c *crash) step(do func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return errCrashed
	}
	c.steps--
	c.dead = c.steps < 0
	if !c.dead || c.after {
		do()
	}
	if c.dead {
		return errCrashed
	}
	return nil
}

type crashingJournal struct {
	chain.Journal
	crash *crash
}

func (j crashingJournal) Swap(ctx context.Context, key string, old, next []byte) (ok bool, err error) {
	if crashed := j.crash.step(func() { ok, err = j.Journal.Swap(ctx, key, old, next) }); crashed != nil {
		return false, crashed
	}
	return ok, err
}

func (j crashingJournal) Delete(ctx context.Context, key string, old []byte) (ok bool, err error) {
	if crashed := j.crash.step(func() { ok, err = j.Journal.Delete(ctx, key, old) }); crashed != nil {
		return false, crashed
	}
	return ok, err
}

// crashingProxy stands before the node and dies with the process.
func crashingProxy(t *testing.T, node *devnet.Node, c *crash) string { return proxy(t, node, c.step) }

// proxy stands before the node and lets step decide about each call: with an error, the connection ends without an answer.
func proxy(t *testing.T, node *devnet.Node, step func(do func()) error) string {
	t.Helper()
	reverse := reverseProxy(t, node)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		if step(func() { reverse.ServeHTTP(answer, r) }) != nil {
			panic(http.ErrAbortHandler)
		}
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()) // a lost answer is what the client must bear
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// altered stands before the node and changes its answers.
func altered(t *testing.T, node *devnet.Node, change func(asked, answer []byte) []byte) string {
	t.Helper()
	reverse := reverseProxy(t, node)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(asked))
		answer := httptest.NewRecorder()
		reverse.ServeHTTP(answer, r)
		w.WriteHeader(answer.Code)
		_, _ = w.Write(change(asked, answer.Body.Bytes()))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// reverseProxy hands every request to the node.
func reverseProxy(t *testing.T, node *devnet.Node) http.Handler {
	t.Helper()
	target, err := url.Parse(node.URL())
	require.NoError(t, err)
	return httputil.NewSingleHostReverseProxy(&url.URL{Scheme: target.Scheme, Host: target.Host})
}

// Two schedulers that send the same meanings at the same time send each once, with nonces without gaps.
func TestTwoSendersAtOnce(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	journal := openJournal(t)
	a, b := dial(t, node, withJournal(journal)), dial(t, node, withJournal(journal))
	const sectors = 4
	var wg sync.WaitGroup
	var requests []jobs.PreCommitRequest
	for n := range sectors {
		requests = append(requests, preCommitOf(t, a, abi.SectorNumber(n+1)))
	}
	names := make([][2]string, sectors)
	for n, r := range requests {
		for i, c := range []*chain.Client{a, b} {
			wg.Go(func() {
				name, err := sendPreCommit(t.Context(), c, r)
				require.NoError(t, err)
				names[n][i] = name
			})
		}
	}
	wg.Wait()
	advance(t, node, 8)
	for n, r := range requests {
		require.Equal(t, names[n][0], names[n][1])
		require.Equal(t, jobs.MessageConfirmed, message(t, b, r.Meaning).State)
	}
	require.EqualValues(t, sectors, used(t, node, controlKey))
}
