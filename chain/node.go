package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
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

// node is a list of endpoints of one network. The chain is read from the first that is fit ([Client.survey]) and answers, and messages go the same way:
// what they were made from was read where they are sent. With shared keys they keep to the first, which alone remembers what it was asked to sign, and
// wait while it is away or behind (docs/adr/0006).
type node struct {
	endpoints []*endpoint
	pinned    bool          // messages, wallet and mempool are the first endpoint's alone
	timeout   time.Duration // of one call
	backoff   time.Duration // before the second try of a read; doubled for the third
	log       *slog.Logger

	mu      sync.Mutex
	calls   map[string]uint64 // by method
	current int               // index of the endpoint that is used
	moved   chan struct{}     // closed when current changes
	unfit   []string          // why an endpoint is not used; "": it is
}

// silent is why an endpoint that did not answer is not used.
const silent = "does not answer"

// ofOneNode says that a question is about what one node has for itself and not of the chain.
func ofOneNode(method string) bool {
	return strings.HasPrefix(method, "Wallet") || strings.HasPrefix(method, "Mpool")
}

// order are the endpoints to ask, the current one first.
func (n *node) order(method string) []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pinned && ofOneNode(method) {
		return []int{0}
	}
	return n.usable()
}

// usable are the endpoints that are fit, the current one first. If none is, it is all of them.
func (n *node) usable() []int {
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

// writer is the endpoint that messages go through, and why they may not, if so.
func (n *node) writer() (at int, why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.pinned {
		at = n.current
	}
	return at, n.unfit[at]
}

// standIn names the endpoint that messages go through instead of the first of the list, which is away.
func (n *node) standIn() (name string, ok bool) {
	at, _ := n.writer()
	return n.endpoints[at].String(), at != 0
}

// leave goes on from an endpoint that is of no use to the next that is fit.
func (n *node) leave(at int, why string) {
	n.mu.Lock()
	next := slices.DeleteFunc(n.usable(), func(i int) bool { return i == at })
	n.mu.Unlock()
	if len(next) > 0 {
		n.use(next[0], why)
	}
}

// use makes an endpoint the current one.
func (n *node) use(at int, why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at == n.current {
		return
	}
	n.log.Warn("another node is used", "was", n.endpoints[n.current].URL, "now", n.endpoints[at].URL, "because", why)
	n.current = at
	close(n.moved)
	n.moved = make(chan struct{})
}

// reading is the current endpoint, and a channel that is closed when it is no longer.
func (n *node) reading() (Endpoint, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.endpoints[n.current].Endpoint, n.moved
}

// judge takes over what a survey found, and uses the first endpoint that is fit.
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
			n.log.Warn("a node is not used", "node", n.endpoints[i].URL, "because", "it "+is)
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
	turn   chan struct{} // held by whoever dials or hangs up; guards what follows
	api    *api
	closer jsonrpc.ClientCloser
}

func newNode(endpoints []Endpoint, cfg Config) *node {
	n := &node{
		pinned: cfg.Shared, timeout: cfg.Timeout, backoff: cfg.Backoff, log: cfg.Log, calls: map[string]uint64{}, moved: make(chan struct{}), unfit: make([]string, len(endpoints)),
	}
	for _, e := range endpoints {
		n.endpoints = append(n.endpoints, &endpoint{Endpoint: e, turn: make(chan struct{}, 1)})
	}
	return n
}

// connect gives the endpoint's methods. Over HTTP it cannot fail; a WebSocket is dialled, by one caller at a time, and go-jsonrpc keeps it alive afterwards.
func (e *endpoint) connect(ctx context.Context) (*api, error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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

// hangUp ends a connection over which no answer came in time, and so ends all who wait for one: over a WebSocket go-jsonrpc waits for ever.
func (e *endpoint) hangUp(a *api) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	default:
		return // somebody dials, or hangs up
	}
	if e.api == a {
		e.api = nil
		go e.closer() // which waits for the connection's own goroutine
	}
}

func (e *endpoint) close() {
	e.turn <- struct{}{}
	defer func() { <-e.turn }()
	if e.api != nil {
		e.closer()
	}
	e.api = nil
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
	var u *unreachable
	return errors.As(err, &u) || lotus.NoAnswer(err)
}

// noneAnswers is the fault of a question that every endpoint was asked in vain.
func noneAnswers(away []error) error {
	if len(away) == 1 {
		return away[0]
	}
	why := make([]string, len(away))
	for i, err := range away {
		why[i] = jobs.TextOf(err)
	}
	return jobs.Failf(jobs.Transient, "no node answers: %s", strings.Join(why, "; "))
}

// tries is how often a read is asked before it fails; the poller asks again anyway.
const tries = 4

// read asks for something that asking changes nothing of: it is tried again, and at the next endpoint, while none answers.
func read[T any](ctx context.Context, n *node, method string, ask func(context.Context, *api) (T, error)) (T, error) {
	wait := n.backoff
	for try := 1; ; try++ {
		var (
			out  T
			away []error
		)
		for _, at := range n.order(method) {
			answer, err := once(ctx, n, at, method, ask)
			fault := classify(n.endpoints[at].Endpoint, method, err)
			if !isUnreachable(err) {
				if len(away) > 0 {
					n.use(at, "it "+silent)
				}
				return answer, fault
			}
			if ctx.Err() != nil {
				return out, unended(ctx, n.endpoints[at].Endpoint, method)
			}
			away = append(away, fault)
		}
		if try == tries {
			return out, noneAnswers(away)
		}
		select {
		case <-ctx.Done():
			return out, fmt.Errorf("%s; %w", jobs.TextOf(noneAnswers(away)), ctx.Err())
		case <-time.After(wait):
			wait *= 2
		}
	}
}

// write asks one endpoint, once: the caller has a journal and knows how to ask again, then of another endpoint if this one does not answer. One that is
// behind the others would judge a message by what is no longer so.
func write[T any](ctx context.Context, n *node, method string, ask func(context.Context, *api) (T, error)) (T, error) {
	at, why := n.writer()
	if why != "" && why != silent {
		var none T
		return none, jobs.Failf(jobs.Transient, "node %s, which messages are sent through, %s; they wait until it is fit", n.endpoints[at], why)
	}
	out, err := once(ctx, n, at, method, ask)
	if ctx.Err() != nil {
		return out, unended(ctx, n.endpoints[at].Endpoint, method)
	}
	if isUnreachable(err) && !n.pinned {
		n.leave(at, "it "+silent)
	}
	return out, classify(n.endpoints[at].Endpoint, method, err)
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
		a.out, a.err = over(ctx, n.endpoints[at], ask)
		if a.err == nil && isNothing(method, a.out) {
			a.err = &unreachable{errors.New("it answered nothing")}
		}
		answers <- a
	}()
	select {
	case a := <-answers:
		if ctx.Err() == nil || !isUnreachable(a.err) {
			return a.out, a.err
		}
	case <-ctx.Done():
	}
	var none T
	return none, &unreachable{fmt.Errorf("no answer within %s", n.timeout)}
}

// over makes a call over an endpoint's connection, and hangs up when no answer comes in time.
func over[T any](ctx context.Context, e *endpoint, ask func(context.Context, *api) (T, error)) (T, error) {
	api, err := e.connect(ctx)
	if err != nil {
		var none T
		return none, err
	}
	answered := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			e.hangUp(api)
		}
	})
	defer answered()
	return ask(ctx, api)
}

// mayBeNull are the methods that answer null for what is not there.
var mayBeNull = []string{"StateGetAllocation", "StateSearchMsg", "StateSectorGetInfo", "StateSectorPreCommitInfo"}

// isNothing tells whether an answer without an error holds nothing, such as null, which a node never means.
func isNothing(method string, answer any) bool {
	v := reflect.ValueOf(answer)
	switch v.Kind() {
	case reflect.Pointer:
		return v.IsNil() && !slices.Contains(mayBeNull, method)
	case reflect.Struct: // an address, an amount, what is known of a miner
		return v.NumField() > 0 && v.IsZero()
	}
	return false
}
