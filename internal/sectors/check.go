package sectors

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxSkew is how far this host's clock may be from Redis's: a lease that is judged
// by two clocks lasts 30 s (design rule 14).
const maxSkew = 5 * time.Second

// Server is what one Redis says of itself.
type Server struct {
	Addr    string
	Version string // empty for the Redis inside this process
	// Durable says that what was written outlives the server. The Redis inside the
	// process never is.
	Durable  bool
	Eviction string // maxmemory-policy
	Replica  bool
	Skew     time.Duration // its clock minus ours
}

// Embedded says that this is the Redis inside the process (miniredis).
func (s Server) Embedded() bool { return s.Version == "" }

// Warning is what Check finds and lpseal can live with.
type Warning struct{ Texts []string }

func (w *Warning) Error() string { return strings.Join(w.Texts, "; ") }

// Check sees that Redis can be trusted with sectors (design rule 14): version, no
// eviction, append-only file, a master, clocks. Each error says what to do. If all
// it finds are doubts, the error is a [*Warning].
func (s *Store) Check(ctx context.Context) error {
	servers, err := s.Servers(ctx)
	if err != nil {
		return err
	}
	var wrong []error
	var doubts []string
	for _, server := range servers {
		if server.Embedded() {
			continue
		}
		wrong = append(wrong, server.wrong()...)
		if !server.Durable {
			doubts = append(doubts, fmt.Sprintf("redis at %s keeps nothing over a restart: set appendonly yes (and appendfsync always)", server.Addr))
		}
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	if len(doubts) > 0 {
		return &Warning{doubts}
	}
	return nil
}

func (s Server) wrong() (errs []error) {
	add := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("redis at "+s.Addr+" "+format, args...))
	}
	if !atLeast(s.Version, 6, 2) {
		add("is version %s: lpseal needs 6.2 or later", s.Version)
	}
	if s.Eviction != "noeviction" {
		add("may throw sectors away when memory is short: set maxmemory-policy noeviction (it is %s)", s.Eviction)
	}
	if s.Replica {
		add("is a replica: give the master's address, or use redis-sentinel://")
	}
	if s.Skew.Abs() > maxSkew {
		add("has a clock that differs from this host's by %s: run NTP on both", s.Skew.Round(time.Second))
	}
	return errs
}

// Durable says whether everything written outlives its server.
func (s *Store) Durable(ctx context.Context) (bool, error) {
	servers, err := s.Servers(ctx)
	for _, server := range servers {
		if !server.Durable {
			return false, err
		}
	}
	return err == nil, err
}

// Servers asks every master about itself.
func (s *Store) Servers(ctx context.Context) ([]Server, error) {
	nodes, err := s.nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask redis about itself: %w", err)
	}
	servers := make([]Server, len(nodes))
	for i, node := range nodes {
		if servers[i], err = ask(ctx, node); err != nil {
			return nil, fmt.Errorf("ask redis at %s about itself: %w (its user needs the commands INFO and TIME)", node.Options().Addr, err)
		}
	}
	return servers, nil
}

func ask(ctx context.Context, node *redis.Client) (Server, error) {
	info, err := node.Info(ctx).Result()
	if err != nil {
		return Server{}, err
	}
	before := time.Now()
	clock, err := node.Time(ctx).Result()
	if err != nil {
		return Server{}, err
	}
	ours := before.Add(time.Since(before) / 2)
	facts := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(info)); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
			facts[name] = value
		}
	}
	return Server{
		Addr:     node.Options().Addr,
		Version:  facts["redis_version"],
		Durable:  facts["aof_enabled"] == "1",
		Eviction: facts["maxmemory_policy"],
		Replica:  facts["role"] == "slave",
		Skew:     clock.Sub(ours),
	}, nil
}

func atLeast(version string, major, minor int) bool {
	a, rest, _ := strings.Cut(version, ".")
	b, _, _ := strings.Cut(rest, ".")
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	return err1 == nil && err2 == nil && (x > major || x == major && y >= minor)
}
