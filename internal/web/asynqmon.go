package web

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"

	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// queuesRoot is where asynqmon lives.
const queuesRoot = "/queues"

// shared lends a Redis client to asynq, which would open one of its own. It must not be
// closed through asynq.
type shared struct{ redis.UniversalClient }

// MakeRedisClient implements asynq.RedisConnOpt.
func (s shared) MakeRedisClient() any { return s.UniversalClient }

// queuesPage mounts asynqmon. Its one HTML page loads fonts from another site and knows no
// way back; it is served with the first taken out and the second put in, under a policy
// that names its inline scripts by digest. Styles it makes at run time. Of a task's ID its
// script shows what comes before the first dash, for it expects UUIDs; ours are shown whole.
func (s *site) queuesPage() (http.Handler, error) {
	mon := asynqmon.New(asynqmon.Options{
		RootPath: queuesRoot, RedisConnOpt: shared{s.Redis}, ReadOnly: !s.AllowWrites,
		PayloadFormatter: asynqmon.PayloadFormatterFunc(payloadText),
	})
	index, err := indexOf(mon)
	if err != nil {
		return nil, err
	}
	policy := "default-src 'none'; script-src 'self' " + strings.Join(scriptDigests(index), " ") +
		"; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !s.AllowWrites {
			http.Error(w, errReadOnly.Error(), http.StatusMethodNotAllowed)
			return
		}
		path := strings.TrimPrefix(r.URL.Path, queuesRoot)
		switch {
		case strings.HasPrefix(path, "/api/"):
			mon.ServeHTTP(w, r)
		case strings.HasPrefix(path, "/static/"):
			w.Header().Set("Cache-Control", "private, max-age=86400") // named by content
			if !strings.HasPrefix(path, "/static/js/main.") || !strings.HasSuffix(path, ".js") {
				mon.ServeHTTP(w, r)
				return
			}
			script := fetch(mon, r.URL.Path)
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			_, _ = io.WriteString(w, idPrefix.ReplaceAllString(script, "return $1")) // a client that went away needs no answer
		case isFile.MatchString(path):
			mon.ServeHTTP(w, r)
		default: // every other address is the one page's own affair
			w.Header().Set("Content-Security-Policy", policy)
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(index)
		}
	}), nil
}

var (
	isFile       = regexp.MustCompile(`^/[a-z0-9-]+\.(ico|png|json|txt)$`)
	foreignLink  = regexp.MustCompile(`<link[^>]*href="https?://[^>]*>`)
	idPrefix     = regexp.MustCompile(`return-1===\w\?(\w):\w\.substr\(0,\w\)`) // uuidPrefix, as its build writes it
	inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
)

// wayBack is put into asynqmon's page.
const wayBack = `<a class="lpseal-back" href="/">← lpseal pipeline</a>`

// kept is a response that stays here.
type kept struct {
	strings.Builder
	header http.Header
}

func (k *kept) Header() http.Header { return k.header }
func (*kept) WriteHeader(int)       {}

// fetch has asynqmon serve a file.
func fetch(mon http.Handler, path string) string {
	answer := &kept{header: http.Header{}}
	mon.ServeHTTP(answer, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}})
	return answer.String()
}

func indexOf(mon http.Handler) ([]byte, error) {
	page := fetch(mon, queuesRoot+"/")
	if !strings.Contains(page, "</head>") || !strings.Contains(page, "</body>") {
		return nil, errors.New("web: asynqmon has no page that could be served")
	}
	page = foreignLink.ReplaceAllString(page, "")
	page = strings.Replace(page, "</head>", `<link rel="stylesheet" href="/static/asynqmon.css"></head>`, 1)
	page = strings.Replace(page, "</body>", wayBack+"</body>", 1)
	return []byte(page), nil
}

func scriptDigests(page []byte) (out []string) {
	for _, m := range inlineScript.FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(m[1])
		out = append(out, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return out
}

// payloadText shows a payload as what it asks for.
func payloadText(taskType string, payload []byte) string {
	if t, err := jobs.ParsePayload(taskType, payload); err == nil {
		text := fmt.Sprintf("%s · %s · attempt %d", t.ID, t.Stage, t.Attempt)
		if t.Delivery > 1 {
			text += fmt.Sprintf(", delivery %d", t.Delivery)
		}
		return text
	}
	if taskType == queue.PollType {
		return "look at all sectors that are due"
	}
	var advance struct {
		Sector jobs.SectorID `json:"sector"`
	}
	if err := json.Unmarshal(payload, &advance); taskType == queue.AdvanceType && err == nil {
		return "look at " + advance.Sector.String()
	}
	return asynqmon.DefaultPayloadFormatter.FormatPayload(taskType, payload)
}

var _ asynq.RedisConnOpt = shared{}
