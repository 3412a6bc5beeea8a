package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/exec"
	"runtime"
	"strings"

	"github.com/klauspost/cpuid/v2"
)

// modulePath is the module whose library is built.
const modulePath = "github.com/filecoin-project/filecoin-ffi"

// recipeVersion is raised when this command builds differently from the same inputs.
const recipeVersion = 1

// recipe is everything that decides what the library is.
type recipe struct {
	Version  string   // of the module
	Source   string   // its folder in the module cache
	Features []string // of the Rust crate
	CPU      []string // target features
	GPU      string   // cuda, opencl or none
	Compiler string   // what rustc -vV says
}

// String lists the recipe for a person.
func (r recipe) String() string {
	first, _, _ := strings.Cut(r.Compiler, "\n")
	return fmt.Sprintf("filecoin-ffi %s for %s/%s, GPU %s\nfeatures: %s\nRUSTFLAGS: %s\ncompiler: %s",
		r.Version, runtime.GOOS, runtime.GOARCH, r.GPU, strings.Join(r.Features, ","), r.rustFlags(), first)
}

// key names the folder of the built library.
func (r recipe) key() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%s\n%v\n%v\n%s", recipeVersion, r.Version, r.Features, r.CPU, r.Compiler))
	return fmt.Sprintf("%s-%s-%s-%s-%s", r.Version, runtime.GOOS, runtime.GOARCH, r.GPU, hex.EncodeToString(sum[:4]))
}

func (r recipe) rustFlags() string {
	if len(r.CPU) == 0 {
		return ""
	}
	return "-C target-feature=+" + strings.Join(r.CPU, ",+")
}

// cpuFeature pairs Rust's name of an instruction set with the CPU's flag.
type cpuFeature struct {
	rust string
	id   cpuid.FeatureID
}

// cpuFeatures are the instruction sets that filecoin-ffi's own release builds use.
// On arm64 the crypto extensions are found at run time, by the sha2 crate.
var cpuFeatures = []cpuFeature{
	{"adx", cpuid.ADX}, {"sha", cpuid.SHA}, {"sse2", cpuid.SSE2}, {"avx2", cpuid.AVX2},
	{"avx", cpuid.AVX}, {"sse4.2", cpuid.SSE42}, {"sse4.1", cpuid.SSE4},
}

func targetFeatures(arch string, has func(cpuid.FeatureID) bool) []string {
	var out []string
	if arch != "amd64" {
		return out
	}
	for _, f := range cpuFeatures {
		if has(f.id) {
			out = append(out, f.rust)
		}
	}
	return out
}

// crateFeatures chooses the crate's features for a kind of GPU, or says what is
// missing on this machine. have looks for a program or a library.
func crateFeatures(gpu, system string, have func(string) bool) ([]string, error) {
	features := []string{"multicore-sdr"}
	switch gpu {
	case "none":
	case "cuda":
		if system == "darwin" {
			return nil, fmt.Errorf("CUDA does not exist on macOS: use FFI_GPU=opencl or FFI_GPU=none")
		}
		if !have("nvcc") {
			return nil, fmt.Errorf("FFI_GPU=cuda needs the CUDA toolkit (nvcc is not in PATH): install it (Debian: apt-get install nvidia-cuda-toolkit; else developer.nvidia.com/cuda-downloads) and put its bin folder in PATH, or use FFI_GPU=opencl, which needs only the driver, or FFI_GPU=none")
		}
		features = append(features, "cuda-no-fvm")
	case "opencl":
		if system != "darwin" && !have("libOpenCL.so") {
			return nil, fmt.Errorf("FFI_GPU=opencl needs libOpenCL to link with: install it (Debian: apt-get install ocl-icd-opencl-dev), or use FFI_GPU=none")
		}
		features = append(features, "opencl-no-fvm")
	default:
		return nil, fmt.Errorf("FFI_GPU=%s is not a choice: write cuda, opencl or none", gpu)
	}
	return features, nil
}

// hostRecipe is the recipe for this machine. It fails, with what is missing and how
// to get it, before anything is built.
func hostRecipe(ctx context.Context, gpu string) (r recipe, err error) {
	r.GPU = gpu
	if r.Features, err = crateFeatures(gpu, runtime.GOOS, haveHere); err != nil {
		return r, err
	}
	for _, need := range []struct{ program, remedy string }{
		{"cargo", "install Rust with https://rustup.rs"},
		{"rustc", "install Rust with https://rustup.rs"},
		{"pkg-config", "Debian: apt-get install pkg-config; macOS: brew install pkg-config"},
		{"cc", "Debian: apt-get install gcc; macOS: xcode-select --install"},
	} {
		if !haveHere(need.program) {
			return r, fmt.Errorf("%s is not in PATH: %s", need.program, need.remedy)
		}
	}
	if err := exec.CommandContext(ctx, "pkg-config", "--exists", "hwloc").Run(); err != nil {
		return r, fmt.Errorf("the library hwloc is missing, by which SDR finds cores that share a cache: Debian: apt-get install libhwloc-dev; macOS: brew install hwloc")
	}
	r.CPU = targetFeatures(runtime.GOARCH, func(f cpuid.FeatureID) bool { return cpuid.CPU.Supports(f) })
	version, err := exec.CommandContext(ctx, "rustc", "-vV").Output()
	if err != nil {
		return r, fmt.Errorf("rustc -vV: %w", err)
	}
	r.Compiler = strings.TrimSpace(string(version))
	return r, r.find(ctx)
}

// find asks Go where the module is; go.mod decides its version.
func (r *recipe) find(ctx context.Context) error {
	var required struct{ Path, Version string }
	if err := goJSON(ctx, &required, "list", "-m", "-json", modulePath); err != nil {
		return err
	}
	var got struct{ Dir string }
	if err := goJSON(ctx, &got, "mod", "download", "-json", modulePath+"@"+required.Version); err != nil {
		return err
	}
	r.Version, r.Source = required.Version, got.Dir
	return nil
}

func goJSON(ctx context.Context, v any, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(cmd.Environ(), "GOWORK=off") // go.work may name an older copy
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, v)
	}
	if err != nil {
		return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// haveHere finds a program in PATH, or a library (lib….so) among those the linker
// knows.
func haveHere(name string) bool {
	if strings.HasPrefix(name, "lib") {
		out, err := exec.Command("cc", "-print-file-name="+name).Output()
		return err == nil && strings.Contains(strings.TrimSpace(string(out)), "/")
	}
	_, err := exec.LookPath(name)
	return err == nil
}
