package web_test

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/web"
	"github.com/lpseal/lpseal/jobs"
)

const token = "correct-horse-battery-staple"

// everywhere is an address of each kind.
var everywhere = []string{
	"/", "/sectors/s-t01000-17", "/sectors/s-t01000-17/release", "/held", "/machines", "/metrics",
	"/queues/", "/queues/api/queues", "/queues/static/js/main.js", "/nope",
}

func guarded(t *testing.T) (*fleet, *visitor) {
	f := newFleet(t)
	f.rack()
	return f, f.serve(func(o *web.Options) { o.Token, o.AllowWrites = token, true })
}

func TestTokenIsAskedForEverywhere(t *testing.T) {
	t.Parallel()
	f, v := guarded(t)
	for _, path := range everywhere {
		browser := v.get(path)
		require.Equal(t, http.StatusSeeOther, browser.StatusCode, path)
		require.Equal(t, "/login?next="+url.QueryEscape(path), browser.Header.Get("Location"))
		require.NotContains(t, browser.body, "h1/main", path)

		program := v.request(http.MethodGet, path, nil)
		program.Header.Set("Accept", "*/*")
		got := v.do(program)
		require.Equal(t, http.StatusUnauthorized, got.StatusCode, path)
		require.Equal(t, `Bearer realm="lpseal"`, got.Header.Get("WWW-Authenticate"))
		require.NotContains(t, got.body, "h1/main", path)
	}
	// What says nothing about sectors is open.
	require.Equal(t, http.StatusOK, v.get("/healthz").StatusCode)
	require.Equal(t, http.StatusOK, v.get("/login").StatusCode)
	require.Contains(t, v.get("/static/style.css").Header.Get("Cache-Control"), "immutable")

	held := f.held(17)
	require.Equal(t, http.StatusUnauthorized, v.post("/sectors/s-t01000-17/release", nil).StatusCode)
	require.Equal(t, http.StatusUnauthorized, v.post("/queues/api/queues/sdr.h1:pause", nil).StatusCode)
	require.Equal(t, held, f.held(17), "nothing was ordered")
}

// held is the hold of a sector, for comparing.
func (f *fleet) held(n int) *jobs.Hold {
	f.t.Helper()
	r, err := f.store.Load(f.ctx, sector(n))
	require.NoError(f.t, err)
	return r.Hold
}

func TestTokenOpensByHeader(t *testing.T) {
	t.Parallel()
	_, v := guarded(t)
	v.header.Set("Authorization", "Bearer "+token)
	require.Contains(t, v.page("/"), "s-t01000-18")
	require.Contains(t, v.get("/metrics").body, "lpseal_sectors_open")
	for _, wrong := range []string{"", token, "Bearer", "Bearer ", "Bearer " + token + "x", "Bearer " + token[1:], "bearer x", "Basic " + token} {
		v.header.Set("Authorization", wrong)
		require.NotEqual(t, http.StatusOK, v.get("/").StatusCode, wrong)
	}
}

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	f, v := guarded(t)
	require.Contains(t, v.page("/login"), "Sign in with the token")

	wrong := v.post("/login", url.Values{"token": {"guess"}, "next": {"/held"}})
	require.Equal(t, http.StatusForbidden, wrong.StatusCode)
	require.Contains(t, text(wrong.body), "That is not the token")
	require.Empty(t, wrong.Cookies())
	require.Contains(t, wrong.body, `value="/held"`)

	right := v.post("/login", url.Values{"token": {token + "\n"}, "next": {"/sectors/s-t01000-17?log=all"}})
	require.Equal(t, http.StatusSeeOther, right.StatusCode)
	require.Equal(t, "/sectors/s-t01000-17?log=all", right.Header.Get("Location"))
	cookie := right.Cookies()[0]
	require.True(t, cookie.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
	require.Equal(t, "/", cookie.Path)
	require.NotContains(t, cookie.Value, token)
	require.Contains(t, v.page("/"), "Sign out")

	out := v.post("/logout", nil)
	require.Equal(t, "/login", out.Header.Get("Location"))
	require.Equal(t, http.StatusSeeOther, v.get("/").StatusCode)

	// A session ends by itself, and nobody makes a longer one of it.
	signed := func(value string) int {
		r := v.request(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: value})
		return v.do(r).StatusCode
	}
	require.Equal(t, http.StatusOK, signed(cookie.Value))
	_, mac, _ := strings.Cut(cookie.Value, ".")
	for _, forged := range []string{"", ".", "9999999999", "9999999999." + mac, cookie.Value + "x", "x" + cookie.Value} {
		require.Equal(t, http.StatusSeeOther, signed(forged), forged)
	}
	f.clock.Advance(6 * 24 * time.Hour)
	require.Equal(t, http.StatusOK, signed(cookie.Value))
	f.clock.Advance(2 * 24 * time.Hour)
	require.Equal(t, http.StatusSeeOther, signed(cookie.Value))
}

func TestAnotherTokenSignsEverybodyOut(t *testing.T) {
	t.Parallel()
	f, v := guarded(t)
	cookie := v.post("/login", url.Values{"token": {token}}).Cookies()[0]
	other := f.serve(func(o *web.Options) { o.Token = token + "2" })
	r := other.request(http.MethodGet, "/", nil)
	r.AddCookie(cookie)
	require.Equal(t, http.StatusSeeOther, other.do(r).StatusCode)
}

func TestCookieIsSecureBehindTLS(t *testing.T) {
	t.Parallel()
	_, v := guarded(t)
	require.False(t, v.post("/login", url.Values{"token": {token}}).Cookies()[0].Secure)
	v.header.Set("X-Forwarded-Proto", "https")
	require.True(t, v.post("/login", url.Values{"token": {token}}).Cookies()[0].Secure)
}

func TestSignInLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	_, v := guarded(t)
	for _, next := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "/\t/evil.example", "javascript:alert(1)", "evil", "", "/\n/evil.example"} {
		got := v.post("/login", url.Values{"token": {token}, "next": {next}})
		require.Equal(t, "/", got.Header.Get("Location"), "%q", next)
		require.NotContains(t, v.get("/login?next="+url.QueryEscape(next)).body, "evil", "%q", next)
	}
}

func TestSignInReadsNoMoreThanAForm(t *testing.T) {
	t.Parallel()
	_, v := guarded(t)
	// The right token, behind more than anybody types.
	got := v.post("/login", url.Values{"next": {strings.Repeat("x", 2<<20)}, "token": {token}})
	require.Equal(t, http.StatusForbidden, got.StatusCode)
}

func TestTokenIsNeverShown(t *testing.T) {
	t.Parallel()
	_, v := guarded(t)
	v.header.Set("Authorization", "Bearer "+token)
	for _, path := range append(everywhere, "/login", "/healthz") {
		got := v.get(path)
		require.NotContains(t, got.body, token, path)
		for name, values := range got.Header {
			require.NotContains(t, strings.Join(values, " "), token, name)
		}
	}
}

// A page elsewhere may send its visitor's browser here: to loopback, or with the session.
func TestWritesFromOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	v := f.serve(func(o *web.Options) { o.AllowWrites = true })
	for _, header := range []http.Header{
		{"Sec-Fetch-Site": {"cross-site"}},
		{"Sec-Fetch-Site": {"same-site"}},
		{"Origin": {"https://evil.example"}},
		{"Origin": {"null"}},
	} {
		for _, path := range []string{"/sectors/s-t01000-17/release", "/machines/h1/main/drain", "/queues/api/queues/sdr.h1:pause"} {
			r := v.request(http.MethodPost, path, nil)
			for name := range header {
				r.Header.Set(name, header.Get(name))
			}
			require.Equal(t, http.StatusForbidden, v.do(r).StatusCode, "%v %s", header, path)
		}
	}
	require.NotNil(t, f.held(17))
	draining, err := f.store.Draining(f.ctx, "h1/main")
	require.NoError(t, err)
	require.False(t, draining)
}

func TestWithoutATokenOnlyLoopbackIsAnswered(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	v := f.serve(nil)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(v.url, "http://"))
	require.NoError(t, err)
	as := func(host string) reply {
		r := v.request(http.MethodGet, "/", nil)
		r.Host = host
		return v.do(r)
	}
	for _, host := range []string{"localhost:" + port, "127.0.0.1:" + port, "127.0.0.1", "[::1]:" + port, "localhost"} {
		require.Equal(t, http.StatusOK, as(host).StatusCode, host)
	}
	// A name of somebody else's may resolve to 127.0.0.1.
	for _, host := range []string{"evil.example:" + port, "10.0.0.7", "localhost.evil.example", "0.0.0.0:" + port} {
		got := as(host)
		require.Equal(t, http.StatusForbidden, got.StatusCode, host)
		require.Contains(t, got.body, "web.token")
		require.NotContains(t, got.body, "s-t01000")
	}
}

func TestWithoutATokenOtherAddressesAreRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	h := f.handler(nil)
	for addr, want := range map[string]int{"127.0.0.1:1": http.StatusOK, "[::1]:1": http.StatusOK, "10.0.0.7:1": http.StatusForbidden, "[2001:db8::1]:1": http.StatusForbidden, "": http.StatusForbidden} {
		require.Equal(t, want, arrive(h, addr), addr)
	}
}

func TestHeadersKeepBrowsersInside(t *testing.T) {
	t.Parallel()
	_, v := guarded(t)
	v.header.Set("Authorization", "Bearer "+token)
	for _, path := range append(everywhere, "/login", "/healthz") {
		h := v.get(path).Header
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		require.Equal(t, "DENY", h.Get("X-Frame-Options"), path)
		require.Equal(t, "same-origin", h.Get("Referrer-Policy"), path)
		policy := h.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'", path)
		require.Contains(t, policy, "frame-ancestors 'none'", path)
		require.NotContains(t, policy, "http", "%s: nothing comes from elsewhere", path)
		require.NotRegexp(t, `script-src[^;]*unsafe`, policy, path)
	}
	require.NotContains(t, v.get("/").Header.Get("Content-Security-Policy"), "unsafe")
	require.Equal(t, "no-store", v.get("/").Header.Get("Cache-Control"))
}
