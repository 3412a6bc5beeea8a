package sectors_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/redistest"
	"github.com/lpseal/lpseal/internal/sectors"
)

func TestConnectReadsEveryForm(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "redis.sock")
	r := redistest.StartServer(t, "--unixsocket", socket)
	require.NoError(t, r.Client.ConfigSet(t.Context(), "requirepass", "pa:ss@1%").Err())
	addr := strings.TrimPrefix(r.URL, "redis://")
	for _, o := range []sectors.Options{
		{URL: "redis://:pa%3Ass%401%25@" + addr},
		{URL: "redis://:pa:ss@1%25@" + addr + "/3"},
		{URL: "redis://" + addr, Password: "pa:ss@1%"},
		{URL: "redis://default:wrong@" + addr, Password: "pa:ss@1%"},
		{URL: "redis://wrong@" + addr, User: "default", Password: "pa:ss@1%"},
		{URL: "unix://" + socket, Password: "pa:ss@1%"},
		{URL: "unix://" + socket + "?db=3", Password: "pa:ss@1%"},
	} {
		rdb, err := sectors.Connect(t.Context(), o)
		require.NoError(t, err, o.URL)
		options := rdb.(*redis.Client).Options()
		require.Equal(t, strings.HasSuffix(o.URL, "/3") || strings.HasSuffix(o.URL, "db=3"), options.DB == 3, o.URL)
		require.Equal(t, 3*time.Second, options.ReadTimeout, "a lease lasts 30 s only")
		require.Equal(t, 1, options.MaxRetries)
		require.NoError(t, rdb.Close())
	}
}

func TestConnectRefusesWithARemedyAndWithoutThePassword(t *testing.T) {
	t.Parallel()
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(notPEM, []byte("rubbish"), 0o600))
	for url, want := range map[string]string{
		"localhost:6379":                                 "it has no scheme; write redis://HOST:6379",
		"http://:hunter2@h":                              `scheme "http" is none of`,
		"redis://:hunter2@h1,h2":                         "several hosts need redis-sentinel:// or redis-cluster://",
		"redis://:hunter2%zz@h1":                         "write %25",
		"redis://:hunter2@":                              "a host is missing",
		"redis://:hunter2@h:port":                        `port "port" is not a number`,
		"redis://:hunter2@h/x":                           `database "x"`,
		"redis-cluster://:hunter2@h/1":                   "none for a cluster",
		"redis-sentinel://:hunter2@h":                    "?master=NAME",
		"redis-sentinel://:hunter2@h/?master=m&x=1":      `"x" is not known`,
		"redis://:hunter2@h?master=m":                    `"master" is not known`,
		"unix:///s?db=x":                                 `db "x" is not a number`,
		"redis://:hunter2@127.0.0.1:1":                   "redis at 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused; is it running",
		"redis-sentinel://:hunter2@127.0.0.1:1?master=m": "redis at 127.0.0.1:1: ",
		"redis-cluster://:hunter2@127.0.0.1:1":           "redis at 127.0.0.1:1: ",
	} {
		_, err := sectors.Connect(t.Context(), sectors.Options{URL: url})
		require.ErrorContains(t, err, want, url)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := sectors.Connect(t.Context(), sectors.Options{URL: "redis://h", CAFile: notPEM})
	require.ErrorContains(t, err, "there is no TLS")
	_, err = sectors.Connect(t.Context(), sectors.Options{URL: "rediss://h", CAFile: notPEM})
	require.ErrorContains(t, err, "no certificate")
	_, err = sectors.Connect(t.Context(), sectors.Options{URL: "rediss://h", CAFile: notPEM + ".absent"})
	require.ErrorContains(t, err, "redis settings: CA file")
	require.ErrorIs(t, err, sectors.ErrOptions)
}

func TestTLSChecksTheServerAndTheUser(t *testing.T) {
	t.Parallel()
	r := redistest.StartTLS(t)
	o := sectors.Options{URL: r.URL, User: r.User, Password: r.Password}
	_, err := sectors.Connect(t.Context(), o)
	require.ErrorContains(t, err, "certificate", "its authority is not the system's")
	o.CAFile, o.Password = r.CAFile, "wrong"
	_, err = sectors.Connect(t.Context(), o)
	require.ErrorContains(t, err, "the sign-in is refused: WRONGPASS")
	require.ErrorIs(t, err, sectors.ErrSignIn)
}
