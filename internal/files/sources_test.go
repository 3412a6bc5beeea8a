package files

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-commp-utils/v2/zerocomm"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// noServer is where no server answers. The port of one that was closed may be another test's by then.
const noServer = "http://127.0.0.1:1"

func piece(source string, size uint64) jobs.Piece {
	return jobs.Piece{CID: zerocomm.ZeroPieceCommitment(127), Size: 128, RawSize: size, Source: source}
}

func TestLocalPieces(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.WriteFile(file, []byte("hello"), 0o644))
	s := NewSources(SourceOptions{})
	for name, c := range map[string]struct {
		source string
		size   uint64
		class  jobs.FaultClass // empty: it is read
	}{
		"as long as recorded":     {file, 5, ""},
		"longer than recorded":    {file, 4, jobs.Data},
		"shorter than recorded":   {file, 6, jobs.Data},
		"gone":                    {file + "x", 5, jobs.Input},
		"a folder":                {filepath.Dir(file), 5, jobs.Rejected},
		"a relative path":         {"data", 5, jobs.Rejected},
		"a URL of another scheme": {"file://" + file, 5, jobs.Rejected},
		"no URL at all":           {"http://%zz", 5, jobs.Rejected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := s.Open(context.Background(), piece(c.source, c.size))
			if c.class != "" {
				f := requireFault(t, err, c.class)
				require.False(t, f.Missing)
				return
			}
			require.NoError(t, err)
			defer r.Close()
			b, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, "hello", string(b))
		})
	}
}

func TestPiecesFromURLs(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	mux := http.NewServeMux()
	body := func(text string, known bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if !known {
				w.(http.Flusher).Flush() // chunked: no Content-Length
			}
			_, _ = io.WriteString(w, text)
		}
	}
	mux.HandleFunc("/whole", body("hello", true))
	mux.HandleFunc("/chunked", body("hello", false))
	mux.HandleFunc("/short", body("hell", true))
	mux.HandleFunc("/short-chunked", body("hell", false))
	mux.HandleFunc("/long", body("hello!", true))
	mux.HandleFunc("/long-chunked", body("hello!", false))
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hel")
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/stalls", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hel")
		w.(http.Flusher).Flush()
		<-stop
	})
	mux.HandleFunc("/silent", func(http.ResponseWriter, *http.Request) { <-stop })
	for path, code := range map[string]int{"/500": 500, "/503": 503, "/429": 429, "/404": 404, "/204": 204} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	mux.Handle("/moved", http.RedirectHandler("/whole", http.StatusFound))
	mux.Handle("/loops", http.RedirectHandler("/loops", http.StatusFound))
	mux.Handle("/to-file", http.RedirectHandler("ftp://example.org/x", http.StatusFound))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(stop) })

	s := NewSources(SourceOptions{AllowPrivate: true})
	impatient := NewSources(SourceOptions{AllowPrivate: true, Answer: 300 * time.Millisecond, Stall: 300 * time.Millisecond})
	for path, class := range map[string]jobs.FaultClass{
		"/whole": "", "/chunked": "", "/moved": "",
		"/short": jobs.Data, "/short-chunked": jobs.Data, "/long": jobs.Data, "/long-chunked": jobs.Data,
		"/cut": jobs.Transient, "/stalls": jobs.Transient, "/silent": jobs.Transient,
		"/500": jobs.Transient, "/503": jobs.Transient, "/429": jobs.Transient,
		"/404": jobs.Rejected, "/204": jobs.Rejected, "/loops": jobs.Rejected, "/to-file": jobs.Rejected,
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			s, b := s, make([]byte, 5)
			if path == "/stalls" || path == "/silent" {
				s = impatient
			}
			r, err := s.Open(context.Background(), piece(server.URL+path, 5))
			if path == "/short" || path == "/long" {
				require.Error(t, err, "known before gigabytes are read")
			}
			if err == nil {
				defer r.Close()
				_, err = io.ReadFull(r, b) // as a prover reads: it does not ask for more
			}
			if class != "" {
				requireFault(t, err, class)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "hello", string(b))
			_, err = r.Read(b)
			require.ErrorIs(t, err, io.EOF)
		})
	}
	t.Run("server down", func(t *testing.T) {
		t.Parallel()
		_, err := s.Open(context.Background(), piece(noServer, 5))
		requireFault(t, err, jobs.Transient)
	})
	t.Run("called off", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := s.Open(ctx, piece(server.URL+"/whole", 5))
		require.ErrorIs(t, err, context.Canceled)
		_, ok := jobs.Classify(ctx, err)
		require.False(t, ok, "an order to stop is no fault of the sector")
	})
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	_, err := NewSources(SourceOptions{}).Open(context.Background(), piece(server.URL, 5))
	f := requireFault(t, err, jobs.Rejected)
	require.Contains(t, f.Text, "allow_private", "the remedy is named")

	for _, address := range []string{
		"127.0.0.1:80", "10.1.2.3:80", "172.16.0.1:80", "192.168.1.1:80", "169.254.169.254:80", "100.64.0.1:80",
		"0.0.0.0:80", "224.0.0.1:80", "255.255.255.255:80", "[::1]:80", "[::]:80", "[fe80::1]:80", "[fd00::1]:80",
		"[::ffff:127.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[2002:7f00:1::]:80",
	} {
		require.Error(t, refusePrivate("tcp", address, nil), address)
	}
	for _, address := range []string{"1.1.1.1:443", "[2606:4700::1111]:443"} {
		require.NoError(t, refusePrivate("tcp", address, nil), address)
	}
}

// A redirect leads from an address that is allowed to one that is not: the address is
// checked when the connection is made, so no step of a chain can slip by.
func TestRedirectsAreCheckedWhereTheyConnect(t *testing.T) {
	t.Parallel()
	inner := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(inner.Close)
	outer := httptest.NewServer(http.RedirectHandler(inner.URL, http.StatusFound))
	t.Cleanup(outer.Close)
	s := NewSources(SourceOptions{})
	open := NewSources(SourceOptions{AllowPrivate: true})
	// The outer server stands for a public one: only connections to it are let through.
	dial := open.client.Transport.(*http.Transport).DialContext
	check := s.client.Transport.(*http.Transport).DialContext
	s.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		if address == outer.Listener.Addr().String() {
			return dial(ctx, network, address)
		}
		return check(ctx, network, address)
	}
	_, err := s.Open(context.Background(), piece(outer.URL, 5))
	requireFault(t, err, jobs.Rejected)
}

// A presigned URL opens the door for whoever reads it in a fault, a log or a page.
func TestFaultsDoNotShowWhatSignsAURL(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	s := NewSources(SourceOptions{AllowPrivate: true})
	t.Cleanup(server.Close)
	for _, at := range []string{server.URL, noServer} {
		_, err := s.Open(t.Context(), jobs.Piece{RawSize: 10, Source: strings.Replace(at, "http://", "http://user:opensesame@", 1) + "/piece?X-Signature=opensesame"})
		require.Error(t, err, at)
		require.NotContains(t, err.Error(), "opensesame", at)
		require.Contains(t, err.Error(), "/piece", at)
	}
}
