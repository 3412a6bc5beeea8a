package chain

import (
	"context"
	"slices"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/network"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// mayAggregate tells whether the chain takes an aggregate of so many sectors at a cost that its gas tells. FIP-0013 charged a fee for aggregates beside the gas;
// FIP-0100 (network version 25) dropped it: go-state-types has AggregateProveCommitNetworkFee up to builtin/v15, and not in v16. Older networks are
// not worth computing it for.
func mayAggregate(sectors int, version uint) bool {
	return sectors >= miner.MinAggregatedSectors && sectors <= miner.MaxAggregatedSectors && version >= uint(network.Version25)
}

// aggregateIsCheaper decides by simulated cost: the gas that the node found for one aggregate against that of the plain messages which it would replace. All pay
// the same base fee.
func aggregateIsCheaper(plain []int64, aggregate int64) bool {
	var sum int64
	for _, gas := range plain {
		sum += gas
	}
	return aggregate < sum
}

// cheaper gives the message of an aggregate of all members that are left, where one is possible and costs less than plain messages; else the plain one that
// was checked. An aggregate that cannot be made, or that the node refuses, costs nothing but time.
func (s *sending) cheaper(ctx context.Context, head *lotus.TipSet, p *commits, plain *quote) (*quote, error) {
	set, gas := slices.Clone(plain.set), []int64{plain.msg.GasLimit}
	for {
		rest := slices.DeleteFunc(slices.Clone(s.left), func(i int) bool { return slices.Contains(set, i) })
		if rest = s.fit(rest); len(rest) == 0 || len(set) >= miner.MaxAggregatedSectors {
			break
		}
		q, err := s.checked(ctx, head, rest)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil { // theirs, and told when their turn comes
			s.cfg.Log.Warn("the rest of a batch cannot be checked; it is not aggregated with the first", "batch", s.batch, "sectors", len(rest), "err", err)
			break
		}
		if q != nil {
			set, gas = append(set, q.set...), append(gas, q.msg.GasLimit)
		}
	}
	set = set[:min(len(set), miner.MaxAggregatedSectors)]
	if !mayAggregate(len(set), s.network.Version) {
		return plain, nil
	}
	q, err := s.aggregated(ctx, head, p, set)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		s.cfg.Log.Warn("no aggregate: the proofs go one by one", "batch", s.batch, "sectors", len(set), "err", err)
		return plain, nil
	case !aggregateIsCheaper(gas, q.msg.GasLimit):
		return plain, nil
	}
	return q, nil
}

// aggregated makes one proof of the set's and has its message estimated.
func (s *sending) aggregated(ctx context.Context, head *lotus.TipSet, p *commits, set []int) (*quote, error) {
	rs := p.of(set)
	seals, snarks := make([]jobs.Seal, len(rs)), make([][]byte, len(rs))
	locked := big.Zero()
	for j, r := range rs {
		seals[j], snarks[j] = r.Seal, r.Proof
		short, err := s.locks(ctx, head, set[j])
		if err != nil {
			return nil, err
		}
		locked = big.Add(locked, short)
	}
	value, err := s.lessAvailable(ctx, s.miner, locked, head)
	if err != nil {
		return nil, err
	}
	proof, err := p.agg.Aggregate(ctx, seals, snarks)
	if err != nil {
		return nil, err
	}
	strict, err := commitParams(rs, true, proof)
	if err != nil {
		return nil, err
	}
	msg, err := s.priced(ctx, head, len(set), strict, value)
	if err != nil {
		return nil, err
	}
	msg.Params, err = commitParams(rs, false, proof)
	return &quote{set: set, msg: msg, drawn: big.Sub(locked, value), aggregate: true}, err
}
