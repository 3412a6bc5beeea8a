package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/cpuid/v2"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/internal/filelock"
)

func TestTargetFeaturesAreTheCPUs(t *testing.T) {
	t.Parallel()
	all := func(cpuid.FeatureID) bool { return true }
	require.Equal(t, "adx,sha,sse2,avx2,avx,sse4.2,sse4.1", strings.Join(targetFeatures("amd64", all), ","))
	require.Equal(t, []string{"sse2"}, targetFeatures("amd64", func(f cpuid.FeatureID) bool { return f == cpuid.SSE2 }))
	require.Empty(t, targetFeatures("arm64", all))
	require.Equal(t, "-C target-feature=+adx,+sha", recipe{CPU: []string{"adx", "sha"}}.rustFlags())
	require.Empty(t, recipe{}.rustFlags())
}

// TestGPUFeatures is what can be tested of GPU builds without a GPU: which features
// are chosen, and what is said when the toolkit is missing.
func TestGPUFeatures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		gpu, system string
		have        []string
		want        []string
		err         string
	}{
		{"none", "linux", nil, []string{"multicore-sdr"}, ""},
		{"cuda", "linux", []string{"nvcc"}, []string{"multicore-sdr", "cuda-no-fvm"}, ""},
		{"cuda", "linux", nil, nil, "nvcc is not in PATH): install it"},
		{"cuda", "darwin", []string{"nvcc"}, nil, "CUDA does not exist on macOS"},
		{"opencl", "linux", []string{"libOpenCL.so"}, []string{"multicore-sdr", "opencl-no-fvm"}, ""},
		{"opencl", "linux", nil, nil, "apt-get install ocl-icd-opencl-dev"},
		{"opencl", "darwin", nil, []string{"multicore-sdr", "opencl-no-fvm"}, ""},
		{"rocm", "linux", nil, nil, "FFI_GPU=rocm is not a choice: write cuda, opencl or none"},
	} {
		got, err := crateFeatures(c.gpu, c.system, func(name string) bool {
			for _, h := range c.have {
				if h == name {
					return true
				}
			}
			return false
		})
		if c.err != "" {
			require.ErrorContains(t, err, c.err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}

// TestKeyNamesWhatChangesTheLibrary changes each part of a recipe in turn.
func TestKeyNamesWhatChangesTheLibrary(t *testing.T) {
	t.Parallel()
	base := recipe{Version: "v1", Features: []string{"a"}, CPU: []string{"sha"}, GPU: "none", Compiler: "rustc 1"}
	seen := map[string]bool{base.key(): true}
	for _, change := range []func(*recipe){
		func(r *recipe) { r.Version = "v2" },
		func(r *recipe) { r.Features = []string{"a", "b"} },
		func(r *recipe) { r.CPU = nil },
		func(r *recipe) { r.GPU = "cuda" },
		func(r *recipe) { r.Compiler = "rustc 2" },
	} {
		r := base
		change(&r)
		require.False(t, seen[r.key()], r.key())
		seen[r.key()] = true
	}
	moved := base
	moved.Source = "/elsewhere"
	require.Equal(t, base.key(), moved.key())
}

func TestOutlinedIntrinsicsAreFound(t *testing.T) {
	t.Parallel()
	lib := filepath.Join(t.TempDir(), "lib.a")
	slow := append(bytes.Repeat([]byte{0}, 1<<20-5), "_ZN4core9core_arch3x863sha21_mm_sha256rnds2_epu3217h0E"...)
	require.NoError(t, os.WriteFile(lib, slow, 0o644))
	require.ErrorContains(t, checkInlined(lib, []string{"sha"}), "did not use SHA-NI")
	require.NoError(t, checkInlined(lib, []string{"avx"}), "a CPU without the extension has nothing to inline")
	require.NoError(t, os.WriteFile(lib, bytes.ReplaceAll(slow, []byte("rnds2"), []byte("xxxxx")), 0o644))
	require.NoError(t, checkInlined(lib, []string{"sha"}))

	for _, text := range []string{outlined, "x" + outlined, strings.Repeat("_mm_sha256", 9) + outlined} {
		found, err := contains(iotest.OneByteReader(strings.NewReader(text)), outlined)
		require.NoError(t, err)
		require.True(t, found)
	}
	_, err := contains(iotest.ErrReader(os.ErrPermission), outlined)
	require.ErrorIs(t, err, os.ErrPermission)
}

// goLine is the version in go.mod: the workspace needs no other.
func goLine(t *testing.T) string {
	text, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(text)
	require.NotNil(t, line)
	return string(line[1])
}

// TestOneBuildAtATime: the second waits for the first, as long as somebody waits for it.
func TestOneBuildAtATime(t *testing.T) {
	t.Parallel()
	b := &build{root: filepath.Join(t.TempDir(), "ffi")}
	first, err := b.lock(t.Context())
	require.NoError(t, err)
	impatient, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = b.lock(impatient)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	second := make(chan error, 1)
	go func() {
		lock, err := b.lock(t.Context())
		if err == nil {
			filelock.Release(lock)
		}
		second <- err
	}()
	filelock.Release(first)
	require.NoError(t, <-second)
}

func TestAttach(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := &build{root: dir, recipe: recipe{Version: "v1", GPU: "none"}}
	work := filepath.Join(dir, "go.work")
	for range 2 { // again is the same
		require.NoError(t, b.attach(t.Context(), work))
		text, err := os.ReadFile(work)
		require.NoError(t, err)
		require.Contains(t, string(text), "replace "+modulePath+" => "+b.module())
		require.Regexp(t, `(?m)^go `+regexp.QuoteMeta(goLine(t))+`$`, string(text))
		link, err := os.Readlink(filepath.Join(dir, "current"))
		require.NoError(t, err)
		require.Equal(t, b.recipe.key(), link)
	}
	mine := []byte("go 1.26\nuse .\n")
	require.NoError(t, os.WriteFile(work, mine, 0o644))
	require.ErrorContains(t, b.attach(t.Context(), work), "is somebody else's")
	kept, err := os.ReadFile(work)
	require.NoError(t, err)
	require.Equal(t, mine, kept)
}

// TestCopyLeavesTheToolchainOut copies a module as it lies in the read-only cache.
func TestCopyLeavesTheToolchainOut(t *testing.T) {
	t.Parallel()
	source := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(source, "rust", "src"), 0o755))
	for _, name := range []string{"proofs.go", "rust/Cargo.toml", "rust/rust-toolchain.toml", "rust/src/lib.rs"} {
		require.NoError(t, os.WriteFile(filepath.Join(source, name), []byte(name), 0o444))
	}
	b := &build{root: t.TempDir(), recipe: recipe{Version: "v1", Source: source, CPU: []string{"adx", "sha"}, GPU: "none"}}
	require.NoError(t, b.copy(t.Context()))
	require.NoFileExists(t, filepath.Join(b.module(), "rust", "rust-toolchain.toml"))
	require.FileExists(t, filepath.Join(b.module(), "rust", "src", "lib.rs"))
	f, err := os.OpenFile(filepath.Join(b.module(), "rust", "Cargo.toml"), os.O_WRONLY, 0)
	require.NoError(t, err, "the copy can be written")
	require.NoError(t, f.Close())
	facts, err := os.ReadFile(filepath.Join(b.module(), "lpseal.go"))
	require.NoError(t, err)
	require.Contains(t, string(facts), `TargetFeatures = "adx,sha"`)
}

func TestTestParamsAreCarried(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, testParamsSource()))
	require.FileExists(t, filepath.Join(dir, "Cargo.toml"))
	require.FileExists(t, filepath.Join(dir, "src", "main.rs"))
}
