package sectors

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options say how to reach Redis.
type Options struct {
	// URL is one of
	//
	//	redis://[USER:PASSWORD@]HOST[:PORT][/DB]
	//	rediss://…                                           the same over TLS
	//	unix:///run/redis.sock[?db=DB]
	//	redis-sentinel://…HOST[:PORT],HOST[:PORT]…/[DB]?master=NAME
	//	redis-cluster://…HOST[:PORT],HOST[:PORT]…
	//
	// rediss-sentinel:// and rediss-cluster:// use TLS.
	URL string
	// User and Password go before those in the URL.
	User, Password string
	// SentinelUser and SentinelPassword are for the sentinels themselves.
	SentinelUser, SentinelPassword string
	// CAFile has the certificates, in PEM, that TLS servers are checked against,
	// instead of the system's.
	CAFile string
	// Timeout bounds one answer; 0 means 3 s. A task's lease lasts 30 s, so a slow
	// Redis must be noticed long before; a busy machine must not look like one.
	Timeout time.Duration
}

const (
	dialTimeout    = 5 * time.Second
	connectTimeout = 10 * time.Second // for all tries of the first question
	defaultTimeout = 3 * time.Second
	maxRetries     = 1
)

// ErrOptions says that no connection was tried: the options contradict themselves or name a
// file that is not there.
var ErrOptions = errors.New("redis settings")

// ErrSignIn says that Redis is there and refuses user and password.
var ErrSignIn = errors.New("the sign-in is refused")

// Check says what is wrong with options without asking Redis.
func (o Options) Check() error {
	_, err := o.target()
	return err
}

func (o Options) target() (*target, error) {
	t, err := parseURL(o)
	if err == nil {
		t.opts.TLSConfig, err = tlsConfig(t, o.CAFile)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return t, nil
}

// Connect makes a client and sees that Redis answers. Errors never show a password.
func Connect(ctx context.Context, o Options) (redis.UniversalClient, error) {
	target, err := o.target()
	if err != nil {
		return nil, err
	}
	rdb := target.client()
	patient, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := rdb.Ping(patient).Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("redis at %s: %w", strings.Join(target.opts.Addrs, ", "), target.explain(err)), rdb.Close())
	}
	return rdb, nil
}

// explain says what to look at where a first question was not answered.
func (t *target) explain(err error) error {
	switch {
	case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"), redis.HasErrorPrefix(err, "NOPERM"):
		return fmt.Errorf("%w: %w", ErrSignIn, err)
	case t.tls:
		return fmt.Errorf("%w; is it running, and does it speak TLS there (redis:// is without)?", err)
	}
	return fmt.Errorf("%w; is it running, and is the address right (rediss:// where it speaks TLS)?", err)
}

// target is a parsed URL.
type target struct {
	kind string // "", "sentinel", "cluster" or "unix"
	tls  bool
	opts redis.UniversalOptions
}

// parseURL takes the URL apart by hand: net/url knows one host only, and its errors
// repeat the password.
func parseURL(o Options) (*target, error) {
	scheme, rest, ok := strings.Cut(o.URL, "://")
	if !ok {
		return nil, errors.New("it has no scheme; write redis://HOST:6379")
	}
	t := &target{}
	switch scheme {
	case "redis", "rediss":
	case "unix":
		t.kind = "unix"
	case "redis-sentinel", "rediss-sentinel":
		t.kind = "sentinel"
	case "redis-cluster", "rediss-cluster":
		t.kind = "cluster"
	default:
		return nil, fmt.Errorf("scheme %q is none of redis, rediss, unix, redis-sentinel, rediss-sentinel, redis-cluster, rediss-cluster", scheme)
	}
	t.tls = strings.HasPrefix(scheme, "rediss")
	timeout := o.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	t.opts = redis.UniversalOptions{
		ClientName: "lpseal", DialTimeout: dialTimeout, ReadTimeout: timeout, WriteTimeout: timeout,
		MaxRetries: maxRetries, ContextTimeoutEnabled: true,
		SentinelUsername: o.SentinelUser, SentinelPassword: o.SentinelPassword,
	}
	rest, query, _ := strings.Cut(rest, "?")
	if err := t.query(query); err != nil {
		return nil, err
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		if err := t.user(rest[:at]); err != nil {
			return nil, err
		}
		rest = rest[at+1:]
	}
	if o.User != "" {
		t.opts.Username = o.User
	}
	if o.Password != "" {
		t.opts.Password = o.Password
	}
	return t, t.hosts(rest)
}

func (t *target) query(text string) error {
	values, err := url.ParseQuery(text)
	if err != nil {
		return errors.New("the part after ? cannot be read")
	}
	for name, value := range values {
		switch {
		case name == "master" && t.kind == "sentinel":
			t.opts.MasterName = value[0]
		case name == "db" && t.kind == "unix":
			if t.opts.DB, err = strconv.Atoi(value[0]); err != nil {
				return fmt.Errorf("db %q is not a number", value[0])
			}
		default:
			return fmt.Errorf("%q is not known after ?", name)
		}
	}
	if t.kind == "sentinel" && t.opts.MasterName == "" {
		return errors.New("a sentinel URL ends in ?master=NAME, the name that the sentinels know the master by")
	}
	return nil
}

func (t *target) user(text string) error {
	name, password, _ := strings.Cut(text, ":")
	var err1, err2 error
	t.opts.Username, err1 = url.PathUnescape(name)
	t.opts.Password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return errors.New("user or password has a % that does not begin an escape; write %25")
	}
	return nil
}

func (t *target) hosts(text string) error {
	if t.kind == "unix" {
		t.opts.Addrs = []string{text}
		return nil
	}
	hosts, db, _ := strings.Cut(text, "/")
	if db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || t.kind == "cluster" {
			return fmt.Errorf("database %q: write a number, and none for a cluster", db)
		}
		t.opts.DB = n
	}
	port := ":6379"
	if t.kind == "sentinel" {
		port = ":26379"
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if host == "" {
			return errors.New("a host is missing")
		}
		bare := host[strings.LastIndex(host, "]")+1:]
		_, number, has := strings.Cut(bare, ":")
		if !has {
			host += port
		} else if _, err := strconv.ParseUint(number, 10, 16); err != nil {
			return fmt.Errorf("port %q is not a number up to 65535", number)
		}
		t.opts.Addrs = append(t.opts.Addrs, host)
	}
	if t.kind == "" && len(t.opts.Addrs) > 1 {
		return errors.New("several hosts need redis-sentinel:// or redis-cluster://")
	}
	return nil
}

func (t *target) client() redis.UniversalClient {
	switch t.kind {
	case "cluster":
		return redis.NewClusterClient(t.opts.Cluster())
	case "sentinel":
		return redis.NewFailoverClient(t.opts.Failover())
	}
	o := t.opts.Simple()
	if t.kind == "unix" {
		o.Network = "unix"
	}
	return redis.NewClient(o)
}

func tlsConfig(t *target, caFile string) (*tls.Config, error) {
	if !t.tls {
		if caFile != "" {
			return nil, errors.New("a CA file is given, but the URL's scheme is not rediss, so there is no TLS")
		}
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s has no certificate in PEM", caFile)
	}
	return config, nil
}
