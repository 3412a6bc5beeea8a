package web_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/web"
	"github.com/lpseal/lpseal/jobs"
)

func TestPipelineShowsWhereEverySectorIs(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	v := f.serve(nil)
	got := v.page("/")
	for _, shown := range []string{
		"28 all 13 running 7 waiting 2 trying again 2 held 4 finished",
		"sdr sdr 6/8 6 2", // column: lanes busy/width, running, queued
		"tree_rc gpu/cpu 4/6 1 1 precommit",
		"s-t01000-18 ✓ layer 10/11 sdr 84% on h1/main 3h00m",
		"s-t01000-7 ✓ ✓ ✓ ✓ ✓ ✓ ✓ funds funds commit: the base fee is 12 nFIL",
		"s-t01000-17 data ✓ data piece 0 is not what its CID says",
		"s-t01000-6 ✓ ✓ ✓ ✓ ✓ ✓ ✓ sent commit sent, waits to land 4m",
		"s-t01000-28 waits for a place",
		"s-t01000-4 ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓ committed on chain",
		"h3/gpu0 takes no gpu rtx3090 work: no GPU is seen",
		"Held 2",
		"1–28 of 28",
	} {
		require.Contains(t, got, shown)
	}
	require.NotContains(t, got, "recovery", "a column for what is not there")
	require.Regexp(t, `title="sdr: running on h1/main for 3h00m, attempt 1, layer 10/11, about 3\dm left, 84%"`, v.get("/").body)
	require.Less(t, strings.Index(got, "s-t01000-28"), strings.Index(got, "s-t01000-4 "), "finished sectors come after open ones")
}

// A drained lane takes no work: a stage that has no other says so.
func TestPipelineSaysThatLanesAreDrained(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.workers()
	for _, host := range []string{"h1", "h2"} {
		require.NotContains(t, f.serve(nil).page("/"), "Nobody takes")
		require.NoError(t, f.store.SetDraining(f.ctx, host+"/main", true))
	}
	got := f.serve(nil).page("/")
	require.Contains(t, got, "sdr sdr 6/0")
	require.Contains(t, got, "Nobody takes sdr work: h1/main is drained (lpseal machines resume h1/main), h2/main is drained (lpseal machines resume h2/main) Machines")
	require.NotContains(t, got, "No scheduler is live")
	require.NoError(t, f.store.SetDraining(f.ctx, "h0/scheduler", true))
	got = f.serve(nil).page("/")
	require.Contains(t, got, "Nobody takes chain work: h0/scheduler is drained")
	require.NotContains(t, got, "No scheduler is live", "it polls")
}

// shown lists the sectors that a page has rows of.
func shown(body string) (ids []string) {
	for _, m := range regexp.MustCompile(`<tr id="(s-t0\d+-\d+)"`).FindAllStringSubmatch(body, -1) {
		ids = append(ids, strings.TrimPrefix(m[1], "s-t01000-"))
	}
	return ids
}

func TestPipelineIsNarrowedByItsAddress(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	other := jobs.SectorID{Miner: 2002, Number: 18}
	f.add(other, time.Hour, false)
	v := f.serve(nil)
	for query, want := range map[string][]string{
		"state=held":                   {"17", "26"},
		"state=fault":                  {"7", "11"},
		"state=finished":               {"4", "3", "2", "1"},
		"stage=c2":                     {"8", "9", "10", "11"},
		"stage=sdr&state=waiting":      {"24", "25"},
		"find=t01000-18":               {"18"},
		"find=1000-2&state=running":    {"20", "21", "22", "23", "27"},
		"miner=t02002":                 {other.String()},
		"miner=f02002&find=nothing":    nil,
		"stage=sdr&order=moved":        {"18", "19", "20", "21", "22", "23", "24", "25"},
		"stage=tree_rc&order=moved":    {"15", "16"},
		"state=finished&page=9":        {"4", "3", "2", "1"}, // the last page there is
		"stage=recover_wipe":           nil,
		"miner=t01000&state=held&a=b":  {"17", "26"},
		"state=waiting&stage=finalize": nil,
	} {
		require.Equal(t, want, shown(v.get("/?"+query).body), query)
	}
	for _, query := range []string{"miner=x", "miner=1000", "state=lost", "stage=pc1"} {
		got := v.get("/?" + query)
		require.Equal(t, http.StatusBadRequest, got.StatusCode, query)
		require.Contains(t, text(got.body), query[strings.Index(query, "=")+1:])
	}
	require.Contains(t, v.page("/?find=nothing"), "No sector is here with “nothing” in its name")
	require.Contains(t, v.get("/").body, `<option>t02002</option>`)
}

// An index is a hint: what is finished may still be in it, and what is in it may be gone.
func TestPipelineBelievesRecordsAndNotIndexes(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	for _, id := range []string{"s-t01000-4", "s-t01000-999"} {
		require.NoError(t, f.redis.Client.ZAdd(f.ctx, "lpseal:due", redis.Z{Member: id}).Err())
		require.NoError(t, f.redis.Client.ZAdd(f.ctx, "lpseal:held", redis.Z{Member: id}).Err())
	}
	v := f.serve(nil)
	require.Contains(t, v.page("/"), "28 all 13 running 7 waiting 2 trying again 2 held 4 finished")
	require.NotContains(t, v.get("/held").body, "s-t01000-4")
}

func TestPipelineHasPages(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for n := range 230 {
		f.add(sector(n), time.Hour, false)
	}
	v := f.serve(nil)
	first := v.get("/?find=s-t01000").body
	require.Len(t, shown(first), 100)
	require.Contains(t, text(first), "1–100 of 230 page 1 of 3 on →")
	require.NotContains(t, first, "rel=\"prev\"")
	next := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(first)
	second := v.get(strings.ReplaceAll(next[1], "&amp;", "&")).body
	require.Equal(t, "100", shown(second)[0])
	require.Contains(t, text(second), "101–200 of 230")
	last := v.get("/?page=3").body
	require.Len(t, shown(last), 30)
	require.NotContains(t, last, "rel=\"next\"")
}

func TestPipelineShowsRecoveryWhileThereIsAny(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	f.write(sector(24), 0, "test", jobs.RecoveryWanted{Stage: jobs.RecoverLocate, Why: "layers are missing"})
	got := f.serve(nil).page("/")
	require.Contains(t, got, "recovery now for")
	require.Contains(t, got, "s-t01000-24 CC ✓ queued recover_locate")
}

func TestPipelineSaysWhatKeepsAllFromWorking(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.add(sector(1), time.Hour, false)
	v := f.serve(nil)
	require.Contains(t, v.page("/"), "No worker is live")
	require.NoError(t, f.store.Join(f.ctx, jobs.Worker{Host: "h1", Instance: "main", Run: "r", Lanes: []jobs.Lane{{Class: jobs.ClassSDR, Width: 1}}}, time.Hour))
	require.Contains(t, v.page("/"), "No scheduler is live")
	require.NoError(t, f.redis.Client.HSet(f.ctx, "lpseal:{s-t01000-1}", "precommit_epoch", "soon").Err())
	f.clock.Advance(time.Minute)
	got := v.page("/")
	require.Contains(t, got, "1 of the records cannot be read, the first is s-t01000-1")
	require.Contains(t, got, "0 all", "what cannot be read is not counted as something")
}

func TestPagesFollowWhatHappens(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	v := f.serve(nil)
	first := v.get("/")
	again := v.request(http.MethodGet, "/", nil)
	again.Header.Set("If-None-Match", first.Header.Get("ETag"))
	same := v.do(again)
	require.Equal(t, http.StatusNotModified, same.StatusCode)
	require.Empty(t, same.body)

	f.write(sector(28), 0, "test", jobs.Held{Hold: jobs.Hold{Reason: "look here"}})
	rows := v.page("/")
	require.Contains(t, rows, "s-t01000-28 look here", "rows are of this moment")
	require.Contains(t, rows, "2 held", "and counts of a second ago")
	f.clock.Advance(2 * time.Second)
	require.Contains(t, v.page("/"), "3 held")
}

func TestPagesWorkWithoutScripts(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	v := f.serve(func(o *web.Options) { o.AllowWrites = true })
	for _, path := range []string{"/", "/held", "/machines", "/sectors/s-t01000-17"} {
		require.Contains(t, v.get(path).body, `<noscript><meta http-equiv="refresh"`, path)
	}
	// A form must not vanish under somebody's hands.
	require.NotContains(t, v.get("/sectors/s-t01000-17/release").body, "live.js")
	require.NotContains(t, v.get("/sectors/s-t01000-17/release").body, "refresh")
}

func TestPagesEscapeWhatOthersWrote(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.workers()
	f.add(sector(1), time.Hour, false)
	f.write(sector(1), 0, `<i>eve</i>`, jobs.Held{Hold: jobs.Hold{Reason: `<script>alert("x")</script>`}})
	v := f.serve(nil)
	for _, path := range []string{"/", "/held", "/sectors/s-t01000-1", "/?find=<script>alert(1)"} {
		body := v.get(path).body
		require.NotContains(t, body, "<script>alert", path)
		require.NotContains(t, body, "<i>eve", path)
	}
	require.Contains(t, v.get("/held").body, "&lt;script&gt;alert")
}

func TestHeldListsTheLongestFirst(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	v := f.serve(nil)
	got := v.page("/held")
	require.Contains(t, got, "2 sectors wait for a person")
	require.Contains(t, got, "s-t01000-17 data piece 0 is not what its CID says: look at /data/in/s-t01000-17.car 35m lpseal sectors release s-t01000-17")
	require.Contains(t, got, "s-t01000-26 by order kept back until the new NVMe is in 8m")
	require.Less(t, strings.Index(got, "s-t01000-17"), strings.Index(got, "s-t01000-26"))
	f.write(sector(17), 0, "test", jobs.Released{})
	f.write(sector(26), 0, "test", jobs.Released{})
	require.Contains(t, v.page("/held"), "Nothing waits for a person")
}

func TestSectorSaysWhy(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	v := f.serve(nil)

	running := v.page("/sectors/s-t01000-18")
	for _, shown := range []string{
		"s-t01000-18 running 32 GiB · 1 piece",
		"Why it is here sdr is running on sdr.h1",
		"sdr layer 10/11 1 1.1 sdr.h1 h1/main 3h00m running on h1/main for 3h00m, attempt 1, layer 10/11",
		"c2 SNARK from the vanilla proof",
		"of epoch 4,120,456, drawn at 4,121,356",
		"CommD baga6ea4seaq",
		"33,000,000,000 bytes, padded to 32 GiB, from /data/in/s-t01000-18.car",
		"h1/main@run1 s-t01000-18.sdr.f1.a1.d1 claimed by h1/main@run1",
		"lpseal sectors explain s-t01000-18",
	} {
		require.Contains(t, running, shown)
	}
	require.Contains(t, v.get("/sectors/s-t01000-18").body, `href="/queues/queues/sdr.h1/tasks/s-t01000-18.sdr.f1.a1.d1"`)

	held := v.page("/sectors/s-t01000-17")
	require.Contains(t, held, "Held data piece 0 is not what its CID says: look at /data/in/s-t01000-17.car at tree_d · held 35m ago")
	require.Contains(t, held, "data piece 0 is not what its CID says: look at /data/in/s-t01000-17.car attempt 1, 35m ago")

	sent := v.page("/sectors/s-t01000-6")
	require.Contains(t, sent, "bafy2bzacedmessagecommit6")
	require.Contains(t, sent, "pre-committed epoch 4,123,156")

	unplaced := v.page("/sectors/s-t01000-28")
	require.Contains(t, unplaced, "placed on path nvme-h1 next, because: path nvme-h1 has the most free space")

	require.Contains(t, v.page("/sectors/s-t01000-4"), "finished: committed record closed: nothing more is done")

	past := v.page("/sectors/s-t01000-8")
	require.Contains(t, past, "c2 21m 1 1.1 gpu.any.rtx4090")
}

func TestSectorKeepsFaultsThatAreOver(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.add(sector(1), time.Hour, false)
	f.until(sector(1), jobs.SDR, 30*time.Minute)
	f.fail(sector(1), jobs.SDR, 20*time.Minute, jobs.Failf(jobs.Transient, "the node was away"))
	v := f.serve(nil)
	require.Contains(t, v.page("/sectors/s-t01000-1"), "transient the node was away attempt 1, 20m ago")
	f.do(sector(1), jobs.SDR, 5*time.Minute)
	require.Contains(t, v.page("/sectors/s-t01000-1"), "sdr ✓ done 2 1.1 sdr.h2 h2/main 5m transient the node was away attempt 1, 20m ago , over")
}

func TestSectorLogIsCutUnlessAllIsAskedFor(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.add(sector(1), time.Hour, false)
	for n := range 60 {
		f.write(sector(1), 0, "test", jobs.Held{Hold: jobs.Hold{Reason: fmt.Sprintf("for the %dth time", n)}})
		f.write(sector(1), 0, "test", jobs.Released{})
	}
	v := f.serve(nil)
	cut, all := v.page("/sectors/s-t01000-1"), v.page("/sectors/s-t01000-1?log=all")
	require.Contains(t, cut, "Show the whole log")
	require.Equal(t, 100, strings.Count(v.get("/sectors/s-t01000-1").body, `<td class="num mono"><time`))
	require.NotContains(t, cut, "added: committed capacity")
	require.Contains(t, all, "added: committed capacity")
	require.NotContains(t, all, "Show the whole log")
	require.Less(t, strings.Index(cut, "the 59th time"), strings.Index(cut, "the 58th time"), "the newest first")
}

func TestSectorDoesNotShowWhatSignsAURL(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	id := sector(1)
	require.NoError(t, f.store.Create(f.ctx, &jobs.Record{
		ID: id, Version: 1, Created: f.now, CommD: commitment("CommD", id), Stages: map[jobs.Stage]jobs.StageRecord{},
		Pieces: []jobs.Piece{{CID: commitment("piece", id), Size: 2048, RawSize: 2000, Source: "https://me:secret@data.example/a.car?X-Signature=secret#secret"}},
	}, "test"))
	got := f.serve(nil).page("/sectors/s-t01000-1")
	require.Contains(t, got, "from https://data.example/a.car?…")
	require.NotContains(t, got, "secret")
}

func TestSectorIsShownWhileTheNodeIsAway(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	v := f.serve(func(o *web.Options) { o.Scheduler = nobody{} })
	got := v.page("/sectors/s-t01000-18")
	require.Contains(t, got, "sdr 84% on h1/main The scheduler's reason is not known: the node does not answer")
	require.Contains(t, got, "h1/main@run1")
}

func TestNoSuchPage(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	v := f.serve(nil)
	for _, path := range []string{"/nope", "/sectors/s-t01000-999", "/sectors/42", "/sectors/..%2f..%2fetc", "/sectors/s-t01000-17/sell", "/static/", "/static/nope.css"} {
		require.Equal(t, http.StatusNotFound, v.get(path).StatusCode, path)
	}
	require.Contains(t, text(v.get("/sectors/s-t01000-999").body), "no such sector")
}

func TestMachinesShowLanesPathsAndQueues(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	require.NoError(t, f.store.SetDraining(f.ctx, "h2/main", true))
	require.NoError(t, f.queues.Enqueue(f.ctx, jobs.Queue{Class: jobs.ClassCPU, Host: "h9"}, jobs.TaskRef{ID: sector(1), Stage: jobs.C1}))
	got := f.serve(nil).page("/machines")
	for _, shown := range []string{
		"4 live workers",
		"h1/main serving lane busy prover sdr 3/4 filcrypto",
		"gpu rtx4090 1/1 filcrypto · GPU 0",
		"h2/main draining",
		"h3/gpu0 unfit",
		"no GPU is seen by the prover: look at nvidia-smi",
		"/mnt/nvme0/seal seal 40% 5.7 TiB promised of 14 TiB · 6.0 TiB free on disk",
		"hdd-h1 store", "at work on h1: s-t01000-18.sdr.f1.a1",
		"gpu.any.rtx4090 0 1 h1/main", // h2 drains
		"cpu.h9 1 nobody: these tasks wait until a worker serves it",
		"gpu.h3.rtx3090 0 –",
	} {
		require.Contains(t, got, shown)
	}
	require.NotContains(t, got, "Drain", "read only")
}

func TestPagesSayThatRedisIsAway(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	v := f.serve(nil)
	require.Equal(t, "ok\n", v.get("/healthz").body)
	f.redis.Kill()
	require.Equal(t, http.StatusServiceUnavailable, v.get("/healthz").StatusCode)
	got := v.get("/")
	require.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
	require.Contains(t, text(got.body), "Redis does not answer")
	require.Contains(t, text(got.body), "The page comes back by itself")
	require.Contains(t, got.body, "data-live")
}
