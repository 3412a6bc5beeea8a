package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// generated is the reference as this program writes it.
func generated(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	var errs strings.Builder
	code := Run(t.Context(), []string{"generate", "docs", "--dir", dir}, strings.NewReader(""), &errs, &errs)
	require.Zero(t, code, errs.String())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	out := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		out[f.Name()] = string(b)
	}
	return out
}

func TestGenerateIsDeterministic(t *testing.T) {
	t.Parallel()
	first := generated(t)
	require.Len(t, first, 7)
	require.Equal(t, first, generated(t))
}

func TestReferenceHasEveryStage(t *testing.T) {
	t.Parallel()
	page := generated(t)["stages.md"]
	for _, r := range jobs.Stages {
		require.Contains(t, page, "| `"+string(r.Stage)+"` | "+r.Title+" |")
		require.Contains(t, page, r.Cause)
		require.Contains(t, page, r.EndState)
	}
	for _, edge := range []string{"tree_d --> tree_rc", "precommit -->|landed| c1", "ticket([ticket]) -.-> sdr", "seed([seed]) -.-> c1", "finalize --> committed"} {
		require.Contains(t, page, edge)
	}
	require.NotContains(t, page, "recover_wipe[", "recovery jobs are no part of the way")
}

func TestReferenceHasEveryKeyAndExitCode(t *testing.T) {
	t.Parallel()
	pages := generated(t)
	for _, row := range []string{
		"| `redis.url` | `redis://127.0.0.1:6379/0` | `LPSEAL_REDIS_URL` |",
		"| `web.token` | – | `LPSEAL_WEB_TOKEN` | *Secret.*",
		"| `policy.backoff_max` | `10m0s` |",
		"| `device` | GPU as CUDA_VISIBLE_DEVICES names it",
	} {
		require.Contains(t, pages["config.md"], row)
	}
	for code, meaning := range map[string]string{"0": "all is well", "3": "there is no such sector, worker or file", "5": "Redis or the node cannot be reached"} {
		require.Contains(t, pages["exit-codes.md"], "| "+code+" | "+meaning+" |")
	}
	require.Contains(t, pages["exit-codes.md"], "| `transient` | 5 |")
}

func TestReferenceHasEveryCommand(t *testing.T) {
	t.Parallel()
	page := generated(t)["cli.md"]
	for _, name := range []string{"lpseal sectors add", "lpseal worker", "lpseal devnet", "lpseal devnet deal", "lpseal demo", "lpseal version"} {
		require.Contains(t, page, "### "+name+"\n")
	}
	require.NotContains(t, page, "### lpseal sectors\n", "it does nothing by itself")
	require.NotContains(t, page, "lpseal child", "workers call it, not people")
	require.NotContains(t, page, "--corrupt")
}

// The pages' collector describes nothing beforehand, so the generator asks a small fleet: it
// must have one of everything that the source knows.
func TestReferenceHasEveryMetric(t *testing.T) {
	t.Parallel()
	page := generated(t)["metrics.md"]
	names := regexp.MustCompile(`(?:describe\("|Name: "lpseal_)(\w+)"`)
	found := 0
	for _, file := range []string{"internal/web/metrics.go", "scheduler/metrics.go"} {
		source, err := os.ReadFile(filepath.Join(top, file))
		require.NoError(t, err)
		for _, m := range names.FindAllStringSubmatch(string(source), -1) {
			found++
			require.Regexp(t, "(?m)^\\| `lpseal_"+m[1]+"` \\| (gauge|counter|histogram) \\| [^|]+ \\| [A-Z1][^|]+\\. \\|$", page)
		}
	}
	require.Greater(t, found, 20)
}
