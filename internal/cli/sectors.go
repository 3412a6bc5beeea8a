package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/jobs"
)

func (a *app) sectorsCmd() *cobra.Command {
	return group("sectors", "Make, watch and steer sectors",
		a.pledgeCmd(), a.addCmd(),
		a.listCmd(), a.showCmd(), a.explainCmd(), a.logCmd(),
		a.retryCmd(), a.holdCmd(), a.releaseCmd(), a.abortCmd(), a.removeCmd(),
		a.unsealCmd(),
	)
}

// onSector makes a command of one sector, given by name.
func (a *app) onSector(use, short string, do func(context.Context, *cluster, jobs.SectorID) error) *cobra.Command {
	return a.completed(&cobra.Command{
		Use:   use + " SECTOR",
		Short: short,
		Args:  args("SECTOR"),
		RunE: func(cmd *cobra.Command, given []string) error {
			id, err := jobs.ParseSectorID(given[0])
			if err != nil {
				return usage("lpseal sectors list shows their names", "%w", err)
			}
			c, err := a.join(cmd.Context())
			if err != nil {
				return err
			}
			defer c.close()
			return do(cmd.Context(), c, id)
		},
	}, sectorNames)
}
