package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// machine says what the figures were taken on.
func machine() [][2]string {
	return [][2]string{
		{"Processor", fmt.Sprintf("%s, %d of its cores", processor(), runtime.NumCPU())},
		{"System", runtime.GOOS + "/" + runtime.GOARCH},
		{"Go", runtime.Version()},
		{"redis-server", said("redis-server", "--version")},
		{"lpseal", said("git", "describe", "--always", "--dirty")},
	}
}

func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return said("sysctl", "-n", "machdep.cpu.brand_string") // macOS
	}
	name, flags := "unknown", []string{}
	for l := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(l, ":")
		switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
		case "model name":
			name = value
		case "flags", "Features":
			flags = known(value)
		}
	}
	return strings.TrimSpace(name + " " + strings.Join(flags, " "))
}

// known are the instruction sets that sealing is faster with.
func known(flags string) (out []string) {
	for _, f := range strings.Fields(flags) {
		switch f {
		case "sha_ni", "sha2", "avx2", "avx512f", "adx", "bmi2":
			out = append(out, f)
		}
	}
	return out
}

// said is the first line that a program prints.
func said(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first)
}
