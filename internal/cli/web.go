package cli

import (
	"errors"

	"github.com/spf13/cobra"
)

func (a *app) webCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "web",
		Short: "Serve the pages of the pipeline and of the queues",
		Args:  args(cobra.NoArgs),
		RunE:  func(*cobra.Command, []string) error { return errors.New("web: not in this build") },
	}
}
