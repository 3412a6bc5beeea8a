package cli

import (
	"io"
	"net/http"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/configs"
)

// TestDaemonsServeTheirMetrics: off unless told, and healthy while Redis answers.
func TestDaemonsServeTheirMetrics(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t)
	open := func(listen string) *cluster {
		l, err := configs.Load(configs.Source{Alone: true, Flags: map[string]string{"redis.url": "redis://" + redis.Addr(), "host.id": "h1", "metrics.listen": listen}})
		require.NoError(t, err)
		c, err := (&app{err: io.Discard}).joinAs(t.Context(), &l.Config)
		require.NoError(t, err)
		t.Cleanup(c.close)
		return c
	}
	off, err := open("").serveMetrics()
	require.NoError(t, err)
	require.Nil(t, off.server)

	c := open("127.0.0.1:0")
	scheduler, err := c.operator()
	require.NoError(t, err)
	s, err := c.serveMetrics(append(scheduler.Collectors(), rpcCalls{func() map[string]uint64 { return map[string]uint64{"ChainHead": 3} }})...)
	require.NoError(t, err)
	t.Cleanup(s.close)
	get := func(path string) (int, string) {
		resp, err := http.Get(s.url + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}
	code, text := get("/metrics")
	require.Equal(t, http.StatusOK, code)
	for _, line := range []string{`lpseal_chain_rpc_total{method="ChainHead"} 3`, "lpseal_poll_sectors 0", "lpseal_build_info{", "go_goroutines"} {
		require.Contains(t, text, line)
	}
	code, text = get("/healthz")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "ok\n", text)

	_, err = open(s.url[len("http://"):]).serveMetrics()
	require.ErrorContains(t, err, "LPSEAL_METRICS_LISTEN", "two daemons of one file")

	redis.SetError("LOADING")
	code, _ = get("/healthz")
	require.Equal(t, http.StatusServiceUnavailable, code)
}
