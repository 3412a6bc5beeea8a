package devnet

import (
	"math"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"

	"github.com/lpseal/lpseal/chain/lotus"
)

// Gas is a table by method: a fixed part and a part for each sector, calibrated on a recorded network of version 28. A message that
// fails costs gasFailed, whatever it did before.
const (
	gasSend                = 730_000
	gasFailed              = 4_900_000
	gasPreCommit           = 12_000_000
	gasPreCommitPerSector  = 440_000
	gasProve               = 47_600_000
	gasProvePerSector      = 43_000_000
	gasPerStoredByte       = 1_300 // of the message on chain
	gasStoredMessage       = 300_000
	gasTarget              = lotus.BlockGasLimit / 2
	gasLimitOverestimation = 1.25 // of GasEstimateMessageGas
)

// Base fee and premium in attoFIL per gas.
const (
	genesisBaseFee      = 100_000_000
	minimumBaseFee      = 100
	baseFeeChangeDenom  = 8 // at most 12.5 % an epoch
	minimumGasPremium   = 100_000
	replaceByFeePercent = 110 // a replacement's premium against the old one's; and one attoFIL more
)

// defaultMaxFee caps gasLimit × feeCap where the caller gives no MaxFee: 0.07 FIL, as in Lotus's configuration.
var defaultMaxFee = big.Div(big.Mul(big.NewInt(7), builtin.TokenPrecision), big.NewInt(100))

// Verifying one proof by itself is 34,721,049 of a sector's gas (the FVM's price list); an aggregate is charged by steps and by proof instead.
const (
	gasVerifyOne        = 34_721_049
	gasAggregatePerSeal = 449_900
)

// aggregateSteps are the price list's for 32 GiB, by the most proofs that a step covers.
var aggregateSteps = []struct {
	proofs int
	gas    int64
}{{4, 103_994_170}, {7, 112_356_810}, {13, 122_912_610}, {26, 137_559_930}, {52, 162_039_100}, {103, 210_960_780}, {205, 318_351_180}, {410, 528_274_980}}

// gasAggregate is what the sectors of an aggregate cost.
func gasAggregate(sectors int) int64 {
	step := aggregateSteps[len(aggregateSteps)-1].gas
	for _, s := range aggregateSteps {
		if sectors <= s.proofs {
			step = s.gas
			break
		}
	}
	return step + int64(sectors)*(gasProvePerSector-gasVerifyOne+gasAggregatePerSeal)
}

// storageGas is charged before anything else for having the message on chain.
func storageGas(m *lotus.SignedMessage) int64 {
	n, err := m.ChainLength()
	if err != nil {
		return math.MaxInt64
	}
	return gasStoredMessage + int64(n)*gasPerStoredByte
}

// nextBaseFee is the EIP-1559 rule with the gas limits of a tipset's messages as its load.
func nextBaseFee(fee abi.TokenAmount, gasLimits int64) abi.TokenAmount {
	over := max(min(gasLimits-gasTarget, gasTarget), -gasTarget)
	change := big.Div(big.Div(big.Mul(fee, big.NewInt(over)), big.NewInt(gasTarget)), big.NewInt(baseFeeChangeDenom))
	return big.Max(big.Add(fee, change), big.NewInt(minimumBaseFee))
}

// feeCapIn is the base fee after as many full epochs, as Lotus projects it, plus the premium.
func feeCapIn(epochs int64, baseFee, premium abi.TokenAmount) abi.TokenAmount {
	growth := math.Pow(1+1./baseFeeChangeDenom, float64(epochs))
	future := big.Div(big.Mul(baseFee, big.NewInt(int64(growth*256))), big.NewInt(256))
	return big.Add(future, premium)
}

// capFees lowers the fee cap so that the message cannot cost more than the caller's maximum, or raises it to just that.
func capFees(m *lotus.Message, spec *lotus.MessageSendSpec) {
	maxFee := defaultMaxFee
	if spec != nil && !spec.MaxFee.NilOrZero() {
		maxFee = spec.MaxFee
	}
	limit := big.NewInt(m.GasLimit)
	if spec != nil && spec.MaximizeFeeCap || big.Mul(m.GasFeeCap, limit).GreaterThan(maxFee) {
		m.GasFeeCap = big.Div(maxFee, limit)
	}
	m.GasPremium = big.Min(m.GasFeeCap, m.GasPremium)
}
