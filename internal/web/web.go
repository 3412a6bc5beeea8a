package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// Scheduler says why a sector is where it is, and takes orders.
type Scheduler interface {
	// Explain says what would be done for the sector next and why, without doing it.
	Explain(ctx context.Context, id jobs.SectorID) (jobs.Action, jobs.Reason, *jobs.Record, error)
	// Order carries out an operator's order; by names who gave it. An order that the
	// sector's state does not allow is jobs.ErrRefused.
	Order(ctx context.Context, id jobs.SectorID, order jobs.Event, by string) error
	Deals
}

// Node is what the pages ask of the Filecoin node.
type Node interface {
	// Observe fills in which messages landed and how old the others are.
	Observe(ctx context.Context, sent []chain.Tracked) (abi.ChainEpoch, error)
	// Treasury gives what miners and senders have, and the prices.
	Treasury(ctx context.Context, miners []abi.ActorID) (*jobs.Treasury, []*chain.Funds, error)
}

// Options is what the pages are made of.
type Options struct {
	Store  *sectors.Store
	Queues *queue.Queues
	// Redis is the client that Store and Queues use; asynqmon shares it. Its maker
	// closes it.
	Redis     redis.UniversalClient
	Scheduler Scheduler
	// Node may be away: the pages are there without it, and say nothing of money.
	Node Node
	// Patience is how long a page waits for the node; 0: a second.
	Patience time.Duration
	// Miners are those whose finished sectors are listed. Open sectors are always found.
	Miners []abi.ActorID
	// Token lets in whoever knows it; empty serves loopback connections only.
	Token string
	// AllowWrites adds orders to the pages, asynqmon's buttons, and takes markets' deals.
	AllowWrites bool
	Version     string
	// Collectors are metrics of the caller's, served beside the pages' own.
	Collectors []prometheus.Collector
	Clock      jobs.Clock   // nil: the wall clock
	Log        *slog.Logger // nil: the default logger
}

// site is the pages and what they read.
type site struct {
	Options
	pages  *pages
	census *census
	ledger paced[[]chain.Tracked]
	money  *treasurer
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

// New makes the handler. It is meant for the root of a host.
func New(o Options) (http.Handler, error) {
	if o.Store == nil || o.Queues == nil || o.Redis == nil || o.Scheduler == nil || o.Node == nil {
		return nil, errors.New("web: store, queues, redis, scheduler and node are all needed")
	}
	if o.Clock == nil {
		o.Clock = wallClock{}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Patience == 0 {
		o.Patience = time.Second
	}
	pages, err := loadPages()
	if err != nil {
		return nil, err
	}
	money := newTreasurer(o)
	s := &site{
		Options: o, pages: pages, census: newCensus(o.Store, o.Miners, o.Clock, money.network), money: money,
		ledger: paced[[]chain.Tracked]{clock: o.Clock, minAge: minLedger, make: chain.Ledger{Shared: o.Store.Journal()}.All},
	}
	queues, err := s.queuesPage()
	if err != nil {
		return nil, err
	}
	metrics, err := s.metrics()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page(s.pipeline))
	mux.HandleFunc("GET /sectors/{id}", s.page(s.sector))
	mux.HandleFunc("GET /sectors/{id}/{order}", s.page(s.confirm))
	mux.HandleFunc("POST /sectors/{id}/{order}", s.order)
	mux.HandleFunc("GET /held", s.page(s.held))
	mux.HandleFunc("GET /messages", s.page(s.messages))
	mux.HandleFunc("GET /deals", s.page(s.deals))
	mux.HandleFunc("GET /machines", s.page(s.machines))
	mux.HandleFunc("POST /machines/{host}/{instance}/{order}", s.drain)
	mux.Handle("/queues/", queues)
	mux.Handle("GET /queues", http.RedirectHandler("/queues/", http.StatusSeeOther))
	mux.HandleFunc("POST /api/v1/deals", s.api(s.takeDeal))
	mux.HandleFunc("GET /api/v1/deals/{id}", s.api(s.dealStatus))
	mux.HandleFunc("GET /api/v1/pieces/{cid}", s.api(s.findPiece))
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.Handle("GET /static/", pages.static)
	mux.HandleFunc("/", s.page(func(*http.Request) (*answer, error) { return nil, errNoPage }))
	return s.guard(mux), nil
}

// healthz answers whether the pages can read anything.
func (s *site) healthz(w http.ResponseWriter, r *http.Request) {
	if !s.redisAnswers(r.Context()) {
		http.Error(w, "redis does not answer", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok\n") // a client that went away needs no answer
}

func (s *site) redisAnswers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return s.Redis.Ping(ctx).Err() == nil
}
