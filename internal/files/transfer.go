package files

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// errStalled ends a transfer that stood still.
var errStalled = errors.New("no bytes moved for too long")

// watchdog cancels a transfer that stands still: a bound on the whole would have to
// fit 32 GiB over a slow line and would notice a dead peer hours late.
type watchdog struct {
	timer *time.Timer
	after time.Duration
}

// watched gives a context that ends with errStalled when the watchdog is kicked and
// then not again in time. Until the first kick it sleeps.
func watched(ctx context.Context, after time.Duration) (context.Context, *watchdog, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{timer: time.AfterFunc(after, func() { cancel(errStalled) }), after: after}
	w.rest()
	return ctx, w, func() { w.rest(); cancel(nil) }
}

func (w *watchdog) kick() { w.timer.Reset(w.after) }
func (w *watchdog) rest() { w.timer.Stop() }

// incoming watches each read: how long the reader's owner takes between two is not
// the peer's fault.
type incoming struct {
	io.Reader
	dog *watchdog
}

func (r incoming) Read(p []byte) (int, error) {
	r.dog.kick()
	defer r.dog.rest()
	return r.Reader.Read(p)
}

// outgoing is the body of an upload. It watches the time between reads: that is how
// long the network takes to accept what was read, and after the last one how long the
// peer takes to answer. The peer makes what it got durable as it comes, so that is
// not long.
type outgoing struct {
	mu     sync.Mutex
	from   io.Reader
	dog    *watchdog
	report func(sent int64)
	sent   int64
	closed bool
}

func (r *outgoing) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, os.ErrClosed
	}
	r.dog.kick()
	n, err := r.from.Read(p)
	r.sent += int64(n)
	r.report(r.sent)
	return n, err
}

// Close ends the body. net/http may go on reading a body after it gave the answer;
// after Close nothing is read or reported any more.
func (r *outgoing) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}
