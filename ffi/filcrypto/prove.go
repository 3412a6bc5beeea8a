//go:build filcrypto

package filcrypto

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	ffi "github.com/filecoin-project/filecoin-ffi"

	"github.com/lpseal/lpseal/jobs"
)

// C1 makes the vanilla proof; the library checks every opening of it.
func (p *Prover) C1(ctx context.Context, s jobs.Seal, f jobs.Folders) (out []byte, err error) {
	err = call(ctx, "c1", s, func() error {
		if err := checkProof(s); err != nil {
			return err
		}
		pieces, err := wholeSector(s)
		if err != nil {
			return err
		}
		out, err = ffi.SealCommitPhase1(s.Proof, s.CommR, s.CommD, f.Cache, f.Sealed, s.ID.Number, s.ID.Miner, s.Ticket, s.Seed, pieces)
		return fault(err, jobs.Input)
	})
	return out, err
}

// wholeSector is one piece that fills the sector. The library asks for pieces only
// to see that they make up CommD, which TreeD has seen already.
func wholeSector(s jobs.Seal) ([]abi.PieceInfo, error) {
	size, err := s.Proof.SectorSize()
	if err != nil {
		return nil, jobs.Failf(jobs.Rejected, "seal proof %d: %w", s.Proof, err)
	}
	return []abi.PieceInfo{{Size: abi.PaddedPieceSize(size), PieceCID: s.CommD}}, nil
}

// C2 makes the SNARK; the library verifies it before it returns it.
func (p *Prover) C2(ctx context.Context, s jobs.Seal, c1 []byte) (out []byte, err error) {
	err = call(ctx, "c2", s, func() error {
		if err := checkProof(s); err != nil {
			return err
		}
		if err := checkC1(s, c1); err != nil {
			return err
		}
		if err := p.parameters(ctx, s); err != nil {
			return err
		}
		out, err = ffi.SealCommitPhase2(c1, s.ID.Number, s.ID.Miner)
		return fault(err, jobs.Transient)
	})
	return out, err
}

// checkC1 sees that the vanilla proof is whole and of this seal, before minutes are
// spent on it.
func checkC1(s jobs.Seal, c1 []byte) error {
	var head struct {
		Proof string    `json:"registered_proof"`
		CommR byteArray `json:"comm_r"`
		CommD byteArray `json:"comm_d"`
		Seed  byteArray `json:"seed"`
	}
	if err := json.Unmarshal(c1, &head); err != nil {
		return jobs.Failf(jobs.Input, "the vanilla proof cannot be read (%d bytes): %w", len(c1), err)
	}
	commR, err := jobs.CommitmentBytes(s.CommR)
	if err != nil {
		return jobs.Failf(jobs.Bug, "CommR: %w", err)
	}
	commD, err := jobs.CommitmentBytes(s.CommD)
	if err != nil {
		return jobs.Failf(jobs.Bug, "CommD: %w", err)
	}
	switch {
	case head.Proof != proofName(s.Proof):
		return jobs.Failf(jobs.Input, "the vanilla proof is of type %q, the sector of %s", head.Proof, proofName(s.Proof))
	case !bytes.Equal(head.CommR, commR[:]), !bytes.Equal(head.CommD, commD[:]), !bytes.Equal(head.Seed, s.Seed):
		return jobs.Failf(jobs.Input, "the vanilla proof is of another replica or another seed")
	}
	return nil
}

// byteArray is bytes that serde wrote as numbers.
type byteArray []byte

// UnmarshalJSON reads an array of numbers below 256.
func (b *byteArray) UnmarshalJSON(text []byte) error {
	var numbers []uint16
	if err := json.Unmarshal(text, &numbers); err != nil {
		return err
	}
	for _, n := range numbers {
		*b = append(*b, byte(n))
	}
	return nil
}

// Verify checks a SNARK as the chain does.
func (p *Prover) Verify(ctx context.Context, s jobs.Seal, snark, _ []byte) error {
	return call(ctx, "verify", s, func() error {
		if err := checkProof(s); err != nil {
			return err
		}
		if err := p.parameters(ctx, s); err != nil {
			return err
		}
		ok, err := ffi.VerifySeal(verifyInfo(s, snark))
		if err != nil {
			return fault(err, jobs.Input)
		}
		if !ok {
			return jobs.Failf(jobs.Input, "the proof does not hold for this sector, ticket and seed")
		}
		return nil
	})
}

func verifyInfo(s jobs.Seal, snark []byte) proof.SealVerifyInfo {
	return proof.SealVerifyInfo{
		SealProof: s.Proof, SectorID: abi.SectorID{Miner: s.ID.Miner, Number: s.ID.Number},
		Randomness: s.Ticket, InteractiveRandomness: s.Seed, Proof: snark, SealedCID: s.CommR, UnsealedCID: s.CommD,
	}
}
