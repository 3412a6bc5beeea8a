package devnet

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
)

// Misbehaviour is what the node shall do wrong. Each order replaces the standing ones before it: the zero value makes it behave.
type Misbehaviour struct {
	// Reorg reverts as many tipsets, once; DropReverted loses their messages too. See [Node.Reorg].
	Reorg        int
	DropReverted bool
	// DropPending empties the mempool, once.
	DropPending bool
	// Disconnect cuts every open connection, once.
	Disconnect bool

	// DropMessages is how many of the next pushed messages are accepted and forgotten.
	DropMessages int
	// LoseReceipts is of how many of the next messages that land no search will find the receipt.
	LoseReceipts int
	// CarelessBlocks is how many of the next blocks take messages whose senders cannot pay their gas, as a block producer on another state would: they
	// fail with SysErrSenderStateInvalid, and their nonces stay unused.
	CarelessBlocks int
	// BaseFee is what each unit of gas costs in the next BaseFeeEpochs epochs, in attoFIL. Afterwards it falls by the chain's own rule.
	BaseFee       int64
	BaseFeeEpochs int
	// Delay is waited before each call is answered, in nanoseconds on the wire.
	Delay time.Duration
	// FailRatio is the part of HTTP calls, in [0, 1], that are answered with status 503.
	FailRatio float64
}

// Misbehave orders misbehaviour.
func (n *Node) Misbehave(ctx context.Context, m Misbehaviour) error {
	if m.FailRatio < 0 || m.FailRatio > 1 {
		return fmt.Errorf("misbehave: fail ratio %v is not in [0, 1]", m.FailRatio)
	}
	n.chaos.order(m, n.Head().Height)
	if m.DropPending {
		n.pool.discard()
	}
	if m.Disconnect {
		n.chaos.disconnect()
	}
	if m.Reorg > 0 {
		return n.Reorg(ctx, m.Reorg, m.DropReverted)
	}
	return nil
}

// chaos holds the standing orders.
type chaos struct {
	mu         sync.Mutex
	standing   Misbehaviour
	baseFeeEnd abi.ChainEpoch // last epoch of the ordered base fee
	open       map[net.Conn]struct{}
}

func newChaos() *chaos { return &chaos{open: map[net.Conn]struct{}{}} }

func (c *chaos) order(m Misbehaviour, head abi.ChainEpoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.standing, c.baseFeeEnd = m, head+abi.ChainEpoch(m.BaseFeeEpochs)
}

func (c *chaos) baseFee(epoch abi.ChainEpoch, usual abi.TokenAmount) abi.TokenAmount {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.standing.BaseFeeEpochs > 0 && epoch <= c.baseFeeEnd {
		return big.NewInt(c.standing.BaseFee)
	}
	return usual
}

func (c *chaos) dropsMessage() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return spend(&c.standing.DropMessages)
}

func (c *chaos) losesReceipt() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return spend(&c.standing.LoseReceipts)
}

func (c *chaos) careless() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return spend(&c.standing.CarelessBlocks)
}

func spend(left *int) bool {
	if *left == 0 {
		return false
	}
	*left--
	return true
}

// delay waits as ordered, or until ctx ends.
func (c *chaos) delay(ctx context.Context) {
	c.mu.Lock()
	d := c.standing.Delay
	c.mu.Unlock()
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (c *chaos) fails() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return rand.Float64() < c.standing.FailRatio
}

// around puts the orders before the API's HTTP handler.
func (c *chaos) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.delay(r.Context())
		if c.fails() {
			http.Error(w, "the embedded node misbehaves as ordered", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(&hijacker{w, c}, r)
	})
}

// hijacker hands a WebSocket's connection over as one that misbehaves.
type hijacker struct {
	http.ResponseWriter
	chaos *chaos
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	raw, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &conn{raw, h.chaos}, buffered, nil
}

// conn is a WebSocket's connection: every read, and so every call, waits as ordered.
type conn struct {
	net.Conn
	chaos *chaos
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil {
		c.chaos.delay(context.Background())
	}
	return n, err
}

// track is the HTTP server's account of its connections; those of WebSockets are ours to close once hijacked.
func (c *chaos) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateClosed {
		delete(c.open, conn)
	} else {
		c.open[conn] = struct{}{}
	}
}

func (c *chaos) disconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for open := range c.open {
		_ = open.Close() // its reader sees the error; that is the order
	}
	clear(c.open)
}
