package chain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/chain/lotus"
)

// api is what a node may be asked: Lotus's methods, and one that only the embedded node has.
type api struct {
	lotus.FullNode
	embedded
}

// embedded is the extra method of the embedded node (design §6): the vanilla proof behind a native "proof". C1 travels as base64.
type embedded struct {
	LpsealOfferVanilla func(ctx context.Context, miner address.Address, number abi.SectorNumber, c1 []byte) error
}

// node is a list of endpoints of one network. Reads go to the first that answers; what is written always goes to the first,
// for its mempool and its memory of MsgUuids are its own.
type node struct {
	endpoints []*endpoint
	timeout   time.Duration // of one call
	backoff   time.Duration // before the second try of a read; doubled for the third
	preferred atomic.Int64  // index of the endpoint that answered last

	mu    sync.Mutex
	calls map[string]uint64 // by method
}

// endpoint is one connection, made when first used and kept.
type endpoint struct {
	Endpoint
	mu     sync.Mutex
	api    *api
	closer jsonrpc.ClientCloser
}

func newNode(endpoints []Endpoint, timeout, backoff time.Duration) *node {
	n := &node{timeout: timeout, backoff: backoff, calls: map[string]uint64{}}
	for _, e := range endpoints {
		n.endpoints = append(n.endpoints, &endpoint{Endpoint: e})
	}
	return n
}

// connect gives the endpoint's methods. Over HTTP it cannot fail; a WebSocket is dialled, and go-jsonrpc keeps it alive afterwards.
func (e *endpoint) connect() (*api, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.api != nil {
		return e.api, nil
	}
	var a api
	closer, err := jsonrpc.NewMergeClient(context.Background(), e.URL, lotus.Namespace,
		[]any{&a.FullNode, &a.embedded}, e.Header(), jsonrpc.WithErrors(lotus.Errors()))
	if err != nil {
		return nil, &unreachable{err}
	}
	e.api, e.closer = &a, closer
	return e.api, nil
}

func (e *endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closer != nil {
		e.closer()
	}
	e.api, e.closer = nil, nil
}

func (n *node) close() {
	for _, e := range n.endpoints {
		e.close()
	}
}

func (n *node) count(method string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls[method]++
}

func (n *node) counts() map[string]uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.calls)
}

// unreachable marks an error of the way to the node: nothing is known of what it did.
type unreachable struct{ err error }

func (u *unreachable) Error() string { return u.err.Error() }
func (u *unreachable) Unwrap() error { return u.err }

func isUnreachable(err error) bool {
	var (
		u    *unreachable
		down *jsonrpc.RPCConnectionError
		cl   *jsonrpc.ErrClient
	)
	return errors.As(err, &u) || errors.As(err, &down) || errors.As(err, &cl)
}

// tries is how often a read is asked before it fails; the poller asks again anyway.
const tries = 3

// read asks for something that asking changes nothing of: it is tried again, and at the next endpoint, while none answers.
func read[T any](ctx context.Context, n *node, method string, ask func(context.Context, *api) (T, error)) (T, error) {
	wait := n.backoff
	for try := 1; ; try++ {
		var (
			out T
			err error
		)
		first := int(n.preferred.Load())
		for i := range n.endpoints {
			at := (first + i) % len(n.endpoints)
			if out, err = once(ctx, n, at, method, ask); !isUnreachable(err) {
				n.preferred.Store(int64(at))
				return out, classify(method, err)
			}
			if ctx.Err() != nil {
				return out, ctx.Err()
			}
		}
		if try == tries {
			return out, classify(method, err)
		}
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-time.After(wait):
			wait *= 2
		}
	}
}

// write asks the first endpoint, once: the caller has a journal and knows how to ask again.
func write[T any](ctx context.Context, n *node, method string, ask func(context.Context, *api) (T, error)) (T, error) {
	out, err := once(ctx, n, 0, method, ask)
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	return out, classify(method, err)
}

// once makes one call under the deadline. go-jsonrpc waits for a WebSocket's answer even after its context ended, so the answer is awaited aside.
func once[T any](ctx context.Context, n *node, at int, method string, ask func(context.Context, *api) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	type answer struct {
		out T
		err error
	}
	answers := make(chan answer, 1)
	n.count(method)
	go func() {
		var a answer
		if api, err := n.endpoints[at].connect(); err != nil {
			a.err = err
		} else {
			a.out, a.err = ask(ctx, api)
		}
		answers <- a
	}()
	select {
	case a := <-answers:
		return a.out, a.err
	case <-ctx.Done():
		var none T
		return none, &unreachable{fmt.Errorf("no answer within %s: %w", n.timeout, ctx.Err())}
	}
}
