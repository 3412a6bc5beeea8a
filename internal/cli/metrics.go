package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metricsServer answers /metrics and /healthz of one daemon; without metrics.listen
// nothing listens.
type metricsServer struct {
	url    string
	server *http.Server
}

func (s *metricsServer) close() {
	if s.server != nil {
		_ = s.server.Close()
	}
}

// serveMetrics serves what this process counts itself. What is true of the fleet, lanes and
// paths and sectors, is in Redis, and the pages serve it once for all.
func (c *cluster) serveMetrics(own ...prometheus.Collector) (*metricsServer, error) {
	if c.cfg.Metrics.Listen == "" {
		return &metricsServer{}, nil
	}
	registry := prometheus.NewRegistry()
	for _, m := range append(own, buildInfo(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})) {
		if err := registry.Register(m); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	l, err := net.Listen("tcp", c.cfg.Metrics.Listen)
	if err != nil {
		return nil, fmt.Errorf("metrics.listen: %w (daemons of one host need an address each: set LPSEAL_METRICS_LISTEN)", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", c.healthz)
	s := &metricsServer{url: "http://" + l.Addr().String(), server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}
	log := c.logs.of("metrics")
	log.Info("metrics are served", "url", s.url+"/metrics")
	go func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the metrics' server ended", "err", err)
		}
	}()
	return s, nil
}

// healthPatience is less than what probes commonly wait.
const healthPatience = 800 * time.Millisecond

// healthz says whether the daemon can do anything at all: it can while Redis answers. A node
// that is down heals by itself, and a restart would not help.
func (c *cluster) healthz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), healthPatience)
	defer cancel()
	if err := c.rdb.Ping(ctx).Err(); err != nil {
		http.Error(w, "redis does not answer", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func buildInfo() prometheus.Collector {
	b := thisBuild()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "lpseal_build_info", Help: "What this process is.", ConstLabels: prometheus.Labels{"version": b.Version, "go": b.Go},
	})
	g.Set(1)
	return g
}

// rpcCalls counts what a process asks its node.
type rpcCalls struct{ counts func() map[string]uint64 }

var rpcDesc = prometheus.NewDesc("lpseal_chain_rpc_total", "Calls made to the Filecoin node, tries that got no answer among them.", []string{"method"}, nil)

// Describe implements prometheus.Collector.
func (rpcCalls) Describe(out chan<- *prometheus.Desc) { out <- rpcDesc }

// Collect implements prometheus.Collector.
func (c rpcCalls) Collect(out chan<- prometheus.Metric) {
	for method, n := range c.counts() {
		out <- prometheus.MustNewConstMetric(rpcDesc, prometheus.CounterValue, float64(n), method)
	}
}
