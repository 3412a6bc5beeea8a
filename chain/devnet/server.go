package devnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/filecoin-project/go-jsonrpc"

	"github.com/lpseal/lpseal/chain/lotus"
)

// codeActorNotFound is Lotus's code where StateLookupID knows no such address.
const codeActorNotFound jsonrpc.ErrorCode = 11

// actorNotFound is that error.
type actorNotFound struct{}

func (*actorNotFound) Error() string { return "actor not found" }

// closeTimeout is how long Close waits for calls in progress before it cuts their connections.
const closeTimeout = time.Second

// server serves the API over HTTP and WebSocket.
type server struct {
	addr  net.Addr
	chaos *chaos
	http  *http.Server
	done  sync.WaitGroup
	err   error // of serving, valid after done
}

func serve(ctx context.Context, n *Node) (*server, error) {
	raw, err := net.Listen("tcp", n.cfg.Listen)
	if err != nil {
		return nil, err // it says what it could not listen on
	}
	errs := lotus.Errors()
	errs.Register(codeActorNotFound, new(*actorNotFound))
	mux := http.NewServeMux()
	for path, handler := range map[string]any{"/rpc/v1": n.api, "/rpc/v0": &apiV0{n.api}} {
		rpc := jsonrpc.NewServer(jsonrpc.WithServerErrors(errs))
		rpc.Register(lotus.Namespace, handler)
		mux.Handle(path, rpc)
	}
	s := &server{addr: raw.Addr(), chaos: n.chaos, http: &http.Server{
		ConnState:         n.chaos.track,
		Handler:           n.chaos.around(authorize(&n.cfg, mux)),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
	}}
	s.done.Go(func() {
		if err := s.http.Serve(raw); !errors.Is(err, http.ErrServerClosed) {
			s.err = fmt.Errorf("serve: %w", err)
		}
	})
	return s, nil
}

func (s *server) apiInfo(token string) string {
	host, port, err := net.SplitHostPort(s.addr.String())
	if err != nil {
		panic(fmt.Sprintf("devnet: listener at %q: %v", s.addr, err)) // a TCP listener's address always has a port
	}
	family := "ip4"
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		family = "ip6"
	}
	info := fmt.Sprintf("/%s/%s/tcp/%s/http", family, host, port)
	if token != "" {
		info = token + ":" + info
	}
	return info
}

func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // calls that did not end in time
	}
	s.chaos.disconnect() // WebSockets, which the HTTP server knows no more
	s.done.Wait()
	return s.err
}
