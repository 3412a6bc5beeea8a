package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// writeCommands prints every command that is not hidden.
func writeCommands(w io.Writer, root *cobra.Command) error {
	heading(w, "Commands", root.Short+`. Results go to stdout and everything else to stderr; [exit-codes.md](exit-codes.md) says how a command
ends. With `+"`--json`"+` a command prints one line of JSON: fields may be added, so ignore those you do not know.

Every command takes:`)
	flags(w, root.PersistentFlags().FlagUsages())
	for _, g := range root.Groups() {
		fmt.Fprintf(w, "\n## %s\n", strings.TrimSuffix(g.Title, ":"))
		writeGroup(w, root, g.ID)
	}
	fmt.Fprint(w, "\n## Others\n")
	writeGroup(w, root, "")
	return nil
}

func writeGroup(w io.Writer, root *cobra.Command, id string) {
	for _, c := range root.Commands() {
		if c.GroupID == id && c.Name() != "help" {
			writeCommand(w, c)
		}
	}
}

// writeCommand prints a command that does something, and those that it holds. One that holds others and has
// flags of its own, such as devnet, does something, too.
func writeCommand(w io.Writer, c *cobra.Command) {
	if c.Hidden {
		return
	}
	if !c.HasAvailableSubCommands() || c.LocalNonPersistentFlags().HasAvailableFlags() {
		describeCommand(w, c)
	}
	for _, sub := range c.Commands() {
		writeCommand(w, sub)
	}
}

func describeCommand(w io.Writer, c *cobra.Command) {
	fmt.Fprintf(w, "\n### %s\n\n%s.\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."))
	if c.Long != "" {
		fmt.Fprintf(w, "\n%s\n", c.Long)
	}
	if usage := c.UseLine(); usage != c.CommandPath() {
		fmt.Fprintf(w, "\n`%s`\n", usage)
	}
	flags(w, c.NonInheritedFlags().FlagUsages())
}

func flags(w io.Writer, usages string) {
	var kept []string
	for line := range strings.Lines(usages) {
		// cobra gives the flag to the commands that were run only.
		if !strings.Contains(line, "-h, --help") {
			kept = append(kept, line)
		}
	}
	if len(kept) > 0 {
		fmt.Fprintf(w, "\n```text\n%s```\n", strings.Join(kept, ""))
	}
}
