package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/jobs"
)

// verifier is what the embedded node checks proofs with.
type verifier struct{}

func (verifier) VerifyVanilla(_ context.Context, s jobs.Seal, c1 []byte) error {
	return native.VerifyVanilla(s, c1)
}

// VerifySNARK refuses: a Groth16 proof is checked with the verifying key of the network whose
// parameters made it, and the embedded network made none.
func (verifier) VerifySNARK(context.Context, jobs.Seal, []byte) error {
	return errors.New("the embedded network has no verifying key: prove with the native prover here")
}

func (a *app) devnetCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "devnet",
		Short: "Run the embedded node: a Filecoin network for one machine",
		Args:  args(cobra.NoArgs),
	}
	flags := cmd.Flags()
	listen := flags.String("listen", "127.0.0.1:1234", "address of the JSON-RPC API")
	size := flags.String("sector-size", "8MiB", "sector size of the miners")
	miners := flags.StringSlice("miner", []string{"t01000"}, "miners of the genesis")
	epoch := flags.Duration("epoch", time.Second, "time between two epochs")
	dir := flags.String("dir", "", "folder that keeps the network over restarts (default memory only)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := a.load()
		if err != nil {
			return err
		}
		logs, err := newLogs(l.Config.Log, a.err)
		if err != nil {
			return err
		}
		defer func() { _ = logs.close() }()
		cfg, err := devnetConfig(*size, *miners)
		if err != nil {
			return err
		}
		cfg.Listen, cfg.EpochDuration, cfg.Dir, cfg.Logger = *listen, *epoch, *dir, logs.of("devnet")
		node, err := devnet.Start(cmd.Context(), cfg)
		if err != nil {
			return fmt.Errorf("devnet: %w", err)
		}
		fmt.Fprintf(a.out, "FULLNODE_API_INFO=%s\n", node.APIInfo())
		<-cmd.Context().Done()
		return node.Close()
	}
	return cmd
}

// devnetConfig is a network of miners that all have one sector size.
func devnetConfig(size string, miners []string) (devnet.Config, error) {
	proof, err := sealProof(size)
	if err != nil {
		return devnet.Config{}, err
	}
	sectorSize, err := proof.SectorSize()
	if err != nil {
		return devnet.Config{}, err
	}
	cfg := devnet.Config{Verifier: verifier{}}
	for _, m := range miners {
		id, err := parseMiner(m)
		if err != nil {
			return cfg, err
		}
		cfg.Miners = append(cfg.Miners, devnet.DefaultMiner(id, sectorSize))
	}
	return cfg, nil
}
