package sectors

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Watch has the log say once when Redis does not answer any more, and once when it does
// again: everybody who asks it gets errors meanwhile, and none of them knows when it is over.
func Watch(rdb redis.UniversalClient, log *slog.Logger) {
	rdb.AddHook(&watch{log: log})
}

// patience is how long nothing must come back before Redis counts as away: a connection
// that breaks is made again within less.
const patience = time.Second

// presence decides whether Redis is away, by how commands ended and when.
type presence struct {
	since time.Time // of the first failure after the last answer; zero: it answers
	told  bool
}

// failed takes a command that got no answer; away says that this is to be told now.
func (p *presence) failed(at time.Time) (away bool) {
	if p.since.IsZero() {
		p.since = at
	}
	away = !p.told && at.Sub(p.since) >= patience
	p.told = p.told || away
	return away
}

// answered takes a command that got one; back says that this is to be told, and away for
// how long there was none.
func (p *presence) answered(at time.Time) (away time.Duration, back bool) {
	away, back = at.Sub(p.since), p.told
	*p = presence{}
	return away, back
}

// watch is a hook of go-redis.
type watch struct {
	log *slog.Logger
	mu  sync.Mutex
	presence
}

// note takes how a command ended. What its caller called off says nothing of Redis.
func (w *watch) note(ctx context.Context, err error) {
	var refused redis.Error
	replied := err == nil || errors.As(err, &refused)
	if !replied && ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !replied {
		if w.failed(time.Now()) {
			w.log.Warn("Redis does not answer: what is in hand goes on, nothing new begins until it does", "since", w.since, "err", err)
		}
		return
	}
	if w.since.IsZero() {
		return
	}
	if away, back := w.answered(time.Now()); back {
		w.log.Info("Redis answers again", "away", away.Round(time.Millisecond))
	}
}

// DialHook implements redis.Hook.
func (w *watch) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook implements redis.Hook.
func (w *watch) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		w.note(ctx, err)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (w *watch) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		w.note(ctx, err)
		return err
	}
}
