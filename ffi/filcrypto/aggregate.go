//go:build filcrypto

package filcrypto

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/proof"

	ffi "github.com/filecoin-project/filecoin-ffi"

	"github.com/lpseal/lpseal/jobs"
)

var _ jobs.Aggregator = (*Prover)(nil)

// Aggregate makes one SnarkPack (v2) proof of many sectors' SNARKs. All are of one
// miner and one proof type.
func (p *Prover) Aggregate(ctx context.Context, seals []jobs.Seal, snarks [][]byte) ([]byte, error) {
	info, err := p.aggregated(ctx, seals)
	if err != nil {
		return nil, fmt.Errorf("aggregate: %w", err)
	}
	if len(snarks) != len(seals) {
		return nil, fmt.Errorf("aggregate: %w", jobs.Failf(jobs.Bug, "%d proofs of %d sectors", len(snarks), len(seals)))
	}
	out, err := ffi.AggregateSealProofs(info, snarks)
	if err != nil {
		return nil, fmt.Errorf("aggregate %d sectors: %w", len(seals), fault(err, jobs.Transient))
	}
	return out, nil
}

// VerifyAggregate checks an aggregate as the chain does. The order of the sectors
// counts.
func (p *Prover) VerifyAggregate(ctx context.Context, seals []jobs.Seal, aggregate []byte) error {
	info, err := p.aggregated(ctx, seals)
	if err != nil {
		return fmt.Errorf("verify aggregate: %w", err)
	}
	info.Proof = aggregate
	ok, err := ffi.VerifyAggregateSeals(info)
	if err != nil {
		return fmt.Errorf("verify aggregate: %w", fault(err, jobs.Input))
	}
	if !ok {
		return fmt.Errorf("verify aggregate: %w", jobs.Failf(jobs.Input, "the aggregate does not hold for these %d sectors", len(seals)))
	}
	return nil
}

func (p *Prover) aggregated(ctx context.Context, seals []jobs.Seal) (info proof.AggregateSealVerifyProofAndInfos, err error) {
	if n := len(seals); n < jobs.MinAggregate || n > jobs.MaxAggregate {
		return info, jobs.Failf(jobs.Rejected, "%d sectors: an aggregate has %d to %d", n, jobs.MinAggregate, jobs.MaxAggregate)
	}
	first := seals[0]
	if err := trusted(ctx, first, p.Aggregates); err != nil {
		return info, err
	}
	info = proof.AggregateSealVerifyProofAndInfos{
		Miner: first.ID.Miner, SealProof: first.Proof, AggregateProof: abi.RegisteredAggregationProof_SnarkPackV2,
	}
	for _, s := range seals {
		if err := checkProof(s); err != nil {
			return info, fmt.Errorf("%s: %w", s.ID, err)
		}
		if s.ID.Miner != first.ID.Miner || s.Proof != first.Proof {
			return info, jobs.Failf(jobs.Bug, "%s and %s are of different miners or proof types", first.ID, s.ID)
		}
		info.Infos = append(info.Infos, proof.AggregateSealVerifyInfo{
			Number: s.ID.Number, Randomness: s.Ticket, InteractiveRandomness: s.Seed, SealedCID: s.CommR, UnsealedCID: s.CommD,
		})
	}
	return info, nil
}
