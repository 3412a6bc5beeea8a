package web_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// update writes the screenshots that the documentation shows:
//
//	go test ./internal/web -run Browser -update
var update = flag.Bool("update", false, "write docs/images")

// browse starts a browser with a window of a size.
func browse(t *testing.T, width, height int64, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.WindowSize(int(width), int(height)),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(time.Minute),
	}, more)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, height, chromedp.EmulateScale(1.5))))
	return ctx
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no chromium: make deps installs it")
	return ""
}

// picture writes what the browser shows, with -update.
func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	if !*update {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	require.NoError(t, err)
	dir := filepath.Join("..", "..", "docs", "images")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), png, 0o644))
}

// open goes to a page and waits until it lives.
func open(t *testing.T, ctx context.Context, url string) {
	t.Helper()
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(url), chromedp.WaitVisible("#pulse")))
}

// eventually asks the page until an expression is true.
func eventually(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	require.NoError(t, poll(ctx, expression), expression)
}

func poll(ctx context.Context, expression string) error {
	_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression))
	return err
}

// refused lists what the page's own policy kept the browser from loading.
const refused = `(() => { const o = new ReportingObserver(() => {}, {types: ["csp-violation"], buffered: true}); o.observe(); return o.takeRecords().map(r => r.body.effectiveDirective + " " + r.body.blockedURL) })()`

func requireNothingRefused(t *testing.T, ctx context.Context) {
	t.Helper()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](refused))
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestBrowserShowsThePipeline(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	v := f.serve(nil)
	ctx := browse(t, 1440, 900)

	open(t, ctx, v.url+"/")
	grid, err := chromedp.Run(ctx, chromedp.Text(".grid"))
	require.NoError(t, err)
	for _, shown := range []string{"s-t01000-18", "layer 10/11", "sdr 84% on h1/main", "piece 0 is not what its CID says", "gpu 2/2"} {
		require.Contains(t, grid, shown)
	}
	requireNothingRefused(t, ctx)
	picture(t, ctx, "pipeline.png")

	// It lives: what happens shows without a reload, and focus stays.
	require.NoError(t, chromedp.Do(ctx, chromedp.Focus(`#s-t01000-18 td.running a`)))
	f.clock.Advance(time.Minute)
	f.progress(sector(18), jobs.SDR, "layer 11/11", 1, 2)
	f.write(sector(28), 0, "test", jobs.Held{Hold: jobs.Hold{Reason: "held while you look"}})
	eventually(t, ctx, `document.querySelector("#s-t01000-18").innerText.includes("layer 11/11")`)
	eventually(t, ctx, `document.querySelector("#s-t01000-28").className === "held" && document.querySelector("#pages .badge").innerText === "3"`)
	eventually(t, ctx, `document.activeElement.matches("#s-t01000-18 td.running a")`)
}

func TestBrowserShowsASector(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	v := f.serve(nil)
	ctx := browse(t, 1440, 900)
	open(t, ctx, v.url+"/sectors/s-t01000-17")
	page, err := chromedp.Run(ctx, chromedp.Text("#main"))
	require.NoError(t, err)
	require.Contains(t, page, "piece 0 is not what its CID says")
	requireNothingRefused(t, ctx)
	picture(t, ctx, "sector.png")
}

func TestBrowserShowsAsynqmon(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.rack()
	f.work()
	v := f.serve(nil)
	ctx := browse(t, 1440, 900)
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(v.url+"/queues/")))
	eventually(t, ctx, `document.body.innerText.includes("gpu.any.rtx4090")`)
	requireNothingRefused(t, ctx)
	picture(t, ctx, "asynqmon.png")

	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(v.url+"/queues/queues/sdr.h1?status=active")))
	eventually(t, ctx, `document.body.innerText.includes("s-t01000-18 · sdr · attempt 1")`)
	eventually(t, ctx, `document.body.innerText.includes("s-t01000-18.sdr.f1.a1.d1")`)
	if *update { // asynqmon asks for the deadlines again in a while
		eventually(t, ctx, `document.body.innerText.includes("in 11h")`)
	}
	picture(t, ctx, "asynqmon-tasks.png")
	open(t, ctx, v.url+"/machines")
	requireNothingRefused(t, ctx)
	picture(t, ctx, "machines.png")
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(v.url+"/queues/servers"), chromedp.Click(".lpseal-back"), chromedp.WaitVisible(".grid")))
}
