package devnet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// The conformance test plays the scenario of testdata/lotus-rpc.json, recorded on a Lotus node, epoch by epoch on the embedded node
// and compares every answer: keys and JSON types of results (booleans, nulls and bitfields by value), codes and texts of errors.

// differs are the places where an answer's shape differs from the record, with the reason. List indexes are left out of the path.
var differs = map[string]string{
	"miner-info.PeerId":                            "nobody reaches this miner over libp2p",
	"estimate-send.CID":                            "the recorder took the CID out; the node gives it, as in every other estimate",
	"state-call-precommit.ExecutionTrace.Logs":     "no actor's code runs as wasm here, so it logs nothing",
	"state-call-precommit.ExecutionTrace.IpldOps":  "no block store is read",
	"state-call-precommit.ExecutionTrace.Subcalls": "the actors called by the miner are not there one by one",
}

// step makes epochs up to a height and then plays exchanges by name.
type step struct {
	height abi.ChainEpoch
	play   string // names, separated by blanks
}

// The exchanges were recorded on two networks, and not in the order in which they happened.
var (
	firstNetwork = []step{
		{42, "StateMinerPreCommitDepositForPower-recorded GasEstimateMessageGas-recorded push-message-method-28"},
		{50, "StateSectorPreCommitInfo-recorded StateWaitMsg-recorded"},
		{69, "GasEstimateMessageGas-recorded push-message-method-34"},
		{76, "StateWaitMsg-recorded"},
		{99, `version network-name network-version head miner-info account-key lookup-id wallet-has wallet-has-unknown wallet-balance
			actor mpool-nonce mpool-pending allocated sector-allocated available-balance precommit-info-missing sector-info
			sector-info-missing sector-partition sector-partition-missing proving-deadline ticket-randomness seed-randomness
			seed-randomness-future network-params actor-cids search-msg search-msg-missing chain-get-message push-signed-again
			estimate-precommit-again estimate-no-value estimate-commit-again estimate-bad-params estimate-huge-value
			estimate-unknown-method state-call-precommit unknown-method bad-address unknown-miner wallet-sign`},
		{109, `estimate-precommit-ok estimate-precommit-two-ok estimate-precommit-ticket-too-old estimate-precommit-ticket-future
			estimate-precommit-expiration-too-short estimate-precommit-expiration-too-long estimate-precommit-wrong-proof
			estimate-precommit-duplicate estimate-precommit-deposit-short estimate-precommit-one-bad-of-two estimate-precommit-empty
			estimate-commit-not-precommitted`},
	}
	secondNetwork = []step{
		{16, `pledge-for-sector pledge-collateral tipset-by-height tipset-after-height tipset-by-height-future tipset partitions faults
			recoveries sectors active-sectors power allocation-missing allocations claims claim deal base-fee-estimate gas-premium nonce-before
			estimate-send wallet-sign-message push-signed push-signed-twice nonce-after push-same-nonce-same-fee push-replace push-gap
			push-far-gap push-bad-signature push-low-fee mpool-pending-full`},
		{19, "search-replaced-allow search-replaced-deny search-landed mpool-uuid mpool-uuid-again"},
		{28, "chain-notify-0 chain-notify-1"},
	}
)

type exchange struct {
	Name   string            `json:"name"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
	answer
}

type answer struct {
	Result json.RawMessage `json:"result"`
	Error  *rpcError       `json:"error"`
}

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data"`
}

// acceptAll lets the recorded proof through, which is of another chain.
type acceptAll struct{}

func (acceptAll) VerifyVanilla(context.Context, devnet.SealInfo, []byte) error { return nil }
func (acceptAll) VerifySNARK(context.Context, devnet.SealInfo, []byte) error   { return nil }

func TestConformance(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/lotus-rpc.json")
	require.NoError(t, err)
	var record struct{ Exchanges []exchange }
	require.NoError(t, json.Unmarshal(raw, &record))

	queue := map[string][]exchange{} // some names were recorded more than once
	for _, x := range record.Exchanges {
		queue[x.Name] = append(queue[x.Name], x)
	}
	compared := 0
	for _, steps := range [][]step{firstNetwork, secondNetwork} {
		p := newPlayer(t)
		for _, s := range steps {
			require.NoError(t, p.node.AdvanceTo(p.ctx, s.height))
			for _, name := range strings.Fields(s.play) {
				require.NotEmpty(t, queue[name], "%s was recorded fewer times", name)
				p.play(queue[name][0])
				queue[name] = queue[name][1:]
				compared++
			}
		}
	}
	for name, left := range queue {
		require.Empty(t, left, "%s was not played", name)
	}
	require.Equal(t, len(record.Exchanges), compared)
}

// player plays a recorded scenario. It learns which of its own addresses and CIDs stand for the recorded ones.
type player struct {
	*network
	key   *lotus.Key        // stands for the recorded wallet's key
	known map[string]string // recorded address or CID to ours
}

// newPlayer makes a network as the recorded ones were: a miner t01000 with sectors 0 and 1, whose worker t0100 has a BLS key and has
// sent one message.
func newPlayer(t *testing.T) *player {
	worker := devnet.BLSKey("worker")
	n := start(t, func(c *devnet.Config) {
		c.Verifier = acceptAll{}
		c.Accounts = []devnet.Account{{Key: worker, Balance: devnet.FIL(50_000_000)}, {Key: devnet.BLSKey("owner"), Balance: devnet.FIL(10)}}
		m := devnet.DefaultMiner(1000, 2<<10)
		m.Owner, m.Control = 1, nil
		c.Miners = []devnet.Miner{m}
	})
	n.from = devnet.BLSKey("owner").Address()
	genesis := []miner18.PieceActivationManifest{ // what the recorded genesis has in sectors 0 and 1
		n.verified("baga6ea4seaqicoyiliijespbati3bqmuyubusdfbrk5hj6tuzqgkrvlvzdnwadi", 100),
		n.verified("baga6ea4seaqekyuwjfhhpomkehojv26qwx2coiatatbrlxiug3vi5zwpacvfkei", 100),
	}
	deal, err := n.node.PublishDeal(n.proposal(genesis[1]))
	require.NoError(t, err)
	notice := jobs.NotifyMarket(deal)
	genesis[1].Notify = []miner18.DataActivationNotification{{Address: notice.Address, Payload: notice.Payload}}
	n.precommitData(genesis[:1], genesis[1:])
	p := &player{network: n, key: worker, known: map[string]string{}}
	for number := range abi.SectorNumber(2) {
		n.push(n.proveData(number, []byte("proof"), genesis[number]))
	}
	n.from = worker.Address()
	n.push(&lotus.Message{To: n.from, From: n.from, Value: big.NewInt(1), GasFeeCap: big.Zero(), GasPremium: big.Zero()})
	n.advance(1)
	for number := range abi.SectorNumber(2) {
		require.NoError(t, n.node.SetSector(jobs.SectorID{Miner: 1000, Number: number}, devnet.Proven))
	}
	n.advance(1)
	return p
}

var (
	walletName = regexp.MustCompile(`t3qufhhd7un347xv[a-z2-7]+|t3sscedfybpdbegv[a-z2-7]+`)
	cidName    = regexp.MustCompile(`baf[a-z2-7]{40,}`)
)

func (p *player) play(x exchange) {
	p.Run(x.Name, func(t *testing.T) {
		if x.Method == "xrpc.ch.val" {
			compare(t, x.Name, decodeJSON(t, x.Params[1]), decodeJSON(t, p.notified(t)))
			return
		}
		params := make([]any, len(x.Params))
		for i, raw := range x.Params {
			params[i] = p.translate(t, x, raw)
		}
		if x.Name == "partitions" { // sectors 0 and 1 are due at another time of day here
			where, err := p.api.StateSectorPartition(p.ctx, p.miner, 0, lotus.EmptyTSK)
			require.NoError(t, err)
			params[1] = where.Deadline
		}
		got := p.call(t, x.Method, params)
		if x.Error != nil {
			require.NotNil(t, got.Error, "got result %s", got.Result)
			require.Equal(t, x.Error.Code, got.Error.Code, got.Error.Message)
			require.Equal(t, form(x.Error.Message), form(got.Error.Message))
			require.Equal(t, x.Error.Data, got.Error.Data)
			return
		}
		require.Nil(t, got.Error)
		want, have := decodeJSON(t, x.Result), decodeJSON(t, got.Result)
		compare(t, x.Name, want, have)
		p.learn(want, have)
	})
}

// translate puts our keys and CIDs for the recorded ones, and signs anew what was signed.
func (p *player) translate(t *testing.T, x exchange, raw json.RawMessage) any {
	t.Helper()
	text := walletName.ReplaceAllString(string(raw), p.key.Address().String())
	text = cidName.ReplaceAllStringFunc(text, func(c string) string {
		if ours, ok := p.known[c]; ok {
			return ours
		}
		return c
	})
	var param any = json.RawMessage(text)
	var key []struct {
		Cid string `json:"/"`
	}
	if json.Unmarshal(raw, &key) == nil && len(key) > 0 && p.known[key[0].Cid] == "" {
		param = p.node.Head().Key() // a tipset that no answer taught us was the head then
	}
	var signed lotus.SignedMessage
	if json.Unmarshal([]byte(text), &signed) == nil && len(signed.Signature.Data) > 0 && x.Name != "push-bad-signature" {
		again, err := p.key.SignMessage(&signed.Message)
		require.NoError(t, err)
		return again
	}
	return param
}

// learn pairs the CIDs at equal places of the recorded answer and ours.
func (p *player) learn(want, got any) {
	switch want := want.(type) {
	case map[string]any:
		got, _ := got.(map[string]any)
		for k, v := range want {
			p.learn(v, got[k])
		}
	case []any:
		got, _ := got.([]any)
		for i := range min(len(want), len(got)) {
			p.learn(want[i], got[i])
		}
	case string:
		if got, ok := got.(string); ok && cidName.MatchString(want) {
			p.known[want] = got
		}
	}
}

func (p *player) call(t *testing.T, method string, params []any) answer {
	t.Helper()
	return p.callAt(t, p.node.URL(), method, params)
}

func (p *player) callAt(t *testing.T, url, method string, params []any) (a answer) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	require.NoError(t, err)
	res, err := http.Post(url, "application/json", bytes.NewReader(body))
	require.NoError(t, err)
	defer res.Body.Close()
	require.NoError(t, json.NewDecoder(res.Body).Decode(&a))
	return a
}

// notified subscribes to head changes over a bare WebSocket and returns what the first notification on the channel carries.
func (p *player) notified(t *testing.T) json.RawMessage {
	t.Helper()
	ws, res, err := websocket.DefaultDialer.DialContext(p.ctx, strings.Replace(p.node.URL(), "http", "ws", 1), nil)
	require.NoError(t, err)
	defer ws.Close()
	defer res.Body.Close()
	require.NoError(t, ws.WriteJSON(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "Filecoin.ChainNotify", "params": []any{}}))
	for {
		var frame exchange
		require.NoError(t, ws.ReadJSON(&frame))
		if frame.Method == "xrpc.ch.val" {
			return frame.Params[1]
		}
	}
}

func decodeJSON(t *testing.T, raw json.RawMessage) (v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(raw, &v))
	return v
}

// compare wants got to have the shape of want: the same keys and JSON types everywhere, lists of like elements, equal booleans.
func compare(t *testing.T, path string, want, got any) {
	t.Helper()
	if differs[path] != "" {
		return
	}
	require.Equal(t, fmt.Sprintf("%T", want), fmt.Sprintf("%T", got), "%s: want %v, got %v", path, want, got)
	switch want := want.(type) {
	case map[string]any:
		got := got.(map[string]any)
		for key := range want {
			compare(t, path+"."+key, want[key], got[key])
			if _, ok := got[key]; !ok && differs[path+"."+key] == "" {
				require.Fail(t, "key is missing", "%s.%s", path, key)
			}
		}
		for key := range got {
			if _, ok := want[key]; !ok && differs[path+"."+key] == "" {
				require.Fail(t, "key is not in the record", "%s.%s", path, key)
			}
		}
	case []any:
		got := got.([]any)
		require.Equal(t, len(want) == 0, len(got) == 0, "%s: want %v, got %v", path, want, got)
		for _, v := range got {
			compare(t, path, want[0], v)
		}
	case bool:
		require.Equal(t, want, got, path)
	case string:
		require.Equal(t, kindOf(want), kindOf(got.(string)), "%s: want %s, got %s", path, want, got)
	}
}

// forms are what differs between two equal errors: names and figures.
var forms = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`\b(baf|bag)[a-z2-7]{40,}`), "CID"},
	{regexp.MustCompile(`\b[tf][0-4][a-z0-9]+`), "ADDRESS"},
	{regexp.MustCompile(`Msg\(".*"\)`), "Msg(TEXT)"}, // the decoder's own words
	{regexp.MustCompile(`-?\d+(\.\d+)?`), "N"},
}

// form leaves of a text what must be equal.
func form(s string) string {
	for _, f := range forms {
		s = f.pattern.ReplaceAllString(s, f.name)
	}
	return s
}

// kindOf tells names and figures from other strings.
func kindOf(s string) string {
	if f := form(s); f == "CID" || f == "ADDRESS" || f == "N" {
		return f
	}
	return "text"
}
