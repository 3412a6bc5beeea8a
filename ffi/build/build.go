package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/lpseal/lpseal/internal/filelock"
)

// build makes one library under root:
//
//	KEY/module        the copy of the module, with library, header and .pc file
//	KEY/bin           testparams
//	KEY/complete      written last
//	target            what cargo made, shared by all keys
//	current           link to the KEY that was attached last
//	lock              held by who builds
type build struct {
	root   string
	recipe recipe
	jobs   string
}

func (b *build) dir() string    { return filepath.Join(b.root, b.recipe.key()) }
func (b *build) module() string { return filepath.Join(b.dir(), "module") }
func (b *build) target() string { return filepath.Join(b.root, "target") }

const completeFile = "complete"

// lock waits until no other process builds under root: each would take what the other has
// not finished for the rest of an interrupted build, and remove it.
func (b *build) lock(ctx context.Context) (*os.File, error) {
	if err := os.MkdirAll(b.root, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(b.root, "lock")
	f, err := filelock.Try(path, filelock.Exclusive)
	if errors.Is(err, filelock.ErrHeld) {
		fmt.Fprintf(os.Stderr, "another make ffi builds in %s; waiting for it\n", b.root)
		f, err = filelock.Wait(ctx, path, filelock.Exclusive)
	}
	return f, err
}

// make builds what is not there yet.
func (b *build) make(ctx context.Context) error {
	complete := filepath.Join(b.dir(), completeFile)
	if _, err := os.Stat(complete); err == nil {
		return nil
	}
	start := time.Now()
	fmt.Fprintf(os.Stderr, "%s\nbuilding in %s; the first time takes some minutes\n", b.recipe, b.dir())
	// What an interrupted build left would be taken for the module's own.
	if err := os.RemoveAll(b.dir()); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"copy the module", b.copy},
		{"build libfilcrypto", b.library},
		{"write the C header", b.header},
		{"build testparams", b.testParams},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	fmt.Fprintf(os.Stderr, "built in %s\n", time.Since(start).Round(time.Second))
	return os.WriteFile(complete, []byte(b.recipe.String()+"\n"), 0o644)
}

// copy takes the module out of the read-only cache and leaves out the pinned
// toolchain: the library is built with the compiler that is here.
func (b *build) copy(context.Context) error {
	err := filepath.WalkDir(b.recipe.Source, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(b.recipe.Source, path)
		if err != nil || rel == filepath.Join("rust", "rust-toolchain.toml") {
			return err
		}
		to := filepath.Join(b.module(), rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, info.Mode().Perm()|0o200)
	})
	return errors.Join(err, os.WriteFile(filepath.Join(b.module(), "lpseal.go"), b.facts(), 0o644))
}

// facts is a file of package ffi by which the program knows how its library was
// built, and refuses a CPU that cannot run it.
func (b *build) facts() []byte {
	return fmt.Appendf(nil, `package ffi

// How the library was built; written by lpseal's ffi/build.
const (
	BuildKey       = %q
	BuildGPU       = %q
	TargetFeatures = %q
)
`, b.recipe.key(), b.recipe.GPU, strings.Join(b.recipe.CPU, ","))
}

func (b *build) cargo(ctx context.Context, dir string, output io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "cargo", args...)
	if b.jobs != "" {
		cmd.Args = append(cmd.Args[:2:2], append([]string{"--jobs", b.jobs}, cmd.Args[2:]...)...)
	}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "RUSTFLAGS="+b.recipe.rustFlags(), "CARGO_TARGET_DIR="+b.target(), "HEADER_DIR="+b.module())
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cargo %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

var nativeLibraries = regexp.MustCompile(`native-static-libs: (.*)`)

func (b *build) library(ctx context.Context) error {
	var log bytes.Buffer
	features := strings.Join(b.recipe.Features, ",")
	err := b.cargo(ctx, filepath.Join(b.module(), "rust"), io.MultiWriter(os.Stderr, &log),
		"rustc", "--release", "--lib", "--locked", "--no-default-features", "--features", features, "--", "--print", "native-static-libs")
	if err != nil {
		return err
	}
	found := nativeLibraries.FindSubmatch(log.Bytes())
	if found == nil {
		return errors.New("cargo did not say what the library links with")
	}
	pc := fmt.Sprintf("Name: filcrypto\nVersion: %s\nDescription: Filecoin proofs in C, built by lpseal\nLibs: %s\n", b.recipe.Version, found[1])
	if err := os.WriteFile(filepath.Join(b.module(), "filcrypto.pc"), []byte(pc), 0o644); err != nil {
		return err
	}
	lib := filepath.Join(b.module(), "libfilcrypto.a")
	if err := copyFile(filepath.Join(b.target(), "release", "libfilcrypto.a"), lib); err != nil {
		return err
	}
	return checkInlined(lib, b.recipe.CPU)
}

func (b *build) header(ctx context.Context) error {
	features := strings.Join(append([]string{"c-headers"}, b.recipe.Features...), ",")
	return b.cargo(ctx, filepath.Join(b.module(), "rust"), os.Stderr,
		"test", "--release", "--locked", "--no-default-features", "--features", features, "build_headers")
}

// testParams builds the maker of test parameters with the library's own versions of
// every crate.
func (b *build) testParams(ctx context.Context) error {
	dir := filepath.Join(b.dir(), "testparams")
	if err := os.CopyFS(dir, testParamsSource()); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(b.module(), "rust", "Cargo.lock"), filepath.Join(dir, "Cargo.lock")); err != nil {
		return err
	}
	if err := b.cargo(ctx, dir, os.Stderr, "build", "--release"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(b.dir(), "bin"), 0o755); err != nil {
		return err
	}
	bin := filepath.Join(b.dir(), "bin", "testparams")
	return errors.Join(copyFile(filepath.Join(b.target(), "release", "testparams"), bin), os.Chmod(bin, 0o755))
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
