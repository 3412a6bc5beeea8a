package files

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

var testSecret = []byte("a secret of all hosts")

// fleet is host h1, which seals, and host h2, which stores and serves; a wire between
// them can misbehave.
type fleet struct {
	h1, h2  *Host
	home    *root // of h1
	store   *root // of h2
	r       *jobs.Record
	wire    *wire
	workers []jobs.Worker
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	dir := t.TempDir()
	dirs := []string{filepath.Join(dir, "h1"), filepath.Join(dir, "h2")}
	home := newPath(t, dirs[0], PathOptions{CanSeal: true})
	newPath(t, dirs[1], PathOptions{CanStore: true})
	f := &fleet{r: newRecord(t, home)}
	host := func(name, dir string) *Host {
		h, err := Open(Options{
			Host: name, Paths: []string{dir}, Secret: testSecret, Stall: 5 * time.Second,
			Peers: func(context.Context) ([]jobs.Worker, error) { return f.workers, nil },
		})
		require.NoError(t, err)
		h.disk.volatile = true
		t.Cleanup(h.client.CloseIdleConnections)
		return h
	}
	f.h1, f.h2 = host("h1", dirs[0]), host("h2", dirs[1])
	f.home, f.store = f.h1.roots[0], f.h2.roots[0]
	f.wire = &wire{to: f.h2.Handler()}
	for i, h := range []*Host{f.h1, f.h2} {
		handler := []http.Handler{h.Handler(), f.wire}[i]
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		f.workers = append(f.workers, jobs.Worker{Host: h.Host, Instance: "w", Paths: h.Paths(), FileURL: server.URL})
	}
	f.r.KeepUnsealed = true
	sealSector(t, f.h1, f.r)
	return f
}

// wire passes requests on, cutting or changing what goes through.
type wire struct {
	to       http.Handler
	cuts     atomic.Int32 // how many more transfers are cut half way
	flip     atomic.Bool  // change a byte of every upload
	down     atomic.Bool
	requests atomic.Int32
	moved    atomic.Int64 // file bytes uploaded
	served   atomic.Int64 // bytes of replicas downloaded
}

func (x *wire) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.requests.Add(1)
	if x.down.Load() {
		panic(http.ErrAbortHandler)
	}
	if r.Method == http.MethodPut {
		r = r.WithContext(r.Context()) // the server keeps its own
		r.Body = &hop{ReadCloser: r.Body, wire: x, cut: r.ContentLength > 1 && x.cuts.Add(-1) >= 0, left: r.ContentLength / 2}
	} else if replica := strings.HasSuffix(r.URL.Path, "/"+jobs.SealedFile); replica || strings.HasSuffix(r.URL.Path, "/"+jobs.C1File) {
		if replica {
			w = &counted{w, &x.served}
		}
		if x.cuts.Add(-1) >= 0 {
			w = &short{ResponseWriter: w}
		}
	}
	x.to.ServeHTTP(w, r)
}

// hop is an upload's body on the wire.
type hop struct {
	io.ReadCloser
	wire *wire
	cut  bool
	left int64
}

func (b *hop) Read(p []byte) (int, error) {
	if b.cut {
		if b.left == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	b.wire.moved.Add(int64(n))
	if n > 0 && b.wire.flip.Load() {
		p[0] ^= 1
	}
	return n, err
}

// counted is an answer whose bytes are counted.
type counted struct {
	http.ResponseWriter
	bytes *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c *counted) Flush() { c.ResponseWriter.(http.Flusher).Flush() }

// short is an answer that ends half way.
type short struct {
	http.ResponseWriter
}

func (s *short) Write(p []byte) (int, error) {
	_, _ = s.ResponseWriter.Write(p[:len(p)/2])
	s.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestC1TravelsAndResumes(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := context.Background()
	c1 := bytes.Repeat([]byte("vanilla proof "), 10000)
	var err error
	f.r.C1Digest, err = f.h1.SaveC1(ctx, f.r, c1)
	require.NoError(t, err)
	x := &wire{to: f.h1.Handler()}
	server := httptest.NewServer(x)
	t.Cleanup(server.Close)
	f.workers[0].FileURL = server.URL

	x.cuts.Store(3)
	got, err := f.h2.LoadC1(ctx, f.r)
	require.NoError(t, err)
	require.Equal(t, c1, got)
	require.EqualValues(t, 4, x.requests.Load(), "three cuts, each gone on from")

	wrong := *f.r
	wrong.C1Digest = sha([]byte("other"))
	_, err = f.h2.LoadC1(ctx, &wrong)
	require.False(t, requireFault(t, err, jobs.Input).Missing)

	require.NoError(t, os.Remove(f.home.file(f.r.ID, jobs.C1File)))
	_, err = f.h2.LoadC1(ctx, f.r)
	require.True(t, requireFault(t, err, jobs.Input).Missing, "the peer's fault comes through as it is")

	x.down.Store(true)
	_, err = f.h2.LoadC1(ctx, f.r)
	requireFault(t, err, jobs.Transient)
	f.workers = f.workers[1:]
	_, err = f.h2.LoadC1(ctx, f.r)
	requireFault(t, err, jobs.Transient)
}

func TestStoreOnAnotherHost(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := context.Background()
	f.wire.cuts.Store(2)
	stored, err := f.h1.Store(ctx, f.r, nil)
	require.NoError(t, err)
	require.Equal(t, f.store.meta.ID, stored.Path)
	files := tree(t, f.store.dir)
	require.Equal(t, string(content(f.r, jobs.SealedFile)), files["sealed/s-t01000-42"])
	require.Equal(t, string(content(f.r, jobs.TreeDFile)[:2048]), files["unsealed/s-t01000-42"])
	require.Len(t, sectorFiles(t, f.store), len(stored.Digests)+1)
	var total int64
	for name := range stored.Digests {
		if name == jobs.UnsealedFile {
			total += 2048
			continue
		}
		total += int64(len(content(f.r, name)))
	}
	require.Equal(t, total, f.wire.moved.Load(), "what came before a cut is not sent again")

	again, err := f.h1.Store(ctx, f.r, nil)
	require.NoError(t, err)
	require.Equal(t, stored, again)
	require.Equal(t, total, f.wire.moved.Load(), "what is placed is not sent again")

	// The other host's word is asked for before the home copy goes.
	f.r.Stored = stored
	f.wire.down.Store(true)
	requireFault(t, f.h1.Finalize(ctx, f.r), jobs.Transient)
	f.wire.down.Store(false)
	good := f.store.file(f.r.ID, jobs.SealedFile)
	require.NoError(t, os.Rename(good, good+".away"))
	requireFault(t, f.h1.Finalize(ctx, f.r), jobs.Rejected)
	require.FileExists(t, f.home.file(f.r.ID, jobs.SealedFile))
	require.NoError(t, os.Rename(good+".away", good))
	require.NoError(t, f.h1.Finalize(ctx, f.r))
	require.Empty(t, sectorFiles(t, f.home))

	var b bytes.Buffer
	require.NoError(t, f.h1.Fetch(ctx, f.r, jobs.SealedFile, &b))
	require.Equal(t, content(f.r, jobs.SealedFile), b.Bytes())
	b.Reset()
	require.NoError(t, f.h2.Fetch(ctx, f.r, jobs.SealedFile, &b))
	require.Equal(t, content(f.r, jobs.SealedFile), b.Bytes())
	require.NoError(t, os.WriteFile(good, make([]byte, 2048), 0o644))
	requireFault(t, f.h1.Fetch(ctx, f.r, jobs.SealedFile, io.Discard), jobs.Input)
	requireFault(t, f.h2.Fetch(ctx, f.r, jobs.SealedFile, io.Discard), jobs.Input)
}

// TestFetchRange moves no byte that was not asked for, here and from another host, and
// goes on where a cut left off.
func TestFetchRange(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := context.Background()
	stored, err := f.h1.Store(ctx, f.r, nil)
	require.NoError(t, err)
	f.r.Stored = stored
	want := content(f.r, jobs.SealedFile)

	for _, h := range []*Host{f.h1, f.h2} {
		out, err := os.Create(filepath.Join(t.TempDir(), "range"))
		require.NoError(t, err)
		f.wire.served.Store(0)
		f.wire.cuts.Store(2)
		require.NoError(t, h.FetchRange(ctx, f.r, jobs.SealedFile, 1024, 512, out))
		require.NoError(t, h.FetchRange(ctx, f.r, jobs.SealedFile, 128, 256, out))
		require.NoError(t, h.FetchRange(ctx, f.r, jobs.SealedFile, 0, 0, out))
		if h == f.h1 {
			require.Equal(t, int64(512+256), f.wire.served.Load())
			require.Negative(t, f.wire.cuts.Load(), "it was cut twice")
		}
		got, err := os.ReadFile(out.Name())
		require.NoError(t, err)
		empty := make([]byte, 1024+512)
		copy(empty[1024:], want[1024:])
		copy(empty[128:384], want[128:])
		require.Equal(t, empty, got)
		requireFault(t, h.FetchRange(ctx, f.r, jobs.SealedFile, int64(len(want))-100, 101, out), jobs.Input)
		require.NoError(t, out.Close())
	}
	require.ErrorContains(t, f.h1.FetchRange(ctx, f.r, "absent", 0, 1, nil), "has no stored file")
}

func TestBytesChangedOnTheWayAreNotBelieved(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.wire.flip.Store(true)
	_, err := f.h1.Store(context.Background(), f.r, nil)
	requireFault(t, err, jobs.Transient)
	require.NotContains(t, tree(t, f.store.dir), "sealed/s-t01000-42")
	f.wire.flip.Store(false)
	for range len(lastingNames()) + 2 { // each run throws one changed file away
		if _, err = f.h1.Store(context.Background(), f.r, nil); err == nil {
			break
		}
		requireFault(t, err, jobs.Transient)
	}
	require.NoError(t, err)
	require.Equal(t, string(content(f.r, jobs.SealedFile)), tree(t, f.store.dir)["sealed/s-t01000-42"])
}

func TestALineThatNeverHoldsIsGivenUp(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.wire.down.Store(true)
	_, err := f.h1.Store(context.Background(), f.r, nil)
	requireFault(t, err, jobs.Busy)
	require.Contains(t, err.Error(), "host h2", "who could not be asked is named")

	// Stalls: the peer takes the request and never answers.
	f = newFleet(t)
	f.h1.Stall = 100 * time.Millisecond
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	inner := f.wire.to
	f.wire.to = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			_, _ = r.Body.Read(make([]byte, 1))
			<-block
		}
		inner.ServeHTTP(w, r)
	})
	// Larger than the socket's buffers, so that the line really stands still.
	require.NoError(t, os.Truncate(f.home.file(f.r.ID, jobs.SealedFile), 64<<20))
	_, err = f.h1.Seal(context.Background(), f.r, jobs.SealedFile)
	require.NoError(t, err)
	_, err = f.h1.Store(context.Background(), f.r, nil)
	requireFault(t, err, jobs.Transient)
	require.ErrorContains(t, err, errStalled.Error())
}

func TestAFullHostIsBusy(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.store.stat = func(string) (fileSystem, error) { return fileSystem{free: 10, total: 1 << 40}, nil }
	_, err := f.h1.Store(context.Background(), f.r, nil) // the heartbeat is older than that
	requireFault(t, err, jobs.Busy)
	require.ErrorContains(t, err, f.store.dir)
}

// TestStoreLeavesAHostThatRanFull is TestStoreLeavesAPathThatRanFull for paths of other
// hosts.
func TestStoreLeavesAHostThatRanFull(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	half := f.store.arrival(f.r.ID, jobs.SealedFile, sha(content(f.r, jobs.SealedFile)))
	require.NoError(t, os.WriteFile(half, content(f.r, jobs.SealedFile)[:100], 0o644))
	dir := t.TempDir()
	newPath(t, dir, PathOptions{CanStore: true})
	second, err := openRoot(dir, statFS)
	require.NoError(t, err)
	f.h2.roots = append(f.h2.roots, second)
	f.workers[1].Paths = f.h2.Paths()
	full := &f.workers[1].Paths[0]
	require.Equal(t, f.store.meta.ID, full.ID)
	var all uint64
	for _, name := range lastingNames() {
		all += uint64(len(content(f.r, name)))
	}
	all += f.r.SectorSize() // unsealed
	full.Free = all - 101
	stored, err := f.h1.Store(t.Context(), f.r, nil)
	require.NoError(t, err)
	require.Equal(t, second.meta.ID, stored.Path)

	require.NoError(t, os.RemoveAll(second.receipt(f.r.ID)))
	full.Free = all - 100
	stored, err = f.h1.Store(t.Context(), f.r, nil)
	require.NoError(t, err)
	require.Equal(t, f.store.meta.ID, stored.Path, "what is there already needs no room")
}

func TestLocate(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := context.Background()
	done := func(stages ...jobs.Stage) {
		for _, s := range stages {
			f.r.Stages[s] = jobs.StageRecord{State: jobs.Done, Fence: 1}
		}
	}
	found, err := f.h2.Locate(ctx, f.r)
	require.NoError(t, err)
	require.Empty(t, found, "nothing was finished, so nothing is missing")
	done(jobs.TreeD, jobs.SDR, jobs.TreeRC)
	for _, h := range []*Host{f.h1, f.h2} { // at home, and from another host
		found, err = h.Locate(ctx, f.r)
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, f.home.meta.ID, found[0].Path)
		require.Contains(t, found[0].Files, jobs.SealedFile)
		require.Contains(t, found[0].Files, jobs.TreeDFile)
	}

	other := *f.r
	other.Ticket.Value = make([]byte, 32)
	found, err = f.h2.Locate(ctx, &other)
	require.NoError(t, err)
	require.Empty(t, found, "files of another seal are no find")

	layer := f.home.file(f.r.ID, jobs.LayerFiles(testProof)[0])
	b, err := os.ReadFile(layer)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(layer, make([]byte, 2048), 0o644))
	found, err = f.h2.Locate(ctx, f.r)
	require.NoError(t, err)
	require.Empty(t, found, "c1 would need the damaged layer")
	done(jobs.C1, jobs.C2)
	found, err = f.h2.Locate(ctx, f.r)
	require.NoError(t, err)
	require.Len(t, found, 1, "store does not")
	require.NoError(t, os.WriteFile(layer, b, 0o644))

	// A second worker of a host, without a file service, changes nothing.
	f.workers = append([]jobs.Worker{{Host: "h2", Instance: "x", Paths: f.workers[1].Paths}}, f.workers...)
	found, err = f.h1.Locate(ctx, f.r)
	require.NoError(t, err)
	require.Len(t, found, 1)
	f.workers = f.workers[1:]

	// A host that does not answer may be the one that has them.
	require.NoError(t, os.Remove(f.home.file(f.r.ID, jobs.SealedFile)))
	f.workers[1].Paths = []jobs.Path{{ID: "elsewhere", CanSeal: true}}
	f.wire.down.Store(true)
	_, err = f.h1.Locate(ctx, f.r)
	requireFault(t, err, jobs.Transient)
	f.workers = f.workers[:1]
	found, err = f.h1.Locate(ctx, f.r)
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestPiecesAreUploadedOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := context.Background()
	data := bytes.Repeat([]byte("client data "), 50000)
	file := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.WriteFile(file, data, 0o644))
	f.wire.cuts.Store(2)
	var last int64
	source, err := f.h1.UploadPiece(ctx, f.store.meta.ID, file, func(done int64) { last = done })
	require.NoError(t, err)
	require.EqualValues(t, len(data), last)
	require.Equal(t, filepath.Join(f.store.dir, "pieces", sha(data)), source)
	got, err := os.ReadFile(source)
	require.NoError(t, err)
	require.Equal(t, data, got)
	require.EqualValues(t, len(data), f.wire.moved.Load())
	again, err := f.h1.UploadPiece(ctx, f.store.meta.ID, file, nil)
	require.NoError(t, err)
	require.Equal(t, source, again)
	require.EqualValues(t, len(data), f.wire.moved.Load())

	local, err := f.h1.UploadPiece(ctx, f.home.meta.ID, file, nil)
	require.NoError(t, err)
	require.FileExists(t, local)
	r, err := NewSources(SourceOptions{}).Open(ctx, piece(local, uint64(len(data))))
	require.NoError(t, err)
	require.NoError(t, r.Close())

	_, err = f.h1.UploadPiece(ctx, f.home.meta.ID, file+"x", nil)
	requireFault(t, err, jobs.Input)
	f.wire.flip.Store(true)
	require.NoError(t, os.WriteFile(file, []byte("other data"), 0o644))
	_, err = f.h1.UploadPiece(ctx, f.store.meta.ID, file, nil)
	requireFault(t, err, jobs.Transient)
	require.NoFileExists(t, filepath.Join(f.store.dir, "pieces", sha([]byte("other data"))))
}

// Behind a reverse proxy that keeps the Host header, the service works as it is.
func TestBehindAProxy(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	to, err := url.Parse(f.workers[1].FileURL)
	require.NoError(t, err)
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}})
	t.Cleanup(proxy.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	f.workers[1].FileURL = proxy.URL
	_, err = f.h1.Store(context.Background(), f.r, nil)
	require.NoError(t, err)
}
