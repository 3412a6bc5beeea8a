package cli

import (
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/jobs"
)

// stageView is a row of the table as it is printed.
type stageView struct {
	Stage          jobs.Stage   `json:"stage"`
	Title          string       `json:"title"`
	Type           string       `json:"type"`
	Classes        []jobs.Class `json:"classes"`
	Place          jobs.Place   `json:"place"`
	After          []jobs.Stage `json:"after"`
	AfterSynthetic []jobs.Stage `json:"after_synthetic,omitempty"`
	Recovery       bool         `json:"recovery"`
	Cause          string       `json:"cause,omitempty"`
	EndState       string       `json:"end_state,omitempty"`
	Seconds        float64      `json:"timeout_seconds"`
	MaxRetry       int          `json:"max_retry"`
}

func (a *app) stagesCmd() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "stages",
		Short: "Print the stage table",
		Args:  args(),
		RunE: func(*cobra.Command, []string) error {
			views := make([]stageView, len(jobs.Stages))
			for i, r := range jobs.Stages {
				views[i] = stageView{
					Stage: r.Stage, Title: r.Title, Type: r.Stage.TaskType(), Classes: r.Classes, Place: r.Place, After: append([]jobs.Stage{}, r.After...), AfterSynthetic: r.AfterSynthetic,
					Recovery: r.Recovery, Cause: r.Cause, EndState: r.EndState, Seconds: r.Timeout.Seconds(), MaxRetry: r.MaxRetry,
				}
			}
			return a.emit(views, func(w io.Writer) error {
				return table(w, "STAGE\tCLASS\tPLACE\tAFTER\tTIMEOUT\tWHAT", func(row func(string, ...any)) {
					for _, v := range views {
						row("%s\t%s\t%s\t%s\t%s\t%s", v.Stage, list(v.Classes), v.Place, or(after(v.After, v.AfterSynthetic), "-"),
							time.Duration(v.Seconds*float64(time.Second)), v.Title)
					}
				})
			})
		},
	})
}

// after is what must be done first, and for sectors with synthetic proofs where that differs.
func after(stages, synthetic []jobs.Stage) string {
	if synthetic == nil {
		return list(stages)
	}
	return list(stages) + " (synthetic: " + list(synthetic) + ")"
}

func list[T ~string](items []T) string {
	out := make([]string, len(items))
	for i, s := range items {
		out[i] = string(s)
	}
	return strings.Join(out, ", ")
}
