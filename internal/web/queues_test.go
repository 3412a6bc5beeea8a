package web_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/web"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/jobs/queue"
)

// payloads asks asynqmon for the payloads of a queue's pending tasks, by task ID.
func (v *visitor) payloads(name string) map[string]string {
	v.t.Helper()
	var answer struct {
		Tasks []struct{ ID, Payload string }
	}
	require.NoError(v.t, json.Unmarshal([]byte(v.get("/queues/api/queues/"+name+"/pending_tasks").body), &answer))
	out := map[string]string{}
	for _, task := range answer.Tasks {
		out[task.ID] = task.Payload
	}
	return out
}

func TestAsynqmonShowsSectorAndStage(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	q := jobs.Queue{Class: jobs.ClassGPU, Host: jobs.AnyHost, GPU: "a"}
	first := jobs.TaskRef{ID: sector(42), Stage: jobs.C2, Fence: 1, Attempt: 2, Delivery: 1}
	again := jobs.TaskRef{ID: sector(43), Stage: jobs.C2, Fence: 3, Attempt: 1, Delivery: 3}
	require.NoError(t, f.queues.Enqueue(f.ctx, q, first))
	require.NoError(t, f.queues.Enqueue(f.ctx, q, again))
	require.NoError(t, f.queues.Advance(f.ctx, sector(44), 7))
	v := f.serve(nil)
	require.Equal(t, map[string]string{
		first.String(): "s-t01000-42 · c2 · attempt 2",
		again.String(): "s-t01000-43 · c2 · attempt 1, delivery 3",
	}, v.payloads("gpu.any.a"))
	require.Equal(t, map[string]string{"s-t01000-44.v7": "look at s-t01000-44"}, v.payloads("scheduler"))
}

func TestAsynqmonShowsThePollAsScheduled(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	s, err := f.queues.ServeScheduler(queue.SchedulerOptions{
		Period: time.Minute, Log: slog.New(slog.DiscardHandler),
		Poll:    func(context.Context) error { return nil },
		Advance: func(context.Context, jobs.SectorID) error { return nil },
	})
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	v := f.serve(nil)
	require.Eventually(t, func() bool {
		var answer struct {
			Entries []struct {
				Spec    string
				Payload string `json:"task_payload"`
				Next    string `json:"next_enqueue_at"`
			}
		}
		require.NoError(t, json.Unmarshal([]byte(v.get("/queues/api/scheduler_entries").body), &answer))
		return len(answer.Entries) == 1 && answer.Entries[0].Spec == "@every 1m0s" &&
			answer.Entries[0].Payload == "look at all sectors that are due" && answer.Entries[0].Next != ""
	}, 20*time.Second, 20*time.Millisecond)
}

func TestAsynqmonIsReadOnlyUnlessTold(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	require.NoError(t, f.queues.Enqueue(f.ctx, jobs.Queue{Class: jobs.ClassChain}, jobs.TaskRef{ID: sector(1), Stage: jobs.PreCommit, Attempt: 1}))
	writes := []struct{ method, path string }{
		{http.MethodPost, "/queues/api/queues/chain:pause"},
		{http.MethodPost, "/queues/api/queues/chain:resume"},
		{http.MethodDelete, "/queues/api/queues/chain/pending_tasks:delete_all"},
		{http.MethodPost, "/queues/"},
		{http.MethodPut, "/queues/static/js/main.js"},
	}
	v := f.serve(nil)
	for _, w := range writes {
		require.Equal(t, http.StatusMethodNotAllowed, v.do(v.request(w.method, w.path, nil)).StatusCode, w.path)
	}
	require.Len(t, v.payloads("chain"), 1)
	require.Contains(t, v.get("/queues/").body, `FLAG_READ_ONLY="true"`)

	v = f.serve(func(o *web.Options) { o.AllowWrites = true })
	for _, w := range writes[:3] {
		require.Less(t, v.do(v.request(w.method, w.path, nil)).StatusCode, 300, w.path)
	}
	require.Empty(t, v.payloads("chain"))
}

func TestAsynqmonLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	v := f.serve(nil)
	require.Equal(t, "/queues/", v.get("/queues").Header.Get("Location"))
	for _, path := range []string{"/queues/", "/queues/queues/sdr.h1", "/queues/schedulers"} {
		page := v.get(path)
		require.Equal(t, http.StatusOK, page.StatusCode, path)
		require.NotRegexp(t, `(src|href)="(https?:)?//`, page.body)
		require.Contains(t, page.body, `href="/">← lpseal pipeline`)
		require.NotContains(t, page.Header.Get("Content-Security-Policy"), "script-src 'self' 'unsafe")
		require.Regexp(t, `script-src 'self' 'sha256-\S+' 'sha256-`, page.Header.Get("Content-Security-Policy"))
	}
	require.Contains(t, v.get("/queues/favicon.ico").Header.Get("Content-Type"), "image/")
}
