package jobs

import (
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/network"
)

// syntheticSince is the network version whose actors take synthetic proofs (FIP-0059).
const syntheticSince = network.Version21

// SyntheticOn is [SyntheticOf] where the network takes it, class Rejected where not.
func SyntheticOn(on Network, p abi.RegisteredSealProof) (abi.RegisteredSealProof, error) {
	if network.Version(on.Version) < syntheticSince {
		return 0, Failf(Rejected, "network %q has version %d: synthetic proofs are taken since version %d", on.Name, on.Version, syntheticSince)
	}
	return SyntheticOf(p)
}

// SyntheticOf is the proof type with synthetic challenges of the same sector size. Its
// sectors are opened at every challenge that a seed may select before they are
// pre-committed, so that their layers need not wait for the seed.
func SyntheticOf(p abi.RegisteredSealProof) (abi.RegisteredSealProof, error) {
	size, err := p.SectorSize()
	if err != nil {
		return 0, Failf(Rejected, "seal proof %d: %w", p, err)
	}
	for s := range abi.Synthetic {
		if of, err := s.SectorSize(); err == nil && of == size {
			return s, nil
		}
	}
	return 0, Failf(Rejected, "no synthetic proof has sectors of %d bytes", size)
}
