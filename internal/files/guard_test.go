package files

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

func TestAStaleClaimIsRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := context.Background()
	fence := 1
	f.h2.Fence = func(_ context.Context, id jobs.SectorID, s jobs.Stage) (int, error) {
		require.Equal(t, testSector, id)
		require.Equal(t, jobs.Store, s)
		return fence, nil
	}
	fence = 2
	_, err := f.h1.Store(ctx, f.r, nil)
	require.ErrorContains(t, err, "stale")
	requireFault(t, err, jobs.Rejected)
	require.Empty(t, sectorFiles(t, f.store))
	f.r.Stages[jobs.Store] = jobs.StageRecord{Fence: 2}
	_, err = f.h1.Store(ctx, f.r, nil)
	require.NoError(t, err)
	f.h2.Fence = func(context.Context, jobs.SectorID, jobs.Stage) (int, error) { return 0, os.ErrDeadlineExceeded }
	_, err = f.h1.Store(ctx, f.r, nil)
	requireFault(t, err, jobs.Transient)
}

// ask sends a request signed as the fleet signs, after change.
func (f *fleet) ask(t *testing.T, method, uri string, change func(*http.Request)) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, f.workers[1].FileURL+uri, nil) // nothing is cleaned on this side
	require.NoError(t, err)
	if change == nil {
		sign(testSecret, req, time.Now())
	} else {
		change(req)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close(); http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	return resp
}

func TestSignature(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	uri := sectorURI(testSector)
	require.Equal(t, http.StatusOK, f.ask(t, "GET", uri, nil).StatusCode)
	signed := func(change func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) { sign(testSecret, r, time.Now()); change(r) }
	}
	for name, change := range map[string]func(*http.Request){
		"none":                func(*http.Request) {},
		"of another secret":   func(r *http.Request) { sign([]byte("some other secret"), r, time.Now()) },
		"expired":             func(r *http.Request) { sign(testSecret, r, time.Now().Add(-validity-time.Second)) },
		"from the far future": func(r *http.Request) { sign(testSecret, r, time.Now().Add(3*validity)) },
		"expiry put off":      signed(func(r *http.Request) { r.Header.Set(expiresHeader, "99999999999") }),
		"other method":        signed(func(r *http.Request) { r.Method = "PUT" }),
		"other path":          signed(func(r *http.Request) { r.URL.Path += "3" }),
		"other query":         signed(func(r *http.Request) { r.URL.RawQuery = "x=1" }),
		"other host":          signed(func(r *http.Request) { r.Host = "other.example" }),
		"other fence":         signed(func(r *http.Request) { r.Header.Set(fenceHeader, "9") }),
		"other offset":        signed(func(r *http.Request) { r.Header.Set(offsetHeader, "9") }),
		"other body":          signed(func(r *http.Request) { r.Header.Set(bodyHeader, "00") }),
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, http.StatusUnauthorized, f.ask(t, "GET", uri, change).StatusCode)
		})
	}
	placed := f.ask(t, "POST", sectorURI(testSector, f.store.meta.ID, "place"), func(r *http.Request) {
		r.Header.Set(stageHeader, string(jobs.Store))
		r.Header.Set(fenceHeader, "1")
		r.Header.Set(bodyHeader, sha([]byte(`{"sealed":"00"}`)))
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(`{}`)), 2
		sign(testSecret, r, time.Now())
	})
	require.Equal(t, http.StatusBadRequest, placed.StatusCode, "a body that is not the signed one")
	f.h1.Secret = []byte("not what the others have")
	_, err := f.h1.Store(context.Background(), f.r, nil)
	requireFault(t, err, jobs.Busy)
	require.ErrorContains(t, err, "secret")
	f.h2.Secret = nil
	require.Equal(t, http.StatusUnauthorized, f.ask(t, "GET", uri, func(r *http.Request) { sign(nil, r, time.Now()) }).StatusCode)
}

// A name becomes a path only if it parses as a sector, is the id of a path, and is in
// the closed set of file names.
func TestNoRequestLeavesThePath(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	id := f.store.meta.ID
	secret := filepath.Join(filepath.Dir(f.store.dir), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("the operator's"), 0o644))
	before := tree(t, filepath.Dir(f.store.dir))
	sector := "/v1/sectors/s-t01000-42"
	digest := strings.Repeat("a", 64)
	for _, c := range []struct{ method, uri string }{
		{"GET", "/v1/sectors/..%2f..%2fsecret"},
		{"GET", "/v1/sectors/s-t01000-042"},
		{"GET", "/v1/sectors/s-t01000-42%2f.."},
		{"GET", sector + "/" + id + "/..%2f..%2f..%2fsecret"},
		{"GET", sector + "/" + id + "/%2e%2e"},
		{"GET", sector + "/" + id + "/../../../../../secret"},
		{"GET", sector + "/" + id + "/" + MetaFile},
		{"GET", sector + "/" + id + "/" + ManifestFile},
		{"GET", sector + "/" + id + "/sealed%00"},
		{"GET", sector + "/..%2f..%2fsecret/sealed"},
		{"GET", sector + "/" + url.PathEscape(f.store.dir) + "/sealed"},
		{"PUT", sector + "/" + id + "/..%2fx/arrival?size=0&sha256=" + digest},
		{"PUT", sector + "/" + id + "/sealed/arrival?size=0&sha256=..%2f..%2fx"},
		{"PUT", sector + "/" + id + "/sealed/arrival?size=-1&sha256=" + digest},
		{"PUT", sector + "/" + id + "/sealed/arrival?size=5&sha256=" + digest}, // but no body
		{"POST", sector + "/" + id + "/place"},
		{"PUT", "/v1/pieces/..%2f..%2fx?size=0&path=" + id},
		{"PUT", "/v1/pieces/" + digest + "?size=0&path=..%2f.."},
		{"DELETE", sector + "/" + id + "/sealed"},
		{"GET", "/"},
	} {
		t.Run(c.method+" "+c.uri, func(t *testing.T) {
			resp := f.ask(t, c.method, c.uri, func(r *http.Request) {
				r.Header.Set(stageHeader, string(jobs.Store))
				r.Header.Set(fenceHeader, "1")
				r.Header.Set(offsetHeader, "0")
				sign(testSecret, r, time.Now())
			})
			b, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.GreaterOrEqual(t, resp.StatusCode, 300, "%s", b)
			require.NotEqual(t, http.StatusUnauthorized, resp.StatusCode, "the signature is not what is tested here")
			require.Less(t, resp.StatusCode, 500, "%s", b)
			require.NotContains(t, string(b), "the operator's")
			require.Equal(t, before, tree(t, filepath.Dir(f.store.dir)))
		})
	}
	t.Run("a write without a claim", func(t *testing.T) {
		resp := f.ask(t, "PUT", sector+"/"+id+"/sealed/arrival?size=0&sha256="+digest, nil)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(b), "stage and fence")
	})
}

// A sender that lost count must not tear a hole into a file.
func TestAnUploadContinuesWhereTheFileEnds(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	digest := strings.Repeat("a", 64)
	arrival := f.store.arrival(testSector, jobs.SealedFile, digest)
	require.NoError(t, os.WriteFile(arrival, []byte("1234"), 0o644))
	put := func(offset, body string) *http.Response {
		return f.ask(t, "PUT", sectorURI(testSector, f.store.meta.ID, jobs.SealedFile, "arrival")+transferQuery(8, digest), func(r *http.Request) {
			r.Header.Set(stageHeader, string(jobs.Store))
			r.Header.Set(fenceHeader, "1")
			r.Header.Set(offsetHeader, offset)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			sign(testSecret, r, time.Now())
		})
	}
	require.NotEqual(t, http.StatusOK, put("6", "78").StatusCode)
	require.NotEqual(t, http.StatusOK, put("2", "345678").StatusCode)
	require.NotEqual(t, http.StatusOK, put("4", "567").StatusCode, "not all of the rest")
	require.Equal(t, http.StatusOK, put("4", "5678").StatusCode)
	b, err := os.ReadFile(arrival)
	require.NoError(t, err)
	require.Equal(t, "12345678", string(b))
}
