package layout

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/lpseal/lpseal"

// layers are the design's directions: cmd → internal/cli → scheduler, worker,
// internal/web → queue, stores, chain, ffi → jobs. A package imports lower layers
// and packages of its own group; siblings of a layer do not know each other.
var layers = [][]string{
	{"jobs"},
	{"internal/crash", "internal/durable", "internal/filelock", "internal/memory"},
	{"jobs/queue", "internal/sectors", "internal/files", "internal/params", "internal/figures", "chain", "ffi", "configs"},
	{"scheduler", "worker", "internal/web"},
	{"internal/cli"},
	{"cmd"},
}

// group finds a package's layer and the group in it that it belongs to; -1 for
// helpers of tests and of the build, which nothing of the product imports (a lint
// rule holds that).
func group(pkg string) (layer int, name string) {
	layer, name = -1, ""
	for i, groups := range layers {
		for _, g := range groups {
			if (pkg == g || strings.HasPrefix(pkg, g+"/")) && len(g) > len(name) {
				layer, name = i, g
			}
		}
	}
	switch pkg {
	case "jobs/jobstest", "chain/handover/handovertest", "internal/redistest", "internal/layout", "internal/e2e", "internal/e2e/addedstage", "internal/benchpage":
		return -1, pkg
	}
	return layer, name
}

func TestImportsPointInwards(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...").CombinedOutput()
	require.NoError(t, err, string(out))
	packages := 0
	for line := range strings.Lines(string(out)) {
		names := strings.Fields(line)
		from, ok := strings.CutPrefix(names[0], module+"/")
		require.True(t, ok, names[0])
		layer, own := group(from)
		if layer < 0 {
			require.NotEmpty(t, own, "%s has no place in the layout: give it one in this test and in the design", from)
			continue
		}
		packages++
		for _, imported := range names[1:] {
			to, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				continue
			}
			toLayer, toGroup := group(to)
			if toLayer < 0 && own == "jobs/jobstest" {
				continue
			}
			require.True(t, toLayer >= 0 && toLayer < layer || toGroup == own, "%s must not import %s", from, to)
		}
	}
	require.Greater(t, packages, 10)
}
