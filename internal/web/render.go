package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"math/big"
	"net/http"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/filecoin-project/go-state-types/abi"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

//go:embed templates static
var assets embed.FS

// pages are the parsed templates, each within the layout, and the static files.
type pages struct {
	byName map[string]*template.Template
	static http.Handler
}

func loadPages() (*pages, error) {
	digest, err := staticDigest()
	if err != nil {
		return nil, fmt.Errorf("web: static files: %w", err)
	}
	funcs := template.FuncMap{
		// Static files may be kept for ever: their address changes with their content.
		"static":  func(name string) string { return "/static/" + name + "?" + digest },
		"bytes":   func(n any) string { return humanize.IBytes(reflect.ValueOf(n).Uint()) }, // sizes have types of their own
		"comma":   func(n uint64) string { return humanize.BigComma(new(big.Int).SetUint64(n)) },
		"source":  sourceText,
		"number":  func(n int) string { return humanize.Comma(int64(n)) },
		"percent": func(part, whole uint64) uint64 { return 100 * part / max(whole, 1) },
		"upto":    func(n int) []struct{} { return make([]struct{}, max(n, 0)) },
		"add":     func(a, b int) int { return a + b },
		"minus":   func(a, b int) int { return a - b },
		"fil":     func(a abi.TokenAmount) string { return chain.FIL(a).String() },
		"epoch":   epochOrNone,
		"claims":  claims,
		"brief":   chain.BriefAddress,
		"epochs":  func(e abi.ChainEpoch) string { return humanize.Comma(int64(e)) },
	}
	layout, err := template.New("").Funcs(funcs).ParseFS(assets, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	p := &pages{byName: map[string]*template.Template{}, static: serveStatic()}
	for _, name := range []string{"pipeline", "sector", "confirm", "held", "messages", "deals", "machines", "login", "error"} {
		t, err := layout.Clone()
		if err == nil {
			t, err = t.ParseFS(assets, "templates/"+name+".html")
		}
		if err != nil {
			return nil, fmt.Errorf("web: %w", err)
		}
		p.byName[name] = t
	}
	return p, nil
}

func staticDigest() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(assets, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := assets.ReadFile(name)
		sum.Write(b)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:6]), err
}

func serveStatic() http.Handler {
	files := http.FileServerFS(assets)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path.Ext(r.URL.Path) == "" { // no listing
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		files.ServeHTTP(w, r)
	})
}

// answer is a page before it is rendered.
type answer struct {
	name, title string
	nav         string // the entry of the navigation it belongs to
	still       bool   // a form: not to be replaced under somebody's hands
	alone       bool   // without navigation: nobody has signed in
	body        any
}

// layout is what templates see.
type layout struct {
	Title, Nav  string
	Live, Alone bool
	Held        int // shown in the navigation
	SignedIn    bool
	Writes      bool
	Version     string
	Body        any
	now         time.Time
}

// errNoPage is an address that leads nowhere.
var errNoPage = errors.New("there is no such page")

// page makes a handler of a function that gathers a page's content.
func (s *site) page(content func(*http.Request) (*answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a, err := content(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.show(w, r, http.StatusOK, a)
	}
}

// fail shows an error as a page.
func (s *site) fail(w http.ResponseWriter, r *http.Request, err error) {
	code, title, says := http.StatusInternalServerError, "Something went wrong", err.Error()
	switch {
	case errors.Is(err, errNoPage), errors.Is(err, sectors.ErrNotFound), errors.Is(err, errNoWorker):
		code, title = http.StatusNotFound, "Not found"
	case errors.Is(err, jobs.ErrRefused), errors.Is(err, sectors.ErrConflict):
		code, title = http.StatusConflict, "Refused"
	case errors.Is(err, errReadOnly):
		code, title = http.StatusForbidden, "Read only"
	case errors.Is(err, errForm):
		code, title = http.StatusBadRequest, "Not understood"
	default:
		s.Log.Warn("a page could not be made", "path", r.URL.Path, "err", err)
		if !s.redisAnswers(r.Context()) {
			code, title = http.StatusServiceUnavailable, "Redis does not answer"
			says += ". The page comes back by itself when it does; lpseal config view --origin says where redis.url is set."
		}
	}
	s.show(w, r, code, &answer{name: "error", title: title, body: says})
}

// show renders a page. The live script sends the tag of what it has and is told when
// nothing changed.
func (s *site) show(w http.ResponseWriter, r *http.Request, code int, a *answer) {
	data := layout{
		Title: a.title, Nav: a.nav, Live: !a.still && !a.alone && (code == http.StatusOK || code == http.StatusServiceUnavailable && r.Method == http.MethodGet), Alone: a.alone, Body: a.body,
		SignedIn: s.Token != "", Writes: s.AllowWrites, Version: s.Version, now: s.Clock.Now(),
	}
	if !a.alone {
		held, _ := s.Store.Held(r.Context()) // a page about an error has no count
		data.Held = len(held)
	}
	var b bytes.Buffer
	if err := s.pages.byName[a.name].ExecuteTemplate(&b, "layout", data); err != nil {
		s.Log.Error("a page could not be rendered", "page", a.name, "err", err)
		http.Error(w, "the page could not be rendered; the log of lpseal web says why", http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256(b.Bytes())
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("ETag", tag)
	if code == http.StatusOK && r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Add("Vary", "Accept-Encoding")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.WriteHeader(code)
		_, _ = w.Write(b.Bytes()) // a client that went away needs no answer
		return
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(code)
	z := gzip.NewWriter(w)
	_, _ = z.Write(b.Bytes())
	_ = z.Close()
}

// Ago writes how long since, the exact time beside it.
func (l layout) Ago(t time.Time) template.HTML { return l.when(t, "%s ago") }

// In writes how long until.
func (l layout) In(t time.Time) template.HTML {
	if !t.After(l.now) {
		return "now"
	}
	return stamp(t, "in "+brief(t.Sub(l.now)))
}

// Age writes how long since, for a column of its own.
func (l layout) Age(t time.Time) template.HTML { return l.when(t, "%s") }

func (l layout) when(t time.Time, format string) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return stamp(t, fmt.Sprintf(format, brief(l.now.Sub(t))))
}

func stamp(t time.Time, text string) template.HTML {
	exact := t.UTC().Format("2006-01-02 15:04:05 UTC")
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.UTC().Format(time.RFC3339), exact, text))
}

// brief rounds a duration to what a person wants to know.
func brief(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}
