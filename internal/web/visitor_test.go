package web_test

import (
	"context"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// visitor asks for pages as a browser does.
type visitor struct {
	t      testing.TB
	url    string
	client *http.Client
	header http.Header // of every request
}

// reply is a response, read whole.
type reply struct {
	*http.Response
	body string
}

func (v *visitor) do(r *http.Request) reply {
	v.t.Helper()
	for name, values := range v.header {
		if r.Header.Get(name) == "" {
			r.Header[name] = values
		}
	}
	resp, err := v.client.Do(r)
	require.NoError(v.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(v.t, err)
	return reply{resp, string(b)}
}

func (v *visitor) request(method, path string, body io.Reader) *http.Request {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, body)
	require.NoError(v.t, err)
	return r
}

func (v *visitor) get(path string) reply {
	v.t.Helper()
	return v.do(v.request(http.MethodGet, path, nil))
}

// page is a GET that must give a page; its text without markup.
func (v *visitor) page(path string) string {
	v.t.Helper()
	got := v.get(path)
	require.Equal(v.t, http.StatusOK, got.StatusCode, got.body)
	return text(got.body)
}

func (v *visitor) post(path string, form url.Values) reply {
	v.t.Helper()
	r := v.request(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return v.do(r)
}

// arrive has a request come in on an address of this machine.
func arrive(h http.Handler, local string) int {
	r := httptest.NewRequest(http.MethodGet, "http://localhost/healthz", nil)
	if addr, err := netip.ParseAddrPort(local); err == nil {
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.TCPAddrFromAddrPort(addr)))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

// text takes the markup out of a page and squeezes its white space.
func text(page string) string {
	_, page, _ = strings.Cut(page, "<body>")
	var b strings.Builder
	for page != "" {
		plain, rest, tag := strings.Cut(page, "<")
		b.WriteString(plain + " ")
		if !tag {
			break
		}
		_, page, _ = strings.Cut(rest, ">")
	}
	return html.UnescapeString(strings.Join(strings.Fields(b.String()), " "))
}
