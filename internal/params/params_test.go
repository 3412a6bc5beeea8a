package params

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/blake2b"
	"golang.org/x/sys/unix"

	"github.com/lpseal/lpseal/jobs"
)

func digestOf(b []byte) string {
	h := blake2b.Sum512(b)
	return hex.EncodeToString(h[:digestSize])
}

// aFile is a file of the manifest's kind with known content.
func aFile(name string, content []byte) File {
	return File{Name: name, Circuit: PoRep, SectorSize: 2048, CID: "cid-" + name, Digest: digestOf(content)}
}

func write(t *testing.T, d Dir, name string, content []byte) {
	require.NoError(t, os.WriteFile(d.path(name), content, 0o644))
}

func state(t *testing.T, d Dir, f File) State {
	all, err := d.Check(t.Context(), []File{f}, false, nil)
	require.NoError(t, err)
	require.Len(t, all, 1)
	return all[0].State
}

func TestManifestIsWhole(t *testing.T) {
	t.Parallel()
	require.Len(t, manifest, 45)
	for _, f := range manifest {
		require.NotEmpty(t, f.Circuit, f.Name)
		require.Len(t, f.Digest, 2*digestSize, f.Name)
		require.True(t, strings.HasPrefix(f.CID, "Qm"), f.Name)
	}
	for _, size := range []abi.SectorSize{2 << 10, 8 << 20, 512 << 20, 32 << 30, 64 << 30} {
		require.Len(t, Files([]abi.SectorSize{size}, PoRep), 2, "parameters and key")
		key, ok := PoRepKey(size)
		require.True(t, ok)
		require.True(t, key.IsKey())
	}
	require.Len(t, Files(nil, Aggregate), 1)
	require.Len(t, Files([]abi.SectorSize{32 << 30}, PoRep, Aggregate), 3, "an SRS is for every size")
	_, ok := PoRepKey(1)
	require.False(t, ok)
}

// TestStatesOfAFile takes one file through everything that may be on disk.
func TestStatesOfAFile(t *testing.T) {
	t.Parallel()
	d := Dir(t.TempDir())
	good := []byte("good")
	f := aFile("v28-x.params", good)
	list := func() State {
		all, err := d.List([]File{f})
		require.NoError(t, err)
		return all[0].State
	}
	require.Equal(t, Missing, list())
	write(t, d, f.Name+partSuffix, []byte("go"))
	require.Equal(t, Partial, list())
	write(t, d, f.Name, good)
	require.Equal(t, Unchecked, list(), "listing reads nothing")
	require.Equal(t, Production, state(t, d, f))
	require.Equal(t, Production, list(), "the digest is kept")

	write(t, d, f.Name, []byte("evil"))
	require.NoError(t, os.Chtimes(d.path(f.Name), time.Unix(1, 0), time.Unix(1, 0)))
	require.Equal(t, Unchecked, list(), "another version of the file")
	require.Equal(t, Wrong, state(t, d, f))
	require.NoError(t, d.save(testFile, map[string]string{f.Name: digestOf([]byte("evil"))}))
	require.Equal(t, Test, state(t, d, f))
}

// TestDigestIsTakenOnce changes a file behind its back, keeping size and time: only
// again reads it.
func TestDigestIsTakenOnce(t *testing.T) {
	t.Parallel()
	d, f, at := Dir(t.TempDir()), aFile("v28-x.params", []byte("good")), time.Unix(1e9, 0)
	for _, content := range []string{"good", "evil"} {
		write(t, d, f.Name, []byte(content))
		require.NoError(t, os.Chtimes(d.path(f.Name), at, at))
		require.Equal(t, Production, state(t, d, f))
	}
	all, err := d.Check(t.Context(), []File{f}, true, nil)
	require.NoError(t, err)
	require.Equal(t, Wrong, all[0].State)
	require.Equal(t, "1 wrong", States(all))
}

func TestADamagedNoteIsNamed(t *testing.T) {
	t.Parallel()
	d := Dir(t.TempDir())
	write(t, d, checkedFile, []byte("{"))
	_, err := d.List(manifest)
	require.ErrorContains(t, err, checkedFile)
	require.ErrorContains(t, err, "remove it")
}

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

// fakeTool stands for testparams: it writes what its arguments ask for.
func fakeTool(t *testing.T, script string) string {
	path := filepath.Join(t.TempDir(), "testparams")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\ncd \"$FIL_PROOFS_PARAMETER_CACHE\" || exit 1\n"+script), 0o755))
	return path
}

func makes(files []File) string {
	var script strings.Builder
	for _, f := range files {
		script.WriteString("echo \"$@\" $$ > " + f.Name + "\n")
	}
	return script.String()
}

func TestGeneratedParametersAreMarked(t *testing.T) {
	t.Parallel()
	d, files := Dir(filepath.Join(t.TempDir(), "made")), Files([]abi.SectorSize{2048}, PoRep)
	tool := fakeTool(t, makes(files))
	require.NoError(t, d.Generate(t.Context(), tool, 2048, 0))
	srs := Files(nil, Aggregate)
	require.NoError(t, d.Generate(t.Context(), fakeTool(t, makes(srs)), 2048, 64))
	for _, f := range append(files, srs...) {
		require.Equal(t, Test, state(t, d, f))
	}
	before, err := os.ReadFile(d.path(files[0].Name))
	require.NoError(t, err)
	require.Contains(t, string(before), "porep 2048")
	require.NoError(t, d.Generate(t.Context(), tool, 2048, 0))
	after, err := os.ReadFile(d.path(files[0].Name))
	require.NoError(t, err)
	require.Equal(t, before, after, "what is there is kept")

	for network, refused := range map[string]bool{"mainnet": true, "calibrationnet": true, "": true, "2k": false} {
		for _, need := range []Need{Proving(2048), Aggregating(2048)} {
			test, err := d.Ready(t.Context(), network, need)
			require.True(t, test)
			if !refused {
				require.NoError(t, err)
				continue
			}
			fault, ok := jobs.Classify(t.Context(), err)
			require.True(t, ok)
			require.Equal(t, jobs.Busy, fault.Class)
			require.Contains(t, fault.Text, "test parameters")
		}
	}
	require.ErrorContains(t, d.Fetch(t.Context(), files, Fetcher{}), "holds test parameters")
}

func TestGenerateLeavesNothingHalf(t *testing.T) {
	t.Parallel()
	d, files := Dir(t.TempDir()), Files([]abi.SectorSize{2048}, PoRep)
	err := d.Generate(t.Context(), fakeTool(t, makes(files)+"echo no memory, backtrace $RUST_BACKTRACE >&2; exit 3\n"), 2048, 0)
	require.ErrorContains(t, err, "exit status 3\nno memory, backtrace 0")
	err = d.Generate(t.Context(), fakeTool(t, makes(files[:1])), 2048, 0)
	require.ErrorContains(t, err, "the tool made no "+files[1].Name)
	left, err := os.ReadDir(string(d))
	require.NoError(t, err)
	require.Empty(t, left)

	require.ErrorContains(t, d.Generate(t.Context(), "", 32<<30, 0), "no test parameters are made for sectors of 32GiB")
	write(t, d, manifest[0].Name, []byte("of somebody"))
	require.ErrorContains(t, d.Generate(t.Context(), "", 2048, 0), "give another folder with --dir")
}

// TestOneGeneratesAtATime, and whoever waited for it finds what it was to make; what a killed one left goes.
func TestOneGeneratesAtATime(t *testing.T) {
	t.Parallel()
	d, files, gate := Dir(t.TempDir()), Files([]abi.SectorSize{2048}, PoRep), filepath.Join(t.TempDir(), "gate")
	require.NoError(t, unix.Mkfifo(gate, 0o600))
	require.NoError(t, os.MkdirAll(d.path(".making/of a killed one"), 0o755))
	waits, never := fakeTool(t, "read go < "+gate+"\n"+makes(files)), fakeTool(t, "exit 9\n")
	first := make(chan error, 1)
	go func() { first <- d.Generate(t.Context(), waits, 2048, 0) }()
	open, err := os.OpenFile(gate, os.O_WRONLY, 0) // waits for its reader
	require.NoError(t, err)
	impatient, cancel := context.WithTimeout(t.Context(), lockLook/2)
	defer cancel()
	require.ErrorIs(t, d.Generate(impatient, never, 2048, 0), context.DeadlineExceeded)
	second := make(chan error, 1)
	go func() { second <- d.Generate(t.Context(), never, 2048, 0) }()
	_, err = open.WriteString("go\n")
	require.NoError(t, errors.Join(err, open.Close()))
	require.NoError(t, <-first)
	require.NoError(t, <-second)
	for _, f := range files {
		require.Equal(t, Test, state(t, d, f))
	}
	require.NoDirExists(t, d.path(".making"))
}

func TestReadySaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	d := Dir(t.TempDir())
	_, err := d.Ready(t.Context(), "mainnet", Proving(32<<30))
	require.ErrorContains(t, err, "is missing in "+string(d)+": run lpseal params fetch --sector-size 32GiB")
	for _, f := range Files([]abi.SectorSize{32 << 30}, PoRep) {
		write(t, d, f.Name, []byte("cut"))
	}
	_, err = d.Ready(t.Context(), "mainnet", Proving(32<<30))
	require.ErrorContains(t, err, "it is damaged or of another origin")
	_, err = d.Ready(t.Context(), "mainnet", Proving(3<<10))
	fault, _ := jobs.Classify(t.Context(), err)
	require.Equal(t, jobs.Rejected, fault.Class)
	for size, text := range map[abi.SectorSize]string{2 << 10: "2KiB", 8 << 20: "8MiB", 64 << 30: "64GiB"} {
		require.Equal(t, text, sizeText(size))
	}
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

func TestDefaultDirIsTheLibrarys(t *testing.T) {
	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", "")
	require.Equal(t, Dir("/var/tmp/filecoin-proof-parameters"), DefaultDir())
	t.Setenv("FIL_PROOFS_PARAMETER_CACHE", "/p")
	require.Equal(t, Dir("/p"), DefaultDir())
}
