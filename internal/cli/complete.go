package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/internal/sectors"
	"github.com/lpseal/lpseal/jobs"
)

// completePatience is how long a shell's Tab may wait for Redis.
const completePatience = 2 * time.Second

// completes has a shell offer the words for a flag's value.
func completes(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag
	}
}

// completed has a shell offer names from Redis for the first argument. Where Redis does not
// answer it offers none: Tab is not the place to say why.
func (a *app) completed(cmd *cobra.Command, names func(context.Context, *cluster) ([]string, error)) *cobra.Command {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, given []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completePatience)
		defer cancel()
		c, err := a.join(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.close()
		all, _ := names(ctx, c)
		var fit []string
		for _, name := range all {
			if strings.HasPrefix(name, begun) {
				fit = append(fit, name)
			}
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

func sectorNames(ctx context.Context, c *cluster) ([]string, error) {
	ids, err := c.store.All(ctx, nil)
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	return names, err
}

func workerNames(ctx context.Context, c *cluster) ([]string, error) {
	workers, err := c.store.Workers(ctx)
	if _, err = sectors.Unread(err); err != nil {
		return nil, err
	}
	names := make([]string, len(workers))
	for i, w := range workers {
		names[i] = w.Name()
	}
	return names, nil
}

// stageNames are those of the pipeline, or with recovery all.
func stageNames(recovery bool) (names []string) {
	for _, row := range jobs.Stages {
		if recovery || !row.Recovery {
			names = append(names, string(row.Stage))
		}
	}
	return names
}
