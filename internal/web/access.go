package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Who may see the pages, and what a browser may do with them.

const (
	sessionCookie = "lpseal_session"
	sessionTTL    = 7 * 24 * time.Hour
	maxBody       = 1 << 20 // bytes: forms, and asynqmon's lists of task IDs
)

// contentPolicy is for our own pages: all from this server, no inline script or style.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard stands before every page. Writes from other sites are refused before anything
// else is asked: a browser sends cookies, and reaches loopback, for any site.
func (s *site) guard(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.admit(next))
	if s.Token != "" {
		mux.HandleFunc("GET /login", s.loginForm)
		mux.HandleFunc("POST /login", s.login)
		mux.HandleFunc("POST /logout", s.logout)
	}
	return headers(http.NewCrossOriginProtection().Handler(mux))
}

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// admit lets in who knows the token or, where there is none, who is on this machine.
func (s *site) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.Token == "" && !fromHere(r):
			http.Error(w, "these pages have no token, so they answer on loopback only: set web.token (LPSEAL_WEB_TOKEN_FILE), or open http://127.0.0.1 through a tunnel", http.StatusForbidden)
		case s.Token == "", isOpen(r.URL.Path), s.knows(r):
			next.ServeHTTP(w, r)
		case r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html"):
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="lpseal"`)
			http.Error(w, "sign in at /login, or send Authorization: Bearer TOKEN", http.StatusUnauthorized)
		}
	})
}

// isOpen names what is served to anybody: it says nothing about sectors.
func isOpen(path string) bool { return path == "/healthz" || strings.HasPrefix(path, "/static/") }

// fromHere says that a request came in on a loopback address and was meant for one. A
// site may have its name resolve to 127.0.0.1 and read our answers with its visitor's
// browser: only the Host header then tells.
func fromHere(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	local, err := netip.ParseAddrPort(addr.String())
	return err == nil && local.Addr().Unmap().IsLoopback() && isLoopback(r.Host)
}

func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// knows says that a request carries the token or a session.
func (s *site) knows(r *http.Request) bool {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return s.isToken(token)
	}
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return false
	}
	until, _, _ := strings.Cut(c.Value, ".")
	unix, err := strconv.ParseInt(until, 10, 64)
	return err == nil && subtle.ConstantTimeCompare([]byte(c.Value), []byte(s.session(until))) == 1 &&
		s.Clock.Now().Before(time.Unix(unix, 0))
}

// isToken compares digests, so that the time taken tells not even the length.
func (s *site) isToken(given string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s.Token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// session makes a cookie's value: its end, signed with the token. Nothing is kept, so a
// restart signs nobody out, and another token signs out everybody.
func (s *site) session(until string) string {
	mac := hmac.New(sha256.New, []byte(s.Token))
	mac.Write([]byte("lpseal web session until " + until))
	return until + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (s *site) loginForm(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, s.loginPage(r.FormValue("next"), false))
}

func (s *site) loginPage(next string, wrong bool) *answer {
	return &answer{name: "login", title: "Sign in", alone: true, body: map[string]any{"Next": localPath(next), "Wrong": wrong}}
}

func (s *site) login(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.PostFormValue("next"))
	if !s.isToken(strings.TrimSpace(r.PostFormValue("token"))) {
		s.Log.Warn("sign-in with a wrong token", "from", r.RemoteAddr)
		s.show(w, r, http.StatusForbidden, s.loginPage(next, true))
		return
	}
	end := s.Clock.Now().Add(sessionTTL)
	setSession(w, r, s.session(strconv.FormatInt(end.Unix(), 10)), end)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (s *site) logout(w http.ResponseWriter, r *http.Request) {
	setSession(w, r, "", time.Unix(1, 0))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func setSession(w http.ResponseWriter, r *http.Request, value string, end time.Time) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", Expires: end,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
		// A proxy in front ends TLS.
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
}

// localPath is a path of this site, whatever a link asked for.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\t\r\n") {
		return "/"
	}
	return next
}
