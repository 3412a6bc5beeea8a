package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is lpseal, built once for all tests of this package.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lpseal-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "lpseal")
	build := exec.Command("go", "build", "-tags", "crashpoints", "-o", binary, "github.com/lpseal/lpseal/cmd/lpseal")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build lpseal: %v\n%s", err, out)
		return 1
	}
	defer tellFailures(os.Stderr)
	return m.Run()
}
