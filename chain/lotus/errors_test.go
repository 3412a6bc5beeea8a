package lotus_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/lotus"
)

// call asks whoever is at an address for the node's version.
func call(t *testing.T, address string) error {
	t.Helper()
	var api struct {
		Version func(context.Context) (lotus.Version, error)
	}
	closer, err := jsonrpc.NewMergeClient(t.Context(), address, lotus.Namespace, []any{&api}, nil)
	if err != nil {
		return err
	}
	defer closer()
	_, err = api.Version(t.Context())
	return err
}

// TestCause: what go-jsonrpc says of a call that came to nothing is cut down to what went wrong.
func TestCause(t *testing.T) {
	t.Parallel()
	answers := func(status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	cuts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}))
	t.Cleanup(cuts.Close)
	refuses := answers(403, "")
	for address, want := range map[string]string{
		"http://127.0.0.1:1/rpc/v1":               "connection refused",
		"ws://127.0.0.1:1/rpc/v1":                 "connection refused",
		answers(502, ""):                          "http status 502 Bad Gateway",
		answers(200, "<html>"):                    "http status 200 OK unmarshaling response: invalid character '<' looking for beginning of value",
		strings.Replace(refuses, "http", "ws", 1): "websocket: bad handshake",
		cuts.URL: "EOF",
	} {
		err := call(t, address)
		require.Error(t, err, address)
		require.Equal(t, want, lotus.Cause(address, err), "%s", err)
		require.True(t, lotus.NoAnswer(err), address)
	}

	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.ParseIP("::1"), Port: 1234}, Err: &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}}
	require.Equal(t, "dial tcp [::1]:1234: connect: connection refused", lotus.Cause("http://localhost:1234", &url.Error{Op: "Post", URL: "http://localhost:1234", Err: refused}),
		"a name's address is not known from the name")
	unknown := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "lotus", IsNotFound: true}}
	require.Equal(t, "lookup lotus: no such host", lotus.Cause("http://lotus:1234", &url.Error{Op: "Post", URL: "http://lotus:1234", Err: unknown}))
	require.Equal(t, "the connection was lost", lotus.Cause("ws://127.0.0.1:1", &jsonrpc.RPCConnectionError{}))

	word := &jsonrpc.JSONRPCError{Code: lotus.CodeError, Message: "actor not found"}
	require.Equal(t, "actor not found", lotus.Cause("http://127.0.0.1:1", word))
	require.False(t, lotus.NoAnswer(word))

	// As a Lotus node v1.36.2 said it of a pre-commit and of a transfer.
	for text, want := range map[string]string{
		"message execution failed (exit=[ErrIllegalArgument(16)], vm error=[message failed with backtrace:\n00: f01000 (method 28) -- unsupported seal proof type 8 (16)\n (RetCode=16)])":                                "message execution failed: ErrIllegalArgument(16): f01000 (method 28) -- unsupported seal proof type 8 (16)",
		"message execution failed (exit=[SysErrInsufficientFunds(6)], vm error=[message failed with backtrace:\n--> caused by: send::send -- sender does not have funds (5: insufficient funds)\n (RetCode=6)])":          "message execution failed: SysErrInsufficientFunds(6): --> caused by: send::send -- sender does not have funds (5: insufficient funds)",
		"message execution failed (exit=[ErrNotFound(17)], vm error=[message failed with backtrace:\n00: f06 (method 9) -- no such allocation (17)\n01: f01000 (method 34) -- claiming allocations (17)\n (RetCode=17)])": "message execution failed: ErrNotFound(17): f06 (method 9) -- no such allocation (17) f01000 (method 34) -- claiming allocations (17)",
	} {
		require.Equal(t, want, lotus.Cause("http://127.0.0.1:1", &lotus.ExecutionReverted{Message: text}))
	}
	require.False(t, lotus.NoAnswer(errors.New("of somebody else")))
}
