package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/configs"
)

// app is one run of the program.
type app struct {
	in       io.Reader
	out, err io.Writer
	config   string   // --config
	sets     []string // --set
	alone    bool     // --alone
	json     bool
	flags    map[string]string // configuration keys that a command's own flags set
}

// stops are the signals that end the program's context. SIGHUP is a closed terminal.
var stops = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}

// Main runs the program and gives its exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), stops...)
	defer stop()
	return Run(ctx, args, os.Stdin, os.Stdout, os.Stderr)
}

// secondSignalKills lets nobody wait for a drain: what a killed daemon leaves, the next
// start adopts. The demo does not want this, for nobody comes after it.
func secondSignalKills(ctx context.Context) {
	context.AfterFunc(ctx, func() { signal.Reset(stops...) })
}

// Run is Main on other streams.
func Run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	a := &app{in: in, out: out, err: errs, flags: map[string]string{}}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = errors.New("stopped by a signal")
	}
	if err != nil {
		report(errs, err)
	}
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "lpseal",
		Short:         "Seal Filecoin sectors as jobs on Redis",
		Version:       thisBuild().line(),
		Args:          args(),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,

		DisableFlagsInUseLine: true,
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().StringVar(&a.config, "config", "", "configuration file (default $LPSEAL_CONFIG, $XDG_CONFIG_HOME/lpseal/lpseal.yaml, /etc/lpseal/lpseal.yaml)")
	root.PersistentFlags().StringArrayVar(&a.sets, "set", nil, "set a configuration key, as in --set redis.url=redis://r1:6379 (repeatable; others see it in ps: give secrets by LPSEAL_…_FILE)")
	root.PersistentFlags().BoolVar(&a.alone, "alone", false, "read nothing but --config and --set")
	_ = root.PersistentFlags().MarkHidden("alone") // for children of the demo
	root.AddGroup(
		&cobra.Group{ID: "daemons", Title: "Daemons:"},
		&cobra.Group{ID: "operate", Title: "Operate:"},
		&cobra.Group{ID: "try", Title: "Try and measure:"},
	)
	a.add(root, "daemons", a.schedulerCmd(), a.workerCmd(), a.webCmd(), a.devnetCmd())
	a.add(root, "operate", a.sectorsCmd(), a.piecesCmd(), a.dealsCmd(), a.batchesCmd(), a.messagesCmd(), a.walletCmd(), a.machinesCmd(), a.storageCmd(), a.stagesCmd(), a.configCmd(), a.doctorCmd())
	a.add(root, "operate", a.proofsCmd(), a.paramsCmd())
	a.add(root, "try", a.demoCmd(), a.benchCmd())
	a.add(root, "", a.versionCmd(), a.childCmd(), a.aggregateCmd(), a.generateCmd())
	return root
}

func (a *app) add(parent *cobra.Command, group string, cmds ...*cobra.Command) {
	for _, c := range cmds {
		c.GroupID = group
		parent.AddCommand(c)
	}
}

// jsonFlag gives a command that prints the flag for machines.
func (a *app) jsonFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

// group is a command that only holds others.
func group(use, short string, cmds ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: args(), DisableFlagsInUseLine: true, RunE: func(cmd *cobra.Command, _ []string) error {
		return errors.Join(cmd.Help(), usage("name one of its commands", "%s does nothing by itself", spoken(cmd)))
	}}
	c.AddCommand(cmds...)
	return c
}

// load reads the configuration. Addresses print from here on as on its network.
func (a *app) load() (*configs.Loaded, error) {
	for _, s := range a.sets {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, usage("write --set KEY=VALUE", "--set %s has no value", s)
		}
		a.flags[key] = value
	}
	loaded, err := configs.Load(configs.Source{File: a.config, Flags: a.flags, Alone: a.alone})
	if err != nil {
		return nil, err
	}
	lotus.PrintAddressesOf(loaded.Config.Chain.Network)
	return loaded, nil
}
