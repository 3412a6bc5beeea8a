package web_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/web"
	"github.com/lpseal/lpseal/jobs"
)

func writable(t *testing.T) (*fleet, *visitor) {
	f := newFleet(t)
	f.rack()
	return f, f.serve(func(o *web.Options) { o.AllowWrites = true })
}

func (f *fleet) load(n int) *jobs.Record {
	f.t.Helper()
	r, err := f.store.Load(f.ctx, sector(n))
	require.NoError(f.t, err)
	return r
}

// lastLines are the last of a sector's log, the oldest first: who, and what.
func (f *fleet) lastLines(n, count int) (out []string) {
	f.t.Helper()
	lines, err := f.store.Log(f.ctx, sector(n), count)
	require.NoError(f.t, err)
	for _, l := range lines {
		out = append(out, l.By+": "+l.Text)
	}
	return out
}

func TestReadOnlyPagesTakeNoOrders(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	v := f.serve(nil)
	before := f.load(17).Version
	for _, name := range []string{"hold", "release", "retry", "abort", "remove"} {
		for _, got := range []reply{v.get("/sectors/s-t01000-17/" + name), v.post("/sectors/s-t01000-17/"+name, url.Values{"stage": {"tree_d"}})} {
			require.Equal(t, http.StatusForbidden, got.StatusCode, name)
			require.Contains(t, text(got.body), "web.allow_writes")
		}
	}
	require.Equal(t, http.StatusForbidden, v.post("/machines/h1/main/drain", nil).StatusCode)
	require.Equal(t, before, f.load(17).Version)
	for _, path := range []string{"/", "/sectors/s-t01000-17", "/held", "/machines"} {
		require.NotContains(t, v.get(path).body, `method="post"`, path)
		require.Contains(t, v.page(path), "read only", path)
	}
}

func TestOrdersAreOfferedWhereTheyFit(t *testing.T) {
	t.Parallel()
	_, v := writable(t)
	held, running, finished, unplaced := v.page("/sectors/s-t01000-17"), v.page("/sectors/s-t01000-18"), v.page("/sectors/s-t01000-4"), v.page("/sectors/s-t01000-28")
	require.Contains(t, held, "Release… Retry from a stage… Abort… Remove…")
	require.Contains(t, running, "Retry from a stage… Hold… Abort… Remove…")
	require.Contains(t, unplaced, "Hold… Abort… Remove…")
	require.NotContains(t, unplaced, "Retry")
	require.NotContains(t, finished, "Remove…")
	require.Contains(t, v.page("/held"), "Release…")
}

func TestOrdersAreAskedBackAndGiven(t *testing.T) {
	t.Parallel()
	f, v := writable(t)
	order := func(n int, name string, form url.Values) {
		t.Helper()
		path := "/sectors/" + sector(n).String() + "/" + name
		require.Contains(t, v.page(path), "Leave it as it is")
		require.Contains(t, v.get(path).body, `method="post" action="`+path+`"`)
		got := v.post(path, form)
		require.Equal(t, http.StatusSeeOther, got.StatusCode, text(got.body))
		require.Equal(t, "/sectors/"+sector(n).String(), got.Header.Get("Location"))
	}

	order(18, "hold", url.Values{"reason": {"  new disk  "}})
	require.Equal(t, "new disk", f.load(18).Hold.Reason)
	require.Equal(t, []string{"web/127.0.0.1: held: new disk"}, f.lastLines(18, 1))
	order(18, "release", nil)
	require.Nil(t, f.load(18).Hold)

	order(19, "abort", nil)
	require.Equal(t, "aborted: abort by order", f.load(19).Hold.Reason)
	require.Equal(t, 2, f.load(19).Stage(jobs.SDR).Fence)

	require.Contains(t, v.page("/sectors/s-t01000-20/remove"), "Its scratch files are deleted.")
	require.Contains(t, v.page("/sectors/s-t01000-9/remove"), "It is pre-committed on chain: the deposit will be burnt.")
	require.Contains(t, v.page("/sectors/s-t01000-5/remove"), "It is committed on chain: without its files it will be faulty")
	order(20, "remove", url.Values{"reason": {"wrong data"}})
	require.True(t, f.load(20).Abandoned)

	retry := v.get("/sectors/s-t01000-17/retry").body
	require.Contains(t, retry, "<option selected>tree_d</option>", "the stage that failed")
	require.Contains(t, retry, "<option>sdr</option>")
	require.NotContains(t, retry, "<option>c2</option>")
	order(17, "retry", url.Values{"stage": {"sdr"}, "reason": {"bad memory"}})
	r := f.load(17)
	require.Nil(t, r.Hold, "a retry releases")
	require.Equal(t, 2, r.Stage(jobs.SDR).Fence)
	require.Equal(t, []string{"web/127.0.0.1: rolled back to sdr: bad memory", "web/127.0.0.1: released"}, f.lastLines(17, 2), "until it is rolled back nothing starts")

	f.deals()
	order(41, "hold", nil)
	require.NotContains(t, v.page("/sectors/s-t01000-42"), "Release as plain data…", "it claims nothing")
	require.Contains(t, v.page("/sectors/s-t01000-41"), "Release… Release as plain data… Abort… Remove…")
	require.Contains(t, v.page("/sectors/s-t01000-41/drop-deals"), "Its deals are lost.")
	order(41, "drop-deals", url.Values{"reason": {"too late"}})
	require.Equal(t, []string{"web/127.0.0.1: deals dropped: too late", "web/127.0.0.1: released"}, f.lastLines(41, 2))
}

func TestOrdersThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	f, v := writable(t)
	for path, want := range map[string]struct {
		code int
		says string
	}{
		"/sectors/s-t01000-18/release": {http.StatusConflict, "its state does not allow it any more"},
		"/sectors/s-t01000-4/remove":   {http.StatusConflict, "its state does not allow it any more"},
		"/sectors/s-t01000-5/retry":    {http.StatusConflict, "its state does not allow it any more"}, // committed
		"/sectors/s-t01000-999/hold":   {http.StatusNotFound, "no such sector"},
		"/sectors/s-t01000-18/sell":    {http.StatusNotFound, "no such page"},
		"/sectors/s-t01000-18/retry":   {http.StatusBadRequest, `"c2" is not a stage that the sector has come to`},
		"/machines/h9/main/drain":      {http.StatusNotFound, "no live worker has this name"},
		"/machines/h1/main/burn":       {http.StatusNotFound, "no such page"},
	} {
		got := v.post(path, url.Values{"stage": {"c2"}})
		require.Equal(t, want.code, got.StatusCode, path)
		require.Contains(t, text(got.body), want.says, path)
	}
	// The scheduler has the last word.
	v = f.serve(func(o *web.Options) { o.AllowWrites, o.Scheduler = true, nobody{} })
	got := v.post("/sectors/s-t01000-18/hold", nil)
	require.Equal(t, http.StatusInternalServerError, got.StatusCode)
	require.Contains(t, text(got.body), "the node does not answer")
}

func TestWorkersAreDrained(t *testing.T) {
	t.Parallel()
	f, v := writable(t)
	require.Contains(t, v.page("/machines"), "h1/main serving Drain")
	require.Equal(t, http.StatusSeeOther, v.post("/machines/h1/main/drain", nil).StatusCode)
	require.Contains(t, v.page("/machines"), "h1/main draining Resume")
	require.Equal(t, http.StatusSeeOther, v.post("/machines/h1/main/resume", nil).StatusCode)
	draining, err := f.store.Draining(f.ctx, "h1/main")
	require.NoError(t, err)
	require.False(t, draining)
}

// TestMachinesShowWhoMakesWhat and why, what is held, and a lane's environment.
func TestMachinesShowWhoMakesWhat(t *testing.T) {
	t.Parallel()
	_, v := writable(t)
	page := v.page("/machines")
	require.Contains(t, page, "tree_d native , c1 filcrypto · FIL_PROOFS_USE_MULTICORE_SDR=1")
	require.Contains(t, page, "memory: 192 GiB held by stages of 512 GiB")
	got := v.get("/machines")
	require.Contains(t, got.body, `title="filcrypto makes no data tree by itself; takes up to 1.0 GiB"`)
	require.Contains(t, got.body, `title="faster: 1s against 2s of native"`)
}

func TestRemovedSectorTakesNoMoreOrders(t *testing.T) {
	t.Parallel()
	f, v := writable(t)
	f.write(sector(22), 0, "cli", jobs.AbandonOrdered{Why: "by order"})
	got := v.page("/sectors/s-t01000-22")
	require.NotContains(t, got, "Release…")
	require.Equal(t, http.StatusConflict, v.post("/sectors/s-t01000-22/release", nil).StatusCode)
	f.clock.Advance(time.Minute)
	require.Contains(t, v.page("/?state=held"), "s-t01000-22")
}
