package files

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lpseal/lpseal/jobs"
)

// SourceOptions says where pieces may come from.
type SourceOptions struct {
	// AllowPrivate lets URLs lead to loopback, private and link-local addresses. A
	// deal's URL is somebody else's text: without this it cannot make lpseal ask
	// services that trust the local network.
	AllowPrivate bool
	// Answer is how long a server may take to be reached and to start answering; 0
	// is 30 seconds. Stall is how long it may then send nothing; 0 is one minute.
	Answer time.Duration
	Stall  time.Duration
}

// Sources opens the sources of pieces: absolute paths and http(s) URLs. It
// implements [jobs.Pieces].
type Sources struct {
	stall  time.Duration
	client *http.Client
}

var _ jobs.Pieces = (*Sources)(nil)

// maxRedirects is how far a URL may lead on; each step's address is checked again.
const maxRedirects = 5

// NewSources makes the opener.
func NewSources(o SourceOptions) *Sources {
	if o.Answer == 0 {
		o.Answer = 30 * time.Second
	}
	if o.Stall == 0 {
		o.Stall = time.Minute
	}
	dialer := &net.Dialer{Timeout: o.Answer}
	if !o.AllowPrivate {
		// After the name was resolved, at the moment of connecting: a name cannot
		// change its address between a check and its use, and redirects pass here too.
		dialer.Control = refusePrivate
	}
	return &Sources{
		stall: o.Stall,
		client: &http.Client{
			CheckRedirect: checkRedirect,
			Transport: &http.Transport{ // no proxy: it would connect where the check cannot see
				DialContext:           dialer.DialContext,
				TLSHandshakeTimeout:   o.Answer,
				ResponseHeaderTimeout: o.Answer,
				DisableCompression:    true, // RawSize counts the bytes as sent
				DisableKeepAlives:     true, // one long answer per connection
			},
		},
	}
}

func checkRedirect(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return jobs.Failf(jobs.Rejected, "more than %d redirects", maxRedirects)
	}
	return webURL(next.URL)
}

func webURL(u *url.URL) error {
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return jobs.Failf(jobs.Rejected, "%s is not an http or https URL", shown(u))
	}
	return nil
}

// nearby are ranges that net/netip has no word for.
var nearby = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),     // this network (RFC 6890)
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT (RFC 6598)
	netip.MustParsePrefix("192.0.0.0/24"),  // IETF protocol assignments
	netip.MustParsePrefix("198.18.0.0/15"), // benchmarking (RFC 2544)
	netip.MustParsePrefix("240.0.0.0/4"),   // reserved, and broadcast
	netip.MustParsePrefix("64:ff9b::/96"),  // NAT64: any IPv4 address behind it
	netip.MustParsePrefix("2002::/16"),     // 6to4: likewise
}

func refusePrivate(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap()
	public := ip.IsGlobalUnicast() && !ip.IsPrivate()
	for _, p := range nearby {
		public = public && !p.Contains(ip)
	}
	if public {
		return nil
	}
	return jobs.Failf(jobs.Rejected, "%s is not a public address; to read pieces from there set worker.pieces.allow_private", ip)
}

// Open gives exactly p.RawSize bytes or an error.
func (s *Sources) Open(ctx context.Context, p jobs.Piece) (io.ReadCloser, error) {
	if filepath.IsAbs(p.Source) {
		return openLocal(p)
	}
	u, err := url.Parse(p.Source)
	if err != nil {
		return nil, jobs.Failf(jobs.Rejected, "piece source %q is neither an absolute path nor a URL", p.Source)
	}
	if err := webURL(u); err != nil {
		return nil, err
	}
	return s.openURL(ctx, p, u)
}

func openLocal(p jobs.Piece) (io.ReadCloser, error) {
	f, err := os.Open(p.Source)
	if errors.Is(err, fs.ErrNotExist) {
		// Not Missing: recover_locate looks for a sector's files, not for its pieces.
		return nil, jobs.Failf(jobs.Input, "%w: put the file back, or upload it with: lpseal sectors add", err)
	}
	if err != nil {
		return nil, Classify(err, "piece source")
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = jobs.Failf(jobs.Rejected, "piece source %s is not a regular file", p.Source)
	case uint64(info.Size()) != p.RawSize:
		err = wrongSize(p, fmt.Sprintf("has %d", info.Size()))
	default:
		return &exact{Reader: f, piece: p, left: p.RawSize, close: f.Close}, nil
	}
	_ = f.Close() // only opened
	return nil, err
}

func wrongSize(p jobs.Piece, has string) error {
	return jobs.Failf(jobs.Data, "piece %s from %s %s bytes; its record says %d", p.CID, redacted(p.Source), has, p.RawSize)
}

// redacted keeps what opens the door out of faults and logs: a URL's user and
// password, and its query, which signs it at many stores.
func redacted(source string) string {
	if u, err := url.Parse(source); err == nil {
		return shown(u)
	}
	return source
}

func shown(u *url.URL) string {
	c := *u
	c.User = nil
	if c.RawQuery != "" {
		c.RawQuery = "..."
	}
	return c.String()
}

func (s *Sources) openURL(ctx context.Context, p jobs.Piece, u *url.URL) (io.ReadCloser, error) {
	ctx, dog, cancel := watched(ctx, s.stall)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel()
		return nil, jobs.Failf(jobs.Rejected, "piece source %s: %w", shown(u), err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		defer cancel()
		return nil, sourceFault(ctx, u, err)
	}
	shut := func() error { defer cancel(); return resp.Body.Close() }
	if err := checkAnswer(p, u, resp); err != nil {
		_ = shut() // nothing of it is used
		return nil, err
	}
	return &exact{
		Reader: incoming{resp.Body, dog},
		piece:  p, left: p.RawSize, close: shut,
		fault: func(err error) error { return sourceFault(ctx, u, err) },
	}, nil
}

func checkAnswer(p jobs.Piece, u *url.URL, resp *http.Response) error {
	switch code := resp.StatusCode; {
	case code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code >= 500:
		return jobs.Failf(jobs.Transient, "piece server answered %s for %s", resp.Status, shown(u))
	case code != http.StatusOK:
		return jobs.Failf(jobs.Rejected, "piece server answered %s for %s", resp.Status, shown(u))
	case resp.ContentLength >= 0 && uint64(resp.ContentLength) != p.RawSize:
		return wrongSize(p, fmt.Sprintf("has %d", resp.ContentLength))
	}
	return nil
}

// sourceFault is Transient but for what was refused on purpose, and for an end of
// the work itself.
func sourceFault(ctx context.Context, u *url.URL, err error) error {
	var fault *jobs.Fault
	if errors.As(err, &fault) {
		return fmt.Errorf("piece source %s: %w", shown(u), fault)
	}
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		err = cause
	} else if cause != nil {
		return cause
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // without the whole URL
	}
	return jobs.Failf(jobs.Transient, "piece source %s: %w", shown(u), err)
}

// exact reads as many bytes as the piece has, and makes sure that no more follow
// before it gives the last of them: a reader that counts for itself would not ask.
type exact struct {
	io.Reader
	piece jobs.Piece
	left  uint64
	close func() error
	fault func(error) error // classifies a read error
}

func (e *exact) Close() error { return e.close() }

func (e *exact) Read(p []byte) (int, error) {
	if e.left == 0 {
		if e.piece.RawSize > 0 {
			return 0, io.EOF
		}
		return 0, cmp.Or(e.end(), io.EOF)
	}
	n, err := e.Reader.Read(p[:min(uint64(len(p)), e.left)])
	e.left -= uint64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return n, e.readFault(err)
	case e.left > 0 && err != nil:
		return n, wrongSize(e.piece, fmt.Sprintf("ends %d bytes early: it has %d", e.left, e.piece.RawSize-e.left))
	case e.left == 0:
		if err := e.end(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// end makes sure that nothing follows the piece.
func (e *exact) end() error {
	var more [1]byte
	n, err := io.ReadFull(e.Reader, more[:])
	switch {
	case n > 0:
		return wrongSize(e.piece, "has more than the wanted")
	case errors.Is(err, io.EOF):
		return nil
	}
	return e.readFault(err)
}

func (e *exact) readFault(err error) error {
	if e.fault != nil {
		return e.fault(err)
	}
	return Classify(err, "read piece source "+e.piece.Source)
}
