package params

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// gateway serves content, with ranges or without, and may break off.
type gateway struct {
	content []byte
	ranges  bool
	cut     int // bytes after which it breaks off; 0: never
	asked   atomic.Int32
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.asked.Add(1)
	if !g.ranges {
		r.Header.Del("Range")
	}
	if g.cut > 0 {
		w.Header().Set("Content-Length", "1000000")
		_, _ = w.Write(g.content[:g.cut])
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(g.content))
}

func serve(t *testing.T, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/ipfs/"
}

func TestFetchContinuesAtAnotherSource(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789"), 1000)
	f := aFile("v28-x.params", content)
	broken, whole := &gateway{content: content, cut: 3000}, &gateway{content: content, ranges: true}
	d := Dir(filepath.Join(t.TempDir(), "made"))
	var last uint64
	err := d.Fetch(t.Context(), []File{f}, Fetcher{
		Pause:   time.Millisecond,
		Sources: []string{serve(t, broken), serve(t, whole)},
		Report:  func(name string, done, _ uint64) { last = done },
	})
	require.NoError(t, err)
	require.Equal(t, uint64(len(content)), last)
	got, err := os.ReadFile(d.path(f.Name))
	require.NoError(t, err)
	require.Equal(t, content, got)
	require.NoFileExists(t, d.path(f.Name+partSuffix))
	all, err := d.List([]File{f})
	require.NoError(t, err)
	require.Equal(t, Production, all[0].State, "known without reading it again")

	require.NoError(t, d.Fetch(t.Context(), []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{serve(t, broken)}}), "nothing to fetch")
	require.Equal(t, int32(1), broken.asked.Load())
}

// TestFetchKeepsWhatCame breaks a fetch off and goes on with it later.
func TestFetchKeepsWhatCame(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("x"), 10_000)
	f, d := aFile("v28-x.params", content), Dir(t.TempDir())
	write(t, d, f.Name+partSuffix, content[:9_000])
	var first atomic.Value
	whole := &gateway{content: content, ranges: true}
	source := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first.CompareAndSwap(nil, r.Header.Get("Range"))
		whole.ServeHTTP(w, r)
	}))
	require.NoError(t, d.Fetch(t.Context(), []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{source}}))
	require.Equal(t, "bytes=9000-", first.Load())
	require.Equal(t, Production, state(t, d, f))
}

func TestFetchTakesWholeFilesFromSourcesWithoutRanges(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("x"), 10_000)
	f, d := aFile("v28-x.params", content), Dir(t.TempDir())
	write(t, d, f.Name+partSuffix, []byte("other bytes"))
	require.NoError(t, d.Fetch(t.Context(), []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{serve(t, &gateway{content: content})}}))
	require.Equal(t, Production, state(t, d, f))
}

func TestFetchRefusesWrongContent(t *testing.T) {
	t.Parallel()
	f, d := aFile("v28-x.params", []byte("good")), Dir(t.TempDir())
	evil, good := &gateway{content: []byte("evil"), ranges: true}, &gateway{content: []byte("good"), ranges: true}
	err := d.Fetch(t.Context(), []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{serve(t, evil)}})
	require.ErrorContains(t, err, "digest is "+digestOf([]byte("evil")))
	require.NoFileExists(t, d.path(f.Name))
	require.NoError(t, d.Fetch(t.Context(), []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{serve(t, evil), serve(t, good)}}))
	require.Equal(t, Production, state(t, d, f))
}

func TestFetchLeavesASourceThatStalls(t *testing.T) {
	t.Parallel()
	f, d := aFile("v28-x.params", []byte("good")), Dir(t.TempDir())
	stalled := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	good := serve(t, &gateway{content: []byte("good"), ranges: true})
	require.NoError(t, d.Fetch(t.Context(), []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{stalled, good}, Stall: 50 * time.Millisecond}))

	f = aFile("v28-y.params", []byte("good"))
	err := d.Fetch(t.Context(), []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{stalled}, Stall: 10 * time.Millisecond})
	require.ErrorContains(t, err, "nothing came for 10ms")
	gone := serve(t, http.NotFoundHandler())
	require.ErrorContains(t, d.Fetch(t.Context(), []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{gone}}), "404")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, d.Fetch(ctx, []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{good}}), context.Canceled)
}

// TestFetchReplacesADamagedFile, and takes a part that is longer than the whole, or
// not of it, for no beginning.
func TestFetchReplacesADamagedFile(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("x"), 10_000)
	source := serve(t, &gateway{content: content, ranges: true})
	for name, damage := range map[string]func(Dir, File){
		"another file":    func(d Dir, f File) { write(t, d, f.Name, []byte("cut short")) },
		"a part too long": func(d Dir, f File) { write(t, d, f.Name+partSuffix, bytes.Repeat([]byte("x"), 10_001)) },
		"a part of other": func(d Dir, f File) { write(t, d, f.Name+partSuffix, []byte("yyy")) },
	} {
		f, d := aFile("v28-x.params", content), Dir(t.TempDir())
		damage(d, f)
		require.NoError(t, d.Fetch(t.Context(), []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{source}}), name)
		require.Equal(t, Production, state(t, d, f), name)
	}
}

// roundTrip is a connection that answers by a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestFetchTakesItsTimeForTheDigest of a part that was whole already: a source has to answer soon, and
// 50 GiB take minutes to read.
func TestFetchTakesItsTimeForTheDigest(t *testing.T) {
	t.Parallel()
	f, d := aFile("v28-x.params", []byte("good")), Dir(t.TempDir())
	write(t, d, f.Name+partSuffix, []byte("good"))
	late := roundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done() // the patience with the source has ended when the digest is to be taken
		return &http.Response{StatusCode: http.StatusRequestedRangeNotSatisfiable, Body: http.NoBody}, nil
	})
	require.NoError(t, d.Fetch(t.Context(), []File{f}, Fetcher{Client: &http.Client{Transport: late}, Sources: []string{"http://source/ipfs"}, Stall: time.Millisecond}))
	require.Equal(t, Production, state(t, d, f))
}

// TestFetchTakesAnySpellingOfASource: a base URL ends in a slash or not.
func TestFetchTakesAnySpellingOfASource(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"http://source/ipfs", "http://source/ipfs/"} {
		f, d := aFile("v28-x.params", []byte("good")), Dir(t.TempDir())
		answer := roundTrip(func(r *http.Request) (*http.Response, error) {
			require.Equal(t, "http://source/ipfs/"+f.CID, r.URL.String())
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("good"))}, nil
		})
		require.NoError(t, d.Fetch(t.Context(), []File{f}, Fetcher{Client: &http.Client{Transport: answer}, Sources: []string{source}}), source)
	}
}

// TestFetchKeepsItsPartFromALyingSource: one that answers with other bytes than it was
// asked for is left, and what came before is continued elsewhere.
func TestFetchKeepsItsPartFromALyingSource(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789"), 1000)
	f, d := aFile("v28-x.params", content), Dir(t.TempDir())
	write(t, d, f.Name+partSuffix, content[:9_000])
	lying := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-9999/10000")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(content)
	}))
	var first atomic.Value
	whole := &gateway{content: content, ranges: true}
	honest := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first.CompareAndSwap(nil, r.Header.Get("Range"))
		whole.ServeHTTP(w, r)
	}))
	require.NoError(t, d.Fetch(t.Context(), []File{f}, Fetcher{Sources: []string{lying, honest}}))
	require.Equal(t, "bytes=9000-", first.Load())
	require.Equal(t, Production, state(t, d, f))
}

// TestFetchAsksAgain: a gateway that has to look for a file first answers with errors.
func TestFetchAsksAgain(t *testing.T) {
	t.Parallel()
	f, d := aFile("v28-x.params", []byte("good")), Dir(t.TempDir())
	var asked atomic.Int32
	source := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < rounds {
			http.Error(w, "looking", http.StatusGatewayTimeout)
			return
		}
		_, _ = w.Write([]byte("good"))
	}))
	require.NoError(t, d.Fetch(t.Context(), []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{source}}))
	require.Equal(t, Production, state(t, d, f))
}

// TestFetchSeesThatThereIsSpace before it takes a byte.
func TestFetchSeesThatThereIsSpace(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("x"), 10_240)
	f, d := aFile("v28-x.params", content), Dir(t.TempDir())
	write(t, d, f.Name+partSuffix, content[:2_048])
	source := serve(t, &gateway{content: content, ranges: true})
	room := uint64(7_168)
	fetcher := Fetcher{Sources: []string{source}, free: func(string) (uint64, error) { return room, nil }}
	err := d.Fetch(t.Context(), []File{f}, fetcher)
	require.ErrorContains(t, err, "8 KiB are still to come, and 7 KiB are free: free space or give another folder with --dir")
	part, err := os.Stat(d.path(f.Name + partSuffix))
	require.NoError(t, err)
	require.EqualValues(t, 2_048, part.Size(), "what came before is kept")
	room = 8_192
	require.NoError(t, d.Fetch(t.Context(), []File{f}, fetcher))
	free, err := freeSpace(string(d))
	require.NoError(t, err)
	require.Positive(t, free)
}

func TestOneFetchAtATime(t *testing.T) {
	t.Parallel()
	f, d := aFile("v28-x.params", []byte("good")), Dir(t.TempDir())
	entered, leave := make(chan struct{}), make(chan struct{})
	source := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		_, _ = w.Write([]byte("good"))
	}))
	first := make(chan error, 1)
	go func() {
		first <- d.Fetch(t.Context(), []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{source}})
	}()
	<-entered
	require.ErrorContains(t, d.Fetch(t.Context(), []File{f}, Fetcher{Pause: time.Millisecond, Sources: []string{source}}), "another lpseal fetches it")
	close(leave)
	require.NoError(t, <-first)
}

func TestContentRange(t *testing.T) {
	t.Parallel()
	first, whole, ok := contentRange("bytes 9000-9999/10000")
	require.True(t, ok)
	require.Equal(t, []int64{9000, 10000}, []int64{first, whole})
	for _, bad := range []string{"", "bytes */10", "bytes 1-2/*", "items 1-2/3", "bytes 1/3"} {
		_, _, ok := contentRange(bad)
		require.False(t, ok, bad)
	}
}
