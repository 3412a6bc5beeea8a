package params

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/lpseal/lpseal/jobs"
)

// fakeTool stands for testparams: it writes what its arguments ask for.
func fakeTool(t *testing.T, script string) string {
	path := filepath.Join(t.TempDir(), "testparams")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\ncd \"$FIL_PROOFS_PARAMETER_CACHE\" || exit 1\n"+script), 0o755))
	return path
}

func makes(files []File) string {
	var script strings.Builder
	for _, f := range files {
		script.WriteString("echo \"$@\" $$ > " + f.Name + "\n")
	}
	return script.String()
}

func TestGeneratedParametersAreMarked(t *testing.T) {
	t.Parallel()
	d, files := Dir(filepath.Join(t.TempDir(), "made")), Files([]abi.SectorSize{2048}, PoRep)
	tool := fakeTool(t, makes(files))
	require.NoError(t, d.Generate(t.Context(), tool, 2048, 0))
	srs := Files(nil, Aggregate)
	require.NoError(t, d.Generate(t.Context(), fakeTool(t, makes(srs)), 2048, 64))
	for _, f := range append(files, srs...) {
		require.Equal(t, Test, state(t, d, f))
	}
	before, err := os.ReadFile(d.path(files[0].Name))
	require.NoError(t, err)
	require.Contains(t, string(before), "porep 2048")
	require.NoError(t, d.Generate(t.Context(), tool, 2048, 0))
	after, err := os.ReadFile(d.path(files[0].Name))
	require.NoError(t, err)
	require.Equal(t, before, after, "what is there is kept")

	for network, refused := range map[string]bool{"mainnet": true, "calibrationnet": true, "": true, "2k": false} {
		for _, need := range []Need{Proving(2048), Aggregating(2048)} {
			test, err := d.Ready(t.Context(), network, need)
			require.True(t, test)
			if !refused {
				require.NoError(t, err)
				continue
			}
			fault, ok := jobs.Classify(t.Context(), err)
			require.True(t, ok)
			require.Equal(t, jobs.Busy, fault.Class)
			require.Contains(t, fault.Text, "test parameters")
		}
	}
	require.ErrorContains(t, d.Fetch(t.Context(), files, Fetcher{}), "holds test parameters")
}

func TestGenerateLeavesNothingHalf(t *testing.T) {
	t.Parallel()
	d, files := Dir(t.TempDir()), Files([]abi.SectorSize{2048}, PoRep)
	err := d.Generate(t.Context(), fakeTool(t, makes(files)+"echo no memory, backtrace $RUST_BACKTRACE >&2; exit 3\n"), 2048, 0)
	require.ErrorContains(t, err, "exit status 3\nno memory, backtrace 0")
	err = d.Generate(t.Context(), fakeTool(t, makes(files[:1])), 2048, 0)
	require.ErrorContains(t, err, "the tool made no "+files[1].Name)
	left, err := os.ReadDir(string(d))
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, lockFile, left[0].Name())

	require.ErrorContains(t, d.Generate(t.Context(), "", 32<<30, 0), "no test parameters are made for sectors of 32GiB")
	write(t, d, manifest[0].Name, []byte("of somebody"))
	require.ErrorContains(t, d.Generate(t.Context(), "", 2048, 0), "give another folder with --dir")
}

// TestAnSRSThatIsTooSmallIsMadeAnew, and one that is large enough is kept.
func TestAnSRSThatIsTooSmallIsMadeAnew(t *testing.T) {
	t.Parallel()
	d, srs := Dir(t.TempDir()), Files(nil, Aggregate)[0]
	has := func(want int) {
		t.Helper()
		got, err := d.SRSProofs()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	has(0)
	// The four bytes are 2·64 and 2·1024, as the real tool writes them.
	small, large := fakeTool(t, `printf '\000\000\000\200 of 64' > `+srs.Name), fakeTool(t, `printf '\000\000\010\000 of 1024' > `+srs.Name)
	require.NoError(t, d.Generate(t.Context(), small, 2048, 64))
	has(64)
	require.NoError(t, d.Generate(t.Context(), large, 2048, 64))
	has(64)
	require.NoError(t, d.Generate(t.Context(), large, 2048, 1024))
	has(1024)
	require.Equal(t, Test, state(t, d, srs))
	require.NoError(t, d.Generate(t.Context(), small, 2048, 64))
	has(1024)
	require.NoError(t, os.Truncate(d.path(srs.Name), 2))
	_, err := d.SRSProofs()
	require.ErrorContains(t, err, srs.Name)
}

// TestOneGeneratesAtATime, and whoever waited for it finds what it was to make; what a killed one left goes.
func TestOneGeneratesAtATime(t *testing.T) {
	t.Parallel()
	d, files, gate := Dir(t.TempDir()), Files([]abi.SectorSize{2048}, PoRep), filepath.Join(t.TempDir(), "gate")
	require.NoError(t, unix.Mkfifo(gate, 0o600))
	require.NoError(t, os.MkdirAll(d.path(".making/of a killed one"), 0o755))
	waits, never := fakeTool(t, "read go < "+gate+"\n"+makes(files)), fakeTool(t, "exit 9\n")
	first := make(chan error, 1)
	go func() { first <- d.Generate(t.Context(), waits, 2048, 0) }()
	open, err := os.OpenFile(gate, os.O_WRONLY, 0) // waits for its reader
	require.NoError(t, err)
	impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, d.Generate(impatient, never, 2048, 0), context.DeadlineExceeded)
	second := make(chan error, 1)
	go func() { second <- d.Generate(t.Context(), never, 2048, 0) }()
	_, err = open.WriteString("go\n")
	require.NoError(t, errors.Join(err, open.Close()))
	require.NoError(t, <-first)
	require.NoError(t, <-second)
	for _, f := range files {
		require.Equal(t, Test, state(t, d, f))
	}
	require.NoDirExists(t, d.path(".making"))
}
