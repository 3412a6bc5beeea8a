package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/configs"
)

func (a *app) configCmd() *cobra.Command {
	view := &cobra.Command{
		Use:   "view",
		Short: "Print the configuration in force, secrets hidden",
		Args:  args(),
	}
	origin := view.Flags().Bool("origin", false, "say where each value was written")
	view.RunE = func(*cobra.Command, []string) error {
		l, err := a.load()
		if err != nil {
			return err
		}
		m, err := l.Map()
		if err != nil {
			return err
		}
		if !*origin {
			return a.emit(m, func(w io.Writer) error { return l.Write(w, false) })
		}
		type entry struct {
			Value  any    `json:"value"`
			Origin string `json:"origin"`
		}
		withOrigin := map[string]entry{}
		for key, v := range m {
			withOrigin[key] = entry{v, l.Origin(key)}
		}
		return a.emit(withOrigin, func(w io.Writer) error { return l.Write(w, true) })
	}
	return group("config", "Show and check the configuration",
		&cobra.Command{
			Use:   "default",
			Short: "Print a configuration file with every key, its default and what it means",
			Args:  args(),
			RunE:  func(*cobra.Command, []string) error { return configs.WriteDefault(a.out) },
		},
		a.jsonFlag(view),
		a.jsonFlag(&cobra.Command{
			Use:   "check",
			Short: "Check the configuration; every problem is named with its remedy",
			Args:  args(),
			RunE: func(*cobra.Command, []string) error {
				l, err := a.load()
				if len(configs.Problems(err)) > 0 {
					return &codedError{code: exitUsage, err: err} // without the hint to run this
				}
				if err != nil {
					return err
				}
				return a.emit(map[string]any{"ok": true, "file": l.File}, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "ok: %s\n", or(l.File, "no file, defaults and variables only"))
					return err
				})
			},
		}),
	)
}
