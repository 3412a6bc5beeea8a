package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/lpseal/lpseal/internal/filelock"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ffi/build:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("build", flag.ExitOnError)
	gpu := flags.String("gpu", or(os.Getenv("FFI_GPU"), "none"), "cuda, opencl or none ($FFI_GPU)")
	work := flags.String("work", "go.work", "file that attaches the library")
	jobs := flags.String("jobs", os.Getenv("FFI_JOBS"), "compilers at a time ($FFI_JOBS; empty: cargo's choice)")
	show := flags.Bool("print", false, "say what would be built, and build nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	b := &build{root: filepath.Join(cache, "lpseal", "ffi"), jobs: *jobs}
	if b.recipe, err = hostRecipe(ctx, *gpu); err != nil {
		return err
	}
	if *show {
		fmt.Println(b.recipe)
		fmt.Println("folder:", b.dir())
		return nil
	}
	lock, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer filelock.Release(lock)
	if err := b.make(ctx); err != nil {
		return err
	}
	return b.attach(ctx, *work)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
