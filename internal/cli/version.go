package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is what the Makefile calls the build; without it the Go toolchain's own name stands.
var Version string

// build says what this program was built from.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Dirty   bool   `json:"dirty,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// thisBuild reads what the Go toolchain wrote into the program.
func thisBuild() build {
	b := build{Version: or(Version, "(devel)"), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if Version == "" && info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Dirty = s.Value == "true"
		}
	}
	return b
}

// name tells this build from others in one word.
func (b build) name() string {
	name := b.Version
	if b.Commit != "" {
		name += " " + b.Commit[:min(len(b.Commit), 12)]
	}
	if b.Dirty {
		name += " dirty"
	}
	return name
}

// line is what lpseal version prints.
func (b build) line() string {
	return fmt.Sprintf("lpseal %s %s %s/%s", b.Version, b.Go, b.OS, b.Arch)
}

func (a *app) versionCmd() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  args(),
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			return a.emit(b, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, b.line())
				return err
			})
		},
	})
}
