package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

//go:embed testparams/Cargo.toml testparams/src
var testParamsFiles embed.FS

func testParamsSource() fs.FS {
	sub, err := fs.Sub(testParamsFiles, "testparams")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}

// workMark is the first line of a go.work of ours; another one is not touched.
const workMark = "// Written by `make ffi`: puts the built filecoin-ffi in the module's place.\n"

// attach writes go.work and moves the link current.
func (b *build) attach(ctx context.Context, work string) error {
	old, err := os.ReadFile(work)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(old) > 0 && !bytes.HasPrefix(old, []byte(workMark)) {
		return fmt.Errorf("%s is somebody else's: add to it: replace %s => %s", work, modulePath, b.module())
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	var main struct{ GoVersion string } // what a toolchain calls itself may have words behind it
	if err := goJSON(ctx, &main, "list", "-m", "-json"); err != nil {
		return err
	}
	text := fmt.Sprintf("%s\ngo %s\n\nuse %s\n\nreplace %s => %s\n", workMark, main.GoVersion, here, modulePath, b.module())
	if text != string(old) {
		if err := os.WriteFile(work, []byte(text), 0o644); err != nil {
			return err
		}
	}
	next := filepath.Join(b.root, "next")
	_ = os.Remove(next) // of an interrupted run
	if err := errors.Join(os.Symlink(b.recipe.key(), next), os.Rename(next, filepath.Join(b.root, "current"))); err != nil {
		return err
	}
	fmt.Printf("attached %s by %s; build with: go build -tags filcrypto,nofvm ./cmd/lpseal\n", b.recipe.key(), work)
	return nil
}

// outlined is a SHA-NI intrinsic's name. It is only in a library whose compiler was
// not allowed to use the instruction where it is called.
const outlined = "_mm_sha256rnds2_epu32"

// checkInlined refuses a library in which SHA-NI intrinsics are calls, though the
// CPU has them: SDR would be about seven times slower.
func checkInlined(lib string, cpu []string) error {
	if !slices.Contains(cpu, "sha") {
		fmt.Fprintln(os.Stderr, "warning: this CPU has no SHA extensions: SDR will be about ten times slower than on one that has")
		return nil
	}
	f, err := os.Open(lib)
	if err != nil {
		return err
	}
	defer f.Close()
	found, err := contains(f, outlined)
	if err != nil {
		return fmt.Errorf("search %s: %w", lib, err)
	}
	if found {
		return fmt.Errorf("%s has %s as a symbol of its own: the compiler did not use SHA-NI in spite of RUSTFLAGS; look for build.rustflags in ~/.cargo/config.toml, which RUSTFLAGS does not override per target", lib, outlined)
	}
	return nil
}

// contains searches a stream for a text.
func contains(r io.Reader, text string) (bool, error) {
	buf := make([]byte, 0, 1<<20)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if bytes.Contains(buf, []byte(text)) {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		keep := min(len(buf), len(text)-1)
		buf = append(buf[:0], buf[len(buf)-keep:]...)
	}
}
