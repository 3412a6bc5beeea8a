package chain_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// script is a node that answers HTTP as a test says.
type script struct {
	// answer gives the status and, for 200, the result of a method's nth call.
	answer func(method string, n int) (int, any)
	calls  map[string]*atomic.Int64
	url    string
}

func startScript(t *testing.T, answer func(method string, n int) (int, any)) *script {
	t.Helper()
	s := &script{answer: answer, calls: map[string]*atomic.Int64{}}
	for _, m := range []string{"Version", "StateGetNetworkParams", "StateNetworkVersion", "ChainHead", "LpsealOfferVanilla"} {
		s.calls[m] = new(atomic.Int64)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			ID     any
			Method string
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		method := strings.TrimPrefix(request.Method, "Filecoin.")
		status, result := s.answer(method, int(s.calls[method].Add(1)))
		if status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
		if hang, ok := result.(chan struct{}); ok {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": request.ID, "result": result}); err != nil {
			t.Errorf("answer %s: %v", method, err)
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// healthy answers what Dial asks.
func healthy(method string, _ int) (int, any) {
	switch method {
	case "Version":
		return 200, map[string]any{"Version": "v1.36", "APIVersion": 1, "BlockDelay": 30, "Agent": "lotus"}
	case "StateGetNetworkParams":
		return 200, map[string]any{"NetworkName": "mainnet", "BlockDelaySecs": 30, "PreCommitChallengeDelay": 150, "ConsensusMinerMinPower": "0"}
	case "StateNetworkVersion":
		return 200, 28
	case "ChainHead":
		return 200, map[string]any{
			"Cids":   []any{map[string]any{"/": "bafy2bzacea56jevjerjkedgvjoods6e7emmkr26gosjcsqlrlq6lhhntjjak4"}},
			"Blocks": []any{map[string]any{"ParentBaseFee": "100"}}, "Height": 77,
		}
	}
	return 500, nil
}

func dialScript(t *testing.T, change func(*chain.Config), nodes ...*script) (*chain.Client, error) {
	t.Helper()
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.url)
	}
	cfg := chain.Config{API: strings.Join(urls, ","), HeadMaxAge: -1, Backoff: time.Millisecond, Log: quiet}
	if change != nil {
		change(&cfg)
	}
	c, err := chain.Dial(t.Context(), cfg)
	if err == nil {
		t.Cleanup(c.Close)
	}
	return c, err
}

func TestReadsAreTriedAgain(t *testing.T) {
	t.Parallel()
	s := startScript(t, func(method string, n int) (int, any) {
		if method == "ChainHead" && n <= 2 {
			return http.StatusBadGateway, nil
		}
		return healthy(method, n)
	})
	c, err := dialScript(t, nil, s)
	require.NoError(t, err)
	head, err := c.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, abi.ChainEpoch(77), head.Epoch)
	require.EqualValues(t, 3, c.Calls()["ChainHead"], "calls are counted by method")
	network, err := c.Network(t.Context())
	require.NoError(t, err)
	require.Equal(t, jobs.Network{Name: "mainnet", Version: 28, BlockDelay: 30 * time.Second, ChallengeDelay: 150}, network)
}

func TestUnreachableIsTransient(t *testing.T) {
	t.Parallel()
	for status, text := range map[int]string{502: "502 Bad Gateway", 429: "429 Too Many Requests", 401: "401 Unauthorized; check the API token"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			s := startScript(t, func(method string, n int) (int, any) {
				if method == "ChainHead" {
					return status, nil
				}
				return healthy(method, n)
			})
			c, err := dialScript(t, nil, s)
			require.NoError(t, err)
			_, err = c.Head(t.Context())
			requireClass(t, jobs.Transient, err)
			require.EqualError(t, err, "transient: node "+s.url+"/rpc/v1: ChainHead: http status "+text)
			require.EqualValues(t, 4, s.calls["ChainHead"].Load(), "then the poller's turn comes")
		})
	}
}

func TestEveryCallHasADeadline(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	s := startScript(t, func(method string, n int) (int, any) {
		if method == "ChainHead" {
			return 200, hang
		}
		return healthy(method, n)
	})
	c, err := dialScript(t, func(c *chain.Config) { c.Timeout = 300 * time.Millisecond }, s)
	require.NoError(t, err)
	_, err = c.Head(t.Context())
	requireClass(t, jobs.Transient, err)
	require.EqualError(t, err, "transient: node "+s.url+"/rpc/v1: ChainHead: no answer within 300ms")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Head(ctx)
	require.ErrorIs(t, err, context.Canceled, "the caller's own end is no fault of the node")

	patient, err := dialScript(t, func(*chain.Config) {}, s)
	require.NoError(t, err)
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = patient.Head(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "node "+s.url+"/rpc/v1: ChainHead: no answer so far")
}

func TestNextNodeAnswers(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	first := startScript(t, func(method string, n int) (int, any) {
		if down.Load() {
			return http.StatusServiceUnavailable, nil
		}
		return healthy(method, n)
	})
	second := startScript(t, healthy)
	c, err := dialScript(t, nil, first, second)
	require.NoError(t, err)
	down.Store(true)
	_, err = c.Head(t.Context())
	require.NoError(t, err)
	_, err = c.Head(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, first.calls["ChainHead"].Load(), "the one that answered is asked first")
	require.EqualValues(t, 2, second.calls["ChainHead"].Load())
}

// TestNoNodeAnswers names each of them, what it was asked and what came of it, once.
func TestNoNodeAnswers(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	broken := func(status int) *script {
		return startScript(t, func(method string, n int) (int, any) {
			if down.Load() {
				return status, nil
			}
			return healthy(method, n)
		})
	}
	first, second := broken(502), broken(503)
	c, err := dialScript(t, nil, first, second)
	require.NoError(t, err)
	down.Store(true)
	_, err = c.Head(t.Context())
	requireClass(t, jobs.Transient, err)
	require.EqualError(t, err, "transient: no node answers: node "+first.url+"/rpc/v1: ChainHead: http status 502 Bad Gateway; node "+second.url+"/rpc/v1: ChainHead: http status 503 Service Unavailable")

	_, err = chain.Dial(t.Context(), chain.Config{API: "http://127.0.0.1:1", Backoff: time.Millisecond, Log: quiet})
	requireClass(t, jobs.Transient, err)
	require.EqualError(t, err, "transient: node http://127.0.0.1:1/rpc/v1: Version: connection refused")
}

func TestDialRefuses(t *testing.T) {
	t.Parallel()
	named := func(name string, version int) *script {
		return startScript(t, func(method string, n int) (int, any) {
			status, result := healthy(method, n)
			switch method {
			case "StateGetNetworkParams":
				result.(map[string]any)["NetworkName"] = name
			case "StateNetworkVersion":
				result = version
			}
			return status, result
		})
	}
	_, err := dialScript(t, func(c *chain.Config) { c.Network = "calibrationnet" }, named("mainnet", 28))
	requireClass(t, jobs.Rejected, err)
	require.ErrorContains(t, err, "calibrationnet")
	_, err = dialScript(t, nil, named("mainnet", 28), named("calibrationnet", 28))
	requireClass(t, jobs.Rejected, err)
	_, err = dialScript(t, nil, named("mainnet", 21))
	requireClass(t, jobs.Rejected, err)
	_, err = dialScript(t, nil, startScript(t, func(string, int) (int, any) { return 503, nil }))
	requireClass(t, jobs.Transient, err)

	node := startNode(t)
	_, err = chain.Dial(t.Context(), chain.Config{API: node.APIInfo(), Miners: []abi.ActorID{4242}, Log: quiet})
	requireClass(t, jobs.Rejected, err)
	require.ErrorContains(t, err, "04242")
}

// The same client over a WebSocket, with a token, through slow and lost connections.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	node := startNode(t, func(c *devnet.Config) { c.Token = "sesame" })
	ws := func(token string) func(*chain.Config) {
		return func(c *chain.Config) {
			c.API = token + ":" + strings.Replace(node.URL(), "http", "ws", 1)
			c.Timeout = 400 * time.Millisecond
		}
	}
	_, err := chain.Dial(t.Context(), func() chain.Config { var c chain.Config; ws("wrong")(&c); return c }())
	requireClass(t, jobs.Transient, err)
	require.NotContains(t, err.Error(), "wrong:")

	c := dial(t, node, ws("sesame"))
	_, err = c.Head(t.Context())
	require.NoError(t, err)
	require.NoError(t, node.Misbehave(t.Context(), devnet.Misbehaviour{Delay: 5 * time.Second}))
	begun := time.Now()
	_, err = c.Head(t.Context())
	requireClass(t, jobs.Transient, err)
	require.Less(t, time.Since(begun), 4*time.Second, "a deadline holds though go-jsonrpc waits for the answer")
}

// stuckNode answers who it is, and no call about its chain: it waits for a lock that nobody lets go.
type stuckNode struct{ locked chan struct{} }

func (stuckNode) Version(context.Context) (lotus.Version, error) {
	return lotus.Version{Agent: "lotus"}, nil
}

func (stuckNode) StateGetNetworkParams(context.Context) (*lotus.NetworkParams, error) {
	return &lotus.NetworkParams{NetworkName: "mainnet", BlockDelaySecs: 30, ConsensusMinerMinPower: big.Zero()}, nil
}

func (stuckNode) StateNetworkVersion(context.Context, lotus.TipSetKey) (network.Version, error) {
	return network.Version28, nil
}

func (n stuckNode) ChainHead(context.Context) (*lotus.TipSet, error) {
	<-n.locked
	return nil, errors.New("too late")
}

// A node that never answers over a WebSocket, though it keeps that alive, must not have a goroutine for each call: calls are made for as long as it is stuck.
// The test counts goroutines, so it runs alone.
func TestUnansweredCallsEnd(t *testing.T) {
	n := stuckNode{make(chan struct{})}
	sockets := jsonrpc.NewServer()
	sockets.Register(lotus.Namespace, n)
	server := httptest.NewServer(sockets)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(n.locked) })
	c, err := chain.Dial(t.Context(), chain.Config{
		API: strings.Replace(server.URL, "http", "ws", 1), HeadMaxAge: -1, Timeout: 20 * time.Millisecond, Backoff: time.Millisecond, Log: quiet,
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	waiting := func() int { // in this client, for an answer
		stacks := make([]byte, 1<<20)
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "chain.once[")
	}
	for range 10 {
		_, err := c.Head(t.Context())
		requireClass(t, jobs.Transient, err)
	}
	require.Eventually(t, func() bool { return waiting() == 0 }, 5*time.Second, 5*time.Millisecond, "of 40 calls")
}
