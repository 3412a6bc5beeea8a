package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/configs"
	"github.com/lpseal/lpseal/internal/sectors"
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
				if err == nil {
					err = unusable(l)
				}
				if problems := configs.Problems(err); len(problems) > 0 {
					if a.json {
						err = errors.Join(err, a.emit(map[string]any{"ok": false, "problems": problems}, nil))
					}
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

// unusable is what is wrong with settings that can be read, but that those who use them
// would refuse: what a daemon would say at its start.
func unusable(l *configs.Loaded) error {
	var problems []error
	fail := func(key string, err error) {
		if err != nil {
			what := strings.TrimPrefix(err.Error(), sectors.ErrOptions.Error()+": ")
			problems = append(problems, &configs.Problem{Key: key, Origin: l.Origin(key), What: what})
		}
	}
	redis := redisOptions(&l.Config)
	redis.CAFile = ""
	fail("redis.url", redis.Check())
	if redis.CAFile = l.Config.Redis.CA; redis.CAFile != "" && len(problems) == 0 {
		fail("redis.ca", redis.Check())
	}
	if api := l.Config.Chain.API.Reveal(); api != "" {
		_, err := chain.ParseAPIInfo(api)
		fail("chain.api", err)
	}
	if api := l.Config.Handover.API.Reveal(); api != "" {
		_, err := chain.ParseProverAPIInfo(api)
		fail("handover.api", err)
	}
	return errors.Join(problems...)
}
