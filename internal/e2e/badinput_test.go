package e2e

import (
	"bytes"

	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/filecoin-project/go-commp-utils/v2"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/internal/files"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/scheduler"
)

// Bad input, and the tests that give it. Those of this package give it to whole
// processes, and see that a sector is held or waits, that the complaint names the
// thing and the remedy, and that nothing is lost: the remedy makes it go on.
//
//	piece shorter, longer, other than its CID    TestBadPieces; files TestLocalPieces, TestPiecesFromURLs; native treed_test.go
//	URL that answers 500 or stalls               files TestPiecesFromURLs; scheduler TestEveryFaultOfEveryStageHasItsRemedy
//	URL to a private address, or redirected      TestBadPieces; files TestPrivateAddressesAreRefused, TestRedirectsAreCheckedWhereTheyConnect
//	folder without space                         TestNoSpace; files TestADiskThatFillsUp; scheduler TestSpaceIsReservedBeforePlacingAndWaitedFor
//	folder without permission, no folder         TestRefusedAtStart; files TestAFolderWithoutPermission, TestPathsThatCannotBeUsed
//	folder on a network file system              files TestPathsThatCannotBeUsed
//	wrong network, wrong miner                   TestRefusedAtStart; chain TestDialRefuses
//	native c2 on a foreign network               TestNativeProverOnAForeignNetwork; scheduler TestNativeC2OnAForeignNetworkIsHeldBeforeAnyDeposit
//	Redis with eviction, too old, down           TestRefusedAtStart, TestRedisDiesAndComesBack; sectors check_test.go, outage_test.go
//	instance name, GPU, sealing path used twice  TestRefusedAtStart; sectors workers_test.go; worker TestTwoOfOneName
//	unknown configuration keys                   TestRefusedAtStart; configs TestEveryErrorAtOnce
//	parameters missing, cut, of wrong digest     params TestReadySaysWhatIsWrong; cli TestParametersAreLookedAtBeforeAnythingIsSealed; filcrypto TestBadParametersAreNotUsed, TestLibraryWithoutParameters
//	test parameters on a public network          params TestGeneratedParametersAreMarked; jobs TestNothingIsSealedOrPaidThatCannotBeProven; worker TestLaneThatProvesNothingThatCounts
//	library built for another CPU                filcrypto TestLibraryForAnotherCPU; worker TestAWorldThatCannotBeMade
//	proof type and size that disagree            provertest BadInput; cli usage.txtar
//	cache of another ticket or sector            provertest BadInput; files TestBindToANewTicketKeepsOnlyTreeD, TestAFolderNobodyBoundIsWiped; jobs TestAFailedSelfCheckMakesNoReplica
//	C1 file cut short, of another seed, zero     filcrypto TestC1OutputsThatAreNotOfTheSeal; files TestC1
//	sector number taken on chain                 TestNumberTakenOnChain; scheduler TestANumberTakenOnChainMeanwhileHoldsTheSector; sectors numbers_test.go

// host starts a cluster's one worker and scheduler.
func (c *cluster) host(more string) (w, s *daemon) {
	c.t.Helper()
	w = c.worker(settings{host: "h1", instance: "main", lanes: sealing + ", {class: gpu, gpu: a, width: 1}", more: more, paths: []string{
		c.path("h1", "both", files.PathOptions{CanSeal: true, CanStore: true}),
	}})
	s = c.scheduler("s1")
	c.alive(2)
	return w, s
}

// connect gives a client of the cluster's node, with a message log of its own.
func (c *cluster) connect(cfg chain.Config) *chain.Client {
	c.t.Helper()
	cfg.API = c.api
	node, err := chain.Dial(c.t.Context(), cfg)
	require.NoError(c.t, err)
	c.t.Cleanup(node.Close)
	return node
}

// add adds a sector past the command line, which computes CommP itself.
func (c *cluster) add(pieces ...jobs.Piece) jobs.SectorID {
	c.t.Helper()
	s, err := scheduler.New(scheduler.Options{Store: c.store, Queues: c.queues, Chain: c.connect(chain.Config{}), Name: "e2e"})
	require.NoError(c.t, err)
	made, err := s.Add(c.t.Context(), scheduler.Request{Miner: 1000, Pieces: pieces}, "e2e")
	require.NoError(c.t, err)
	return made[0].ID
}

// pieceOf is the piece of a file.
func pieceOf(t *testing.T, file, source string) jobs.Piece {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	size := abi.PaddedPieceSize(1024)
	id, err := commp.GeneratePieceCIDFromFile(abi.RegisteredSealProof_StackedDrg2KiBV1_1, bytes.NewReader(append(b, make([]byte, int(size.Unpadded())-len(b))...)), size.Unpadded())
	require.NoError(t, err)
	return jobs.Piece{CID: id, Size: size, RawSize: uint64(len(b)), Source: source}
}

// A piece that is not what its CID says holds its sector; once the source is mended
// and the sector released, it is sealed.
func TestBadPieces(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	worker, _ := c.host("")
	type bad struct {
		spoil func([]byte) []byte
		says  string
	}
	ids, heal := map[string]jobs.SectorID{}, map[string][]byte{}
	says := map[jobs.SectorID]string{}
	for name, b := range map[string]bad{
		"shorter":   {func(b []byte) []byte { return b[:900] }, "900"},
		"longer":    {func(b []byte) []byte { return append(b, 1) }, "1001"},
		"different": {func(b []byte) []byte { return append([]byte{^b[0]}, b[1:]...) }, ""},
	} {
		file := c.data(name, 1000)
		piece := pieceOf(t, file, file)
		good, err := os.ReadFile(file)
		require.NoError(t, err)
		heal[file] = good
		require.NoError(t, os.WriteFile(file, b.spoil(bytes.Clone(good)), 0o600))
		ids[name] = c.add(piece)
		says[ids[name]] = b.says + "|" + piece.CID.String()
	}
	private := c.data("private", 1000)
	web := httptest.NewServer(http.FileServer(http.Dir(c.dir)))
	t.Cleanup(web.Close)
	ids["private"] = c.add(pieceOf(t, private, web.URL+"/private"))
	says[ids["private"]] = "127.0.0.1 is not a public address|worker.pieces.allow_private"

	for name, id := range ids {
		c.until(name+" to be held", func() bool { return c.record(id).Hold != nil })
		for _, part := range strings.Split(says[id], "|") {
			require.Contains(t, c.lpseal("sectors", "explain", id.String()), part, name)
		}
		require.Equal(t, jobs.TreeD, c.record(id).Hold.Stage)
	}
	for file, good := range heal {
		require.NoError(t, os.WriteFile(file, good, 0o600))
	}
	require.NoError(t, worker.stop(syscall.SIGTERM))
	text, err := os.ReadFile(c.file("h1-main"))
	require.NoError(t, err)
	text = bytes.Replace(text, []byte("  drain:"), []byte("  pieces: {allow_private: true}\n  drain:"), 1)
	require.NoError(t, os.WriteFile(c.file("h1-main"), text, 0o600))
	c.start("h1-again", nil, "worker", "--config", c.file("h1-main"))
	for _, id := range ids {
		c.lpseal("sectors", "release", id.String())
	}
	for name, id := range ids {
		c.until(name+" to be committed", func() bool { return c.record(id).Outcome == jobs.Committed })
		c.sentOnce(id, 1)
	}
}

// A sector for which no path has room waits, and goes on when there is some.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	small := filepath.Join(c.dir, "h1", "small")
	c.lpseal("storage", "attach", "--init", "--seal", "--max-storage", "10KiB", small)
	s := settings{host: "h1", instance: "main", lanes: sealing + ", {class: gpu, gpu: a, width: 1}", paths: []string{small}}
	w := c.worker(s)
	c.scheduler("s1")
	c.alive(2)
	id := strings.TrimSpace(c.lpseal("sectors", "pledge"))
	c.until("the sector to wait", func() bool { return strings.Contains(c.lpseal("sectors", "explain", id), "waits for space") })
	require.Contains(t, c.lpseal("sectors", "explain", id), "a sector needs 30.4 KiB")

	require.NoError(t, w.stop(syscall.SIGTERM))
	s.paths = append(s.paths, c.path("h1", "large", files.PathOptions{CanSeal: true, CanStore: true}))
	c.worker(s)
	c.until("the end", func() bool { return strings.Contains(c.lpseal("sectors", "list"), "1 committed") })
}

// Somebody else takes our number on chain while we seal: nothing of ours is sent,
// and no file is deleted.
func TestNumberTakenOnChain(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.host("")
	id := c.seal(jobs.RowOf(jobs.SDR))
	c.interrupt(id)
	other, journal := []byte("somebody else's replica, 32 bytes"), filepath.Join(c.dir, "other.jsonl")
	log, err := chain.OpenFileJournal(journal)
	require.NoError(t, err)
	defer log.Close()
	thief := c.connect(chain.Config{Journal: log, Miners: []abi.ActorID{1000}, Shared: true, Confidence: 2})
	head, err := thief.Head(t.Context())
	require.NoError(t, err)
	ticket, err := thief.Ticket(t.Context(), 1000, head.Epoch-900)
	require.NoError(t, err)
	proof := abi.RegisteredSealProof_StackedDrg2KiBV1_1
	_, err = thief.SendPreCommits(t.Context(), "b-thief", []jobs.PreCommitRequest{{
		Meaning: jobs.Meaning{Stage: jobs.PreCommit, ID: id, Fence: 1}, CC: true, TicketEpoch: head.Epoch - 900,
		Seal: jobs.Seal{ID: id, Proof: proof, Ticket: ticket, CommR: replica(t, other[:32])},
	}})
	require.NoError(t, err)
	c.until("the other pre-commit", func() bool {
		on, err := thief.OnChain(t.Context(), id)
		require.NoError(t, err)
		return on.PreCommit != nil
	})
	c.lpseal("sectors", "release", id.String())
	c.until("the sector to be held", func() bool {
		h := c.record(id).Hold
		return h != nil && h.Class == jobs.Rejected
	})
	said := c.lpseal("sectors", "explain", id.String())
	require.Contains(t, said, replica(t, other[:32]).String(), "whose it is")
	require.Contains(t, said, "all files are kept")
	require.Len(t, c.messages()[jobs.PreCommit][id], 1, "the thief's")
	sealed, err := os.Stat(filepath.Join(c.dir, "h1", "both", "sealed", id.String()))
	require.NoError(t, err)
	require.EqualValues(t, 2048, sealed.Size())
}

func replica(t *testing.T, commR []byte) cid.Cid {
	t.Helper()
	id, err := commcid.ReplicaCommitmentV1ToCID(commR)
	require.NoError(t, err)
	return id
}

// A node that says it is not the embedded one would refuse native proofs: sectors
// are held before anything is sealed or paid.
func TestNativeProverOnAForeignNetwork(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	endpoints, err := chain.ParseAPIInfo(c.api)
	require.NoError(t, err)
	to, err := url.Parse(endpoints[0].URL)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to.Host})
	proxy.ModifyResponse = func(res *http.Response) error {
		if res.StatusCode != http.StatusOK {
			return nil // an upgrade to WebSocket
		}
		b, err := io.ReadAll(res.Body)
		b = bytes.ReplaceAll(b, []byte(`"Agent":"`+chain.EmbeddedAgent+`"`), []byte(`"Agent":"lotus"`))
		res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		res.Header.Set("Content-Length", strconv.Itoa(len(b)))
		return err
	}
	foreign := httptest.NewServer(proxy)
	t.Cleanup(foreign.Close)
	c.api = foreign.URL
	c.config("operator", settings{host: "h1", instance: "operator"})
	c.host("")
	id, err := jobs.ParseSectorID(strings.TrimSpace(c.lpseal("sectors", "pledge")))
	require.NoError(t, err)
	c.until("the sector to be held", func() bool { return c.record(id).Hold != nil })
	said := c.lpseal("sectors", "explain", id.String())
	require.Contains(t, said, `network "lpseal-devnet" would refuse its proofs`)
	require.Contains(t, said, "give a gpu lane the prover filcrypto, then release the sector")
	require.Empty(t, c.record(id).Home, "nothing was sealed")
	require.Empty(t, c.messages()[jobs.PreCommit], "nothing was paid")
}

// Redis is killed while a sector is sealed, and comes back: nobody has died of it,
// and nothing is lost.
func TestRedisDiesAndComesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.host("")
	id := c.seal(jobs.RowOf(jobs.SDR))
	c.until("sdr to begin", func() bool { return c.record(id).Stage(jobs.SDR).Claim > 0 })
	c.redis.Kill()
	_, complaint, err := c.try("sectors", "list")
	require.Equal(t, 5, exitCode(err), "Redis is down: %s", complaint)
	require.Contains(t, complaint, "hint: start Redis")
	c.redis.Restart()
	c.until("the sector's end", func() bool {
		r, err := c.store.Load(t.Context(), id)
		return err == nil && r.Outcome == jobs.Committed
	})
	c.sentOnce(id, 1)
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}
