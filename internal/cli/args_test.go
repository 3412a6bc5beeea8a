package cli

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// wrong runs a command line that must be refused as such, and gives what is said of it.
func wrong(t *testing.T, line string) string {
	t.Helper()
	var errs strings.Builder
	require.Equal(t, exitUsage, Run(t.Context(), strings.Fields(line), strings.NewReader(""), io.Discard, &errs), line)
	return errs.String()
}

func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"sector list":                       "lpseal: there is no command \"sector\"\n  hint: did you mean lpseal sectors list?\n",
		"sector list --json":                "lpseal: there is no command \"sector\"\n  hint: did you mean lpseal sectors list?\n",
		"sectors lst":                       "lpseal: sectors has no command \"lst\"\n  hint: did you mean lpseal sectors list?\n",
		"pledge --count 3":                  "lpseal: there is no command \"pledge\"\n  hint: did you mean lpseal sectors pledge?\n",
		"devnet alocate":                    "lpseal: devnet has no command \"alocate\"\n  hint: did you mean lpseal devnet allocate?\n",
		"nonsense":                          "lpseal: there is no command \"nonsense\"\n  hint: see lpseal --help\n",
		"sectors":                           "lpseal: sectors does nothing by itself\n  hint: name one of its commands\n",
		"sectors hold":                      "lpseal: sectors hold: SECTOR is missing\n  hint: write it like: lpseal sectors hold s-t01000-42\n",
		"sectors hold 1 2":                  "lpseal: sectors hold takes SECTOR alone, and \"2\" is too much\n  hint: write it like: lpseal sectors hold s-t01000-42\n",
		"sectors list all":                  "lpseal: sectors list takes no arguments, and \"all\" is one\n  hint: see lpseal sectors list --help\n",
		"batches flush a b":                 "lpseal: batches flush takes [GROUP] alone, and \"b\" is too much\n  hint: write it like: lpseal batches flush commit/t01000/8\n",
		"sectors pledge --count many":       "lpseal: --count \"many\" is not a whole number\n  hint: see lpseal sectors pledge --help\n",
		"sectors add --piece x --deal-id y": "lpseal: --deal-id \"y\" is not a whole number\n  hint: see lpseal sectors add --help\n",
		"devnet --epoch 0s":                 "lpseal: --epoch 0s: no epoch would ever end\n  hint: write a duration above 0s\n",
		"devnet --listen nonsense":          "lpseal: embedded node: listen tcp: address nonsense: missing port in address\n  hint: write HOST:PORT with an address of this host, such as 127.0.0.1:8645\n",
		"storage attach --init --seal --max-storage lots x": "lpseal: --max-storage \"lots\" is no number of bytes\n  hint: write it like 10TiB\n",
		"devnet --epoch 5":                         "lpseal: --epoch \"5\" is not a duration such as 10s or 5m\n  hint: see lpseal devnet --help\n",
		"sectors list --stat held":                 "lpseal: unknown flag: --stat\n  hint: did you mean --state?\n",
		"sectors unseal s-t01000-0":                "lpseal: --out is missing: where shall the data go?\n  hint: write it like: lpseal sectors unseal s-t01000-42 --out data\n",
		"sectors unseal s-t01000-0 --out /nodir/x": "lpseal: --out /nodir/x: there is no folder /nodir\n  hint: make the folder, or name another file with --out\n",
		"params generate --sector-size 32GiB":      "lpseal: no test parameters are made for sectors of 32GiB\n  hint: write 2KiB, 8MiB or 512MiB; lpseal params fetch has those of the other sizes\n",
	} {
		said := wrong(t, line)
		require.Equal(t, want, said, line)
	}
}

// TestEveryArgumentHasAnExample goes by what the commands' first lines of help name.
func TestEveryArgumentHasAnExample(t *testing.T) {
	t.Parallel()
	var look func(*cobra.Command)
	look = func(c *cobra.Command) {
		for _, word := range strings.Fields(c.Use)[1:] {
			if strings.HasPrefix(word, "{") { // sectors add explains itself
				break
			}
			require.NotEmpty(t, placeholders[strings.Trim(word, "[]")], c.CommandPath())
			require.NotContains(t, wrong(t, strings.TrimPrefix(c.CommandPath(), "lpseal ")+" x y z"), "takes no arguments")
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look((&app{flags: map[string]string{}}).root())
}
