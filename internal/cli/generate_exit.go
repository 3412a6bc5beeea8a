package cli

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"strings"

	"github.com/lpseal/lpseal/jobs"
)

// The comments of the codes are their documentation.
//
//go:embed exit.go
var exitSource string

// writeExitCodes prints the exit codes with the comments that stand beside them.
func writeExitCodes(w io.Writer) error {
	heading(w, "Exit codes", "They are a contract with scripts. A command that fails prints `lpseal: …` on stderr, a line for each thing that is wrong, and\nhints under them.")
	codes, err := exitCodes(exitSource)
	if err != nil {
		return err
	}
	rows(w, []string{"code", "meaning"}, codes)
	fmt.Fprint(w, "\nAn error of a stage that reaches a command, such as a node that is away, ends it by its class:\n")
	var classes [][]string
	for _, c := range jobs.FaultClasses {
		classes = append(classes, []string{code(c), fmt.Sprint(exitCode(jobs.Failf(c, "")))})
	}
	rows(w, []string{"class", "code"}, classes)
	return nil
}

// exitCodes reads the constants exit… and their comments.
func exitCodes(source string) (out [][]string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), "exit.go", source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "exit") || len(spec.Values) == 0 {
			return true
		}
		if value, ok := spec.Values[0].(*ast.BasicLit); ok {
			out = append(out, []string{value.Value, or(strings.TrimSpace(spec.Comment.Text()), "all is well")})
		}
		return true
	})
	return out, nil
}
