package cli

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lpseal/lpseal/configs"
)

// placeholders are the names of arguments, with what a person may write there.
var placeholders = map[string]string{
	"SECTOR":         "s-t01000-42",
	"MESSAGE|SECTOR": "s-t01000-42",
	"HOST/INSTANCE":  "h1/gpu0",
	"GROUP":          "commit/t01000/8",
	"DIR":            "/mnt/nvme0",
	"FILE":           "data.car",
	"FOLDER":         "work/s-t01000-42.sdr.f1.a1",
	"ID":             "9a7c9b7e-2d4f-4b0c-a9a6-2f1c5d7e8f90",
	"PIECE_CID":      "baga6ea4seaqpy7usqklokfx2vxuynmupslkeutzexe2uqurdg5vhtebhxqmpqmy",
}

// args checks that a command is given the arguments that are named, and no others. One in
// brackets may be left out.
func args(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		switch {
		case len(given) > len(names) && cmd.HasAvailableSubCommands():
			return unknownCommand(cmd, given)
		case len(given) > len(names) && len(names) == 0:
			return usage(seeHelp(cmd), "%s takes no arguments, and %q is one", spoken(cmd), given[0])
		case len(given) > len(names):
			return usage(writeLike(cmd, names), "%s takes %s alone, and %q is too much", spoken(cmd), strings.Join(names, " "), given[len(names)])
		case len(given) < len(names) && !strings.HasPrefix(names[len(given)], "["):
			return usage(writeLike(cmd, names), "%s: %s is missing", spoken(cmd), names[len(given)])
		}
		return nil
	}
}

// spoken names a command in an error, which begins with the program's name already.
func spoken(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

func seeHelp(cmd *cobra.Command) string { return "see " + cmd.CommandPath() + " --help" }

func writeLike(cmd *cobra.Command, names []string) string {
	line := "write it like: " + cmd.CommandPath()
	for _, name := range names {
		line += " " + placeholders[strings.Trim(name, "[]")]
	}
	return line
}

// unknownCommand says which command was meant, if that can be told.
func unknownCommand(cmd *cobra.Command, given []string) error {
	hint := seeHelp(cmd)
	if path := meant(cmd, given); path != "" {
		hint = "did you mean " + path + "?"
	}
	if !cmd.HasParent() {
		return usage(hint, "there is no command %q", given[0])
	}
	return usage(hint, "%s has no command %q", spoken(cmd), given[0])
}

// meant is the command that a person had in mind: one of a name like it here, with the
// rest of what was written, or the only one of the name elsewhere.
func meant(cmd *cobra.Command, given []string) string {
	here := map[string]*cobra.Command{}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			here[c.Name()] = c
			names = append(names, c.Name())
		}
	}
	if c := here[configs.Nearest(given[0], names)]; c != nil {
		if found, _, err := c.Find(given[1:]); err == nil {
			c = found
		}
		return c.CommandPath()
	}
	var same []string
	for _, c := range cmd.Root().Commands() {
		for _, sub := range c.Commands() {
			if sub.Name() == given[0] && sub.IsAvailableCommand() {
				same = append(same, sub.CommandPath())
			}
		}
	}
	if len(same) == 1 {
		return same[0]
	}
	return ""
}

// values are what flags take, by the names that pflag has for their types.
var values = map[string]string{
	"int": "a whole number", "int64": "a whole number", "uint64": "a whole number", "bool": "true or false", "duration": "a duration such as 10s or 5m",
}

// flagError says what is wrong with a flag in the words of this program.
func flagError(cmd *cobra.Command, err error) error {
	hint := seeHelp(cmd)
	var (
		bad     *pflag.InvalidValueError
		unknown *pflag.NotExistError
		number  *strconv.NumError
	)
	switch {
	case errors.As(err, &bad):
		wanted := values[bad.GetFlag().Value.Type()]
		if wanted == "" && errors.As(err, &number) {
			wanted = values["int"]
		}
		if wanted != "" {
			return usage(hint, "--%s %q is not %s", bad.GetFlag().Name, bad.GetValue(), wanted)
		}
	case errors.As(err, &unknown):
		if given := cmd.Flags().Args(); cmd.HasAvailableSubCommands() && len(given) > 0 {
			return unknownCommand(cmd, given) // the flag may well be one of the command that was meant
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if name := configs.Nearest(unknown.GetSpecifiedName(), names); name != "" {
			hint = "did you mean --" + name + "?"
		}
	}
	return usage(hint, "%w", err)
}
