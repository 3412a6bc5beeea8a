package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/chain/devnet"
	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/ffi/native/groth16"
	"github.com/lpseal/lpseal/jobs"
)

// verifier is what the embedded node checks proofs with: in pure Go, whoever made them.
type verifier struct {
	// key is the verifying key of the network's one sector size; nil refuses every SNARK.
	key *groth16.VerifyingKey
}

func (verifier) VerifyVanilla(_ context.Context, s jobs.Seal, c1 []byte) error {
	return native.VerifyVanilla(s, c1)
}

// VerifySNARK checks a Groth16 proof with the key of the parameters that the network takes for
// its own. An embedded network has none unless it is given one.
func (v verifier) VerifySNARK(_ context.Context, s jobs.Seal, proof []byte) error {
	if v.key == nil {
		return errors.New("the embedded network has no verifying key: prove with the native prover, or start it with --vk")
	}
	return native.VerifyPoRep(v.key, s, proof)
}

// keys are the verifying keys that this process has read, each parsed once.
var keys groth16.Keys

// readKey reads a .vk file.
func readKey(file string) (*groth16.VerifyingKey, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, unopened("lpseal params generate makes test parameters with their key", err)
	}
	key, err := keys.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

func (a *app) devnetCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "devnet",
		Short: "Run the embedded node: a Filecoin network for one machine",
		Args:  args(),
	}
	flags := cmd.Flags()
	listen := flags.String("listen", "127.0.0.1:1234", "address of the JSON-RPC API")
	size := flags.String("sector-size", "8MiB", "sector size of the miners")
	miners := flags.StringSlice("miner", []string{"t01000"}, "miners of the genesis")
	epoch := flags.Duration("epoch", time.Second, "time between two epochs; under a second, every deadline counts as near and no batch waits")
	vk := flags.String("vk", "", "verifying key (.vk file) of the proof parameters that the network takes; without one it takes native proofs alone; the SRS of aggregates lies beside it")
	dir := flags.String("dir", "", "folder that keeps the network over restarts (default memory only)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *epoch <= 0 {
			return usage("write a duration above 0s", "--epoch %s: no epoch would ever end", *epoch)
		}
		l, err := a.load()
		if err != nil {
			return err
		}
		logs, err := newLogs(l.Config.Log, a.err)
		if err != nil {
			return err
		}
		defer func() { _ = logs.close() }()
		var v verifier
		if *vk != "" {
			if v.key, err = readKey(*vk); err != nil {
				return err
			}
			// filecoin-ffi, which verifies aggregates, finds its files by itself.
			if err := os.Setenv("FIL_PROOFS_PARAMETER_CACHE", filepath.Dir(*vk)); err != nil {
				return err
			}
		}
		cfg, err := devnetConfig(*size, *miners, v)
		if err != nil {
			return err
		}
		cfg.Listen, cfg.EpochDuration, cfg.Dir, cfg.Logger = *listen, *epoch, *dir, logs.of("devnet")
		node, err := devnet.Start(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.out, "FULLNODE_API_INFO=%s\n", node.APIInfo())
		<-cmd.Context().Done()
		return node.Close()
	}
	cmd.AddCommand(a.devnetAllocateCmd(), a.devnetDealCmd())
	return cmd
}

// devnetConfig is a network of miners that all have one sector size.
func devnetConfig(size string, miners []string, v verifier) (devnet.Config, error) {
	proof, err := sealProof(size)
	if err != nil {
		return devnet.Config{}, err
	}
	sectorSize, err := proof.SectorSize()
	if err != nil {
		return devnet.Config{}, err
	}
	cfg := devnet.Config{Verifier: v}
	if v.key != nil {
		cfg.VerifyAggregate = verifyAggregate
	}
	for _, m := range miners {
		id, err := parseMiner(m)
		if err != nil {
			return cfg, err
		}
		cfg.Miners = append(cfg.Miners, devnet.DefaultMiner(id, sectorSize))
	}
	return cfg, nil
}
