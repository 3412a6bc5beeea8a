package cli

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/lpseal/lpseal/ffi/native"
	"github.com/lpseal/lpseal/jobs"
)

func (a *app) proofsCmd() *cobra.Command {
	return group("proofs", "Check proofs", a.verifyCmd())
}

// proofFlags are a proof and its statement as text: what is malformed refuses the
// proof, as what is false does, and is no mistake in the command line.
type proofFlags struct {
	vk, proofType, miner, number, ticket, seed, commD, commR, proof string
}

func (a *app) verifyCmd() *cobra.Command {
	var f proofFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check a PoRep's Groth16 proof as the chain does: exit code 0 if it is accepted, 1 if not",
		Args:  args(),
	}
	flags := cmd.Flags()
	given := []struct {
		name, what string
		value      *string
	}{
		{"vk", "file with the circuit's verifying key, trusted as it is", &f.vk},
		{"seal-proof", "registered seal proof, a number", &f.proofType},
		{"miner", "miner's actor ID", &f.miner},
		{"number", "sector number", &f.number},
		{"ticket", "ticket, 32 bytes in hex", &f.ticket},
		{"seed", "interactive seed, 32 bytes in hex", &f.seed},
		{"comm-d", "CID of the data", &f.commD},
		{"comm-r", "CID of the replica", &f.commR},
		{"proof", "192 bytes for each partition, in hex", &f.proof},
	}
	for _, g := range given {
		flags.StringVar(g.value, g.name, "", g.what)
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		for _, g := range given {
			if !flags.Changed(g.name) {
				return usage("see lpseal proofs verify --help", "--%s is missing", g.name)
			}
		}
		id, err := f.verify()
		if err != nil {
			return &codedError{exitFailure, fmt.Errorf("the proof is refused: %w", err), nil}
		}
		accepted := struct {
			Sector   string `json:"sector"`
			Accepted bool   `json:"accepted"`
		}{id.String(), true}
		return a.emit(accepted, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "the proof of %s is accepted\n", id)
			return err
		})
	}
	return a.jsonFlag(cmd)
}

func (f *proofFlags) verify() (id jobs.SectorID, err error) {
	s, err := f.seal()
	if err != nil {
		return id, err
	}
	proof, err := hex.DecodeString(f.proof)
	if err != nil {
		return id, fmt.Errorf("--proof: %w", err)
	}
	vk, err := readKey(f.vk)
	if err != nil {
		return id, err
	}
	return s.ID, native.VerifyPoRep(vk, s, proof)
}

// seal is the statement that the proof must prove.
func (f *proofFlags) seal() (s jobs.Seal, err error) {
	proofType, err := strconv.ParseInt(f.proofType, 10, 32)
	if err != nil {
		return s, fmt.Errorf("--seal-proof: %w", err)
	}
	s.Proof = abi.RegisteredSealProof(proofType)
	if s.ID.Miner, err = parseMiner(f.miner); err != nil {
		return s, fmt.Errorf("--miner: %w", err)
	}
	number, err := strconv.ParseUint(f.number, 10, 63)
	if err != nil {
		return s, fmt.Errorf("--number: %w", err)
	}
	s.ID.Number = abi.SectorNumber(number)
	if s.Ticket, err = hex32("--ticket", f.ticket); err != nil {
		return s, err
	}
	if s.Seed, err = hex32("--seed", f.seed); err != nil {
		return s, err
	}
	if s.CommD, err = cid.Decode(f.commD); err != nil {
		return s, fmt.Errorf("--comm-d: %w", err)
	}
	if s.CommR, err = cid.Decode(f.commR); err != nil {
		return s, fmt.Errorf("--comm-r: %w", err)
	}
	return s, nil
}
