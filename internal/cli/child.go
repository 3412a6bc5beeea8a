package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/internal/crash"
	"github.com/lpseal/lpseal/jobs"
	"github.com/lpseal/lpseal/worker"
)

// childCmd is the program of a heavy stage's processes (design rule 7). It reads the same
// configuration as the worker that started it.
func (a *app) childCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:    "child FOLDER",
		Short:  "Run one heavy stage; workers start this",
		Args:   args("FOLDER"),
		Hidden: true,
	}
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if code := worker.ChildMain(cmd.Context(), given[0], a.childEnv); code != exitOK {
			return &codedError{code: code, err: errors.New("child process ended without a result; its folder says why")}
		}
		return nil
	}
	return cmd
}

// aggregateCmd is the program that joins proofs for a scheduler. All that it needs comes
// with the request and the environment.
func (a *app) aggregateCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "aggregate",
		Short:  "Join the proofs of a batch; schedulers start this",
		Args:   args(),
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if code := worker.AggregateMain(cmd.Context(), a.in, a.out, joiner); code != exitOK {
				return &codedError{code: code, err: errors.New("child process ended without a report")}
			}
			return nil
		},
	}
}

// joins is the prover that can make aggregates.
const joins = "filcrypto"

func joiner(context.Context) (jobs.Aggregator, error) {
	p, err := newBackend(joins, backendOptions{network: os.Getenv(networkEnv), log: slog.Default()})
	if err != nil {
		return nil, err
	}
	agg, ok := p.(jobs.Aggregator)
	if !ok {
		return nil, fmt.Errorf("prover %s joins no proofs", p.Name())
	}
	return agg, nil
}

// childConfig starts this program again with the configuration of this one.
func (a *app) childConfig() worker.ChildConfig {
	args := []string{"child"}
	if a.alone {
		args = append(args, "--alone")
	}
	if a.config != "" {
		args = append(args, "--config", a.config)
	}
	for _, key := range slices.Sorted(maps.Keys(a.flags)) {
		args = append(args, "--set", key+"="+a.flags[key])
	}
	return worker.ChildConfig{Args: args}
}

// childEnv is a child's world. It has no chain: no heavy stage sends or reads messages.
func (a *app) childEnv(ctx context.Context, q *worker.Request) (*jobs.Env, error) {
	c, err := a.join(ctx)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, c.close)
	host, err := c.openFiles(crash.Child, true)
	if err != nil {
		return nil, err
	}
	prover, err := newProver(q.Lane, c.backendOptions(""))
	if err != nil {
		return nil, err
	}
	to, err := c.handover()
	if err != nil {
		return nil, err
	}
	return c.env(prover, nil, host, to), nil
}
