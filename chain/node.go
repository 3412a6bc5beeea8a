package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
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

// node is a list of endpoints of one network. Reads go to the first that is fit ([Client.survey]) and answers; what is written always goes to the
// first, for its wallet, its mempool and its memory of MsgUuids are its own. While the first is away or behind, messages wait (docs/adr/0005).
type node struct {
	endpoints []*endpoint
	timeout   time.Duration // of one call
	backoff   time.Duration // before the second try of a read; doubled for the third
	log       *slog.Logger

	mu      sync.Mutex
	calls   map[string]uint64 // by method
	current int               // index of the endpoint that reads go to
	moved   chan struct{}     // closed when current changes
	unfit   []string          // why an endpoint is not read from; "": it is
}

// writer is the index of the endpoint that messages are sent through.
const writer = 0

// silent is why an endpoint that did not answer is not read from.
const silent = "does not answer"

// ofOneNode says that a question is about what one node has for itself and not of the chain. Such questions go to the node that writes, or
// what it does would not agree with what it was asked.
func ofOneNode(method string) bool {
	return strings.HasPrefix(method, "Wallet") || strings.HasPrefix(method, "Mpool")
}

// order are the endpoints to ask, the current one first. If none is fit, all are tried.
func (n *node) order(method string) []int {
	if ofOneNode(method) {
		return []int{writer}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	fit, all := []int{}, []int{n.current}
	for i := range n.endpoints {
		if i != n.current {
			all = append(all, i)
		}
	}
	for _, i := range all {
		if n.unfit[i] == "" {
			fit = append(fit, i)
		}
	}
	if len(fit) == 0 {
		return all
	}
	return fit
}

// use makes an endpoint the one that is read from.
func (n *node) use(at int, why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at == n.current {
		return
	}
	n.log.Warn("the chain is read from another node", "was", n.endpoints[n.current].URL, "now", n.endpoints[at].URL, "because", why)
	n.current = at
	close(n.moved)
	n.moved = make(chan struct{})
}

// reading is the endpoint that is read from, and a channel that is closed when it is no longer.
func (n *node) reading() (Endpoint, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.endpoints[n.current].Endpoint, n.moved
}

// judge takes over what a survey found, and reads from the first endpoint that is fit.
func (n *node) judge(unfit []string) {
	n.mu.Lock()
	why := "the first of the list is fit again"
	if unfit[n.current] != "" {
		why = "it " + unfit[n.current]
	}
	for i, was := range n.unfit {
		switch is := unfit[i]; is {
		case was:
		case "":
			n.log.Info("a node is fit again", "node", n.endpoints[i].URL)
		default:
			n.log.Warn("a node is not read from", "node", n.endpoints[i].URL, "because", "it "+is)
		}
	}
	n.unfit = unfit
	first := slices.Index(unfit, "")
	n.mu.Unlock()
	if first < 0 {
		return // as good as any other
	}
	n.use(first, why)
}

// endpoint is one connection, made when first used and kept.
type endpoint struct {
	Endpoint
	mu     sync.Mutex
	api    *api
	closer jsonrpc.ClientCloser
}

func newNode(endpoints []Endpoint, cfg Config) *node {
	n := &node{
		timeout: cfg.Timeout, backoff: cfg.Backoff, log: cfg.Log, calls: map[string]uint64{}, moved: make(chan struct{}), unfit: make([]string, len(endpoints)),
	}
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
		for failed, at := range n.order(method) {
			if out, err = once(ctx, n, at, method, ask); !isUnreachable(err) {
				if failed > 0 {
					n.use(at, "it "+silent)
				}
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

// write asks the first endpoint, once: the caller has a journal and knows how to ask again. One that is behind the node that the chain was read from
// would judge a message by what is no longer so.
func write[T any](ctx context.Context, n *node, method string, ask func(context.Context, *api) (T, error)) (T, error) {
	n.mu.Lock()
	why := n.unfit[writer]
	n.mu.Unlock()
	if why != "" && why != silent {
		var none T
		return none, jobs.Failf(jobs.Transient, "node %s, which messages are sent through, %s; they wait until it is fit", n.endpoints[writer], why)
	}
	out, err := once(ctx, n, writer, method, ask)
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
