package chain_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
)

func TestParseAPIInfo(t *testing.T) {
	t.Parallel()
	const token = "eyJhbGciOiJIUzI1NiJ9.eyJBbGxvdyI6WyJyZWFkIl19.abc-_x"
	for info, want := range map[string][]chain.Endpoint{
		token + ":/ip4/10.0.0.1/tcp/1234/http":         {{URL: "http://10.0.0.1:1234/rpc/v1", Token: token}},
		"/ip4/127.0.0.1/tcp/1234/http":                 {{URL: "http://127.0.0.1:1234/rpc/v1"}},
		"/ip4/127.0.0.1/tcp/1234":                      {{URL: "http://127.0.0.1:1234/rpc/v1"}},
		"/ip6/::1/tcp/1234/ws":                         {{URL: "ws://[::1]:1234/rpc/v1"}},
		token + ":/dns/node.example/tcp/443/wss":       {{URL: "wss://node.example:443/rpc/v1", Token: token}},
		token + ":http://node:1234":                    {{URL: "http://node:1234/rpc/v1", Token: token}},
		token + ":https://node/rpc/v1":                 {{URL: "https://node/rpc/v1", Token: token}},
		"wss://node/custom/path":                       {{URL: "wss://node/custom/path"}},
		"http://a:1/," + token + ":/ip4/1.2.3.4/tcp/5": {{URL: "http://a:1/rpc/v1"}, {URL: "http://1.2.3.4:5/rpc/v1", Token: token}},
	} {
		got, err := chain.ParseAPIInfo(info)
		require.NoError(t, err, info)
		require.Equal(t, want, got, info)
	}
	got, err := chain.ParseProverAPIInfo(token + ":/ip4/10.0.0.1/tcp/2345/http,ws://curio:12300," + token + ":wss://curio/rpc/v0")
	require.NoError(t, err)
	require.Equal(t, []chain.Endpoint{
		{URL: "http://10.0.0.1:2345/rpc/v0", Token: token}, {URL: "http://curio:12300/rpc/v0"}, {URL: "https://curio/rpc/v0", Token: token},
	}, got, "provers are asked over HTTP, at the only version they serve")

	const secret = "SECRETTOKEN"
	for _, info := range []string{
		"", "  ", secret, secret + ":", secret + ":nonsense", secret + ":/ip4/1.2.3.4", secret + ":/ip4/999.1.1.1/tcp/1",
		secret + ":/ip4/1.2.3.4/udp/1", "http://user:" + secret + "@host", secret + ":http://", "http://a," + secret + ":%zz", "http://a,,",
	} {
		_, err := chain.ParseAPIInfo(info)
		require.Error(t, err, info)
		require.NotContains(t, err.Error(), secret, "an error must not show the token")
	}
}

func TestTokenNeverPrints(t *testing.T) {
	t.Parallel()
	endpoints, err := chain.ParseAPIInfo("SECRETTOKEN:http://host:1")
	require.NoError(t, err)
	raw, err := json.Marshal(endpoints)
	require.NoError(t, err)
	for _, text := range []string{
		string(raw), fmt.Sprint(endpoints), fmt.Sprintf("%v %+v %#v %s %q", endpoints, endpoints[0], endpoints, endpoints[0], endpoints[0].Token),
		fmt.Sprintf("%x", endpoints[0].Token),
	} {
		require.NotContains(t, text, "SECRETTOKEN")
		require.NotContains(t, text, fmt.Sprintf("%x", "SECRETTOKEN"))
	}
}
