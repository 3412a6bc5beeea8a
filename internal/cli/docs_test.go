package cli

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/worker"
)

const top = "../.."

// block is a code block of shell in a page. Its info string says what the test does with it:
//
//	sh (run)             run it, after those before it on the page
//	sh (run fleet)       the same, and before the pages that say that they are on the fleet
//	sh (not run: WHAT)   it needs WHAT, one of needs
type block struct {
	page string
	line int
	info string
	text string
}

// needs are what a test machine lacks.
var needs = []string{"make", "Lotus node", "systemd", "Docker", "GPU", "root", "downloads"}

// onFleet is a page's line that has the README's fleet started first.
const onFleet = "<!-- docs test: on the fleet -->"

// pages are README, DEVELOPERS' pages and everything in docs that people wrote.
func pages(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/how-to/*.md", "docs/adr/*.md", "docs/reference/*.md"} {
		found, err := filepath.Glob(filepath.Join(top, pattern))
		require.NoError(t, err)
		out = append(out, found...)
	}
	return out
}

// blocks gives a page's blocks of shell.
func blocks(t *testing.T, page string) (out []block) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	var open *block
	fenced := false
	for i, line := range strings.Split(string(text), "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && fenced:
			if open != nil {
				out = append(out, *open)
			}
			open, fenced = nil, false
		case fence:
			fenced = true
			if lang, rest, _ := strings.Cut(info, " "); lang == "sh" || lang == "bash" || lang == "shell" {
				open = &block{page: page, line: i + 2, info: rest}
			}
		case open != nil:
			open.text += line + "\n"
		}
	}
	require.False(t, fenced, "%s: a code block does not end", page)
	return out
}

// TestDocsSayWhatRuns sees that no command in a page escapes the tests by accident.
func TestDocsSayWhatRuns(t *testing.T) {
	t.Parallel()
	notRun := regexp.MustCompile(`^\(not run: (.+)\)$`)
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			if b.info == "(run)" || b.info == "(run fleet)" {
				continue
			}
			m := notRun.FindStringSubmatch(b.info)
			require.NotNil(t, m, "%s:%d: say whether the block runs: sh (run), or sh (not run: WHAT IT NEEDS)", b.page, b.line)
			require.Contains(t, needs, m[1], "%s:%d", b.page, b.line)
		}
	}
}

// TestDocs runs the commands of every page as a reader would: in one shell, from top to bottom,
// in an empty folder.
func TestDocs(t *testing.T) {
	t.Parallel()
	var fleet []block
	for _, b := range blocks(t, filepath.Join(top, "README.md")) {
		if b.info == "(run fleet)" {
			fleet = append(fleet, b)
		}
	}
	require.NotEmpty(t, fleet)
	ran := 0
	for _, page := range pages(t) {
		run := slices.DeleteFunc(blocks(t, page), func(b block) bool { return !strings.HasPrefix(b.info, "(run") })
		if len(run) == 0 {
			continue
		}
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		if strings.Contains(string(text), onFleet) {
			run = append(slices.Clone(fleet), run...)
		}
		ran++
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
			t.Parallel()
			runBlocks(t, run)
		})
	}
	require.GreaterOrEqual(t, ran, 4)
}

// docsPatience bounds one page.
const docsPatience = 5 * time.Minute

func runBlocks(t *testing.T, run []block) {
	t.Helper()
	dir := t.TempDir()
	var script strings.Builder
	script.WriteString("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n")
	for _, b := range run {
		fmt.Fprintf(&script, "at=%s\n%s", shellQuote(fmt.Sprintf("%s:%d", filepath.Base(b.page), b.line)), b.text)
	}
	script.WriteString("at=end\n")
	ctx, cancel := context.WithTimeout(t.Context(), docsPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", "trap 'echo \"failed in the block at $at\" >&2' ERR\n"+script.String())
	cmd.Dir = dir
	cmd.Env = docsEnv(dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	// Child processes outlive their workers, also those of a page that failed.
	states, globErr := filepath.Glob(filepath.Join(dir, "*", "state"))
	require.NoError(t, globErr)
	for _, s := range states {
		require.NoError(t, worker.EndAll(s, time.Second))
	}
	if err != nil {
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, name := range logs {
			b, _ := os.ReadFile(name)
			t.Logf("%s:\n%s", filepath.Base(name), b)
		}
	}
	require.NoError(t, err, "%s", out.String())
}

// docsEnv is a clean home: nothing of the machine's own configuration.
func docsEnv(dir string) []string {
	keep := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(name, "LPSEAL_") || name == "FULLNODE_API_INFO" || name == "HOME" || name == "XDG_CONFIG_HOME" || name == "LOTUS_PATH"
	})
	return append(keep, "HOME="+dir, "REPOSITORY="+filepath.Join(mustWorkingDir(), top))
}

func mustWorkingDir() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return dir
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	section = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noLink  = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
)

// TestDocsLinks sees that every link within the repository leads somewhere.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	links := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(noLink.ReplaceAllString(string(text), ""), -1) {
			u, err := url.Parse(m[1])
			require.NoError(t, err, page)
			if u.Scheme != "" {
				continue
			}
			links++
			target := page
			if u.Path != "" {
				target = filepath.Join(filepath.Dir(page), u.Path)
			}
			_, err = os.Stat(target)
			require.NoError(t, err, "%s links to %s", page, m[1])
			if u.Fragment != "" {
				require.Contains(t, anchors(t, target), u.Fragment, "%s links to %s", page, m[1])
			}
		}
	}
	require.Greater(t, links, 50)
}

// anchors are the headings of a page as GitHub names them.
func anchors(t *testing.T, page string) (out []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, m := range section.FindAllStringSubmatch(string(text), -1) {
		kept := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', r >= 'a' && r <= 'z', r >= '0' && r <= '9', r > 127:
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		out = append(out, kept)
	}
	return out
}

// TestTroubleshootingQuotesTheProgram sees that what the page says that lpseal says is what it
// says: each quoted text, but for what … stands for, is in the source.
func TestTroubleshootingQuotesTheProgram(t *testing.T) {
	t.Parallel()
	var source strings.Builder
	for _, dir := range []string{"jobs", "scheduler", "worker", "chain", "configs", "ffi", "internal"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(top, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			source.Write(b)
			return err
		}))
	}
	page, err := os.ReadFile(filepath.Join(top, "docs", "how-to", "troubleshooting.md"))
	require.NoError(t, err)
	quotes := 0
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+ [^`]+)`").FindAllStringSubmatch(string(page), -1) {
		for _, part := range regexp.MustCompile(`…|"`).Split(m[1], -1) {
			if part = strings.TrimSpace(part); len(part) < 10 {
				continue
			}
			quotes++
			require.True(t, strings.Contains(source.String(), part), "troubleshooting.md quotes %q, which the program does not say", part)
		}
	}
	require.Greater(t, quotes, 25)
}
