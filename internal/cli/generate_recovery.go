package cli

import (
	"fmt"
	"io"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/jobs"
)

// writeRecovery prints what errors of the node make of a sector.
func writeRecovery(w io.Writer) error {
	heading(w, "Recovery", "What an error of the Filecoin node makes of a sector: of a call, of the estimate that every message passes before it is signed, and of a\n"+
		"message that failed on chain. The first line that fits decides. A sector's own trouble takes it out of its batch and the others go; an error of the\n"+
		"whole message keeps them all. A batch that fails on chain as a whole is sent again, and the estimate finds whose fault it was.")
	fmt.Fprintln(w, "\n## Classes")
	var classes [][]string
	for _, c := range jobs.FaultClasses {
		classes = append(classes, []string{code(c), c.Remedy()})
	}
	rows(w, []string{"class", "what the poller does"}, classes)
	fmt.Fprintln(w, "\n## Errors")
	var errors [][]string
	for _, r := range chain.Recoveries() {
		exit, text, whose := "", "", "the sector's"
		if r.Exit != 0 {
			exit = fmt.Sprintf("%s (%d)", r.Method, int64(r.Exit))
			if r.Method == "" {
				exit = fmt.Sprintf("any (%d)", int64(r.Exit))
			}
			if r.Part {
				exit += ", the sector's in its result"
			}
		}
		if r.Text != "" {
			text = code(r.Text)
		}
		if r.Whole {
			whose = "the message's"
		}
		errors = append(errors, []string{r.What, exit, text, whose, code(r.Class), r.Remedy})
	}
	rows(w, []string{"situation", "message (exit code)", "words", "whose trouble", "class", "advice"}, errors)
	return nil
}
