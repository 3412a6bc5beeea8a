package lotus

import (
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
)

// GasCharge is where the gas of a message that was executed went, in attoFIL.
type GasCharge struct {
	Burn     abi.TokenAmount // the base fee of the gas used
	OverBurn abi.TokenAmount // the base fee of a part of a limit that was set too high
	Tip      abi.TokenAmount // the premium of the whole limit, for the block's miner
}

// Total is what the sender paid for gas.
func (g GasCharge) Total() abi.TokenAmount { return big.Sum(g.Burn, g.OverBurn, g.Tip) }

// ChargeGas applies the chain's rule: gas used burns the base fee, a limit more than 10 % above the use burns part of the rest, and the whole limit pays
// the premium.
func ChargeGas(m *Message, used int64, baseFee abi.TokenAmount) GasCharge {
	fee := big.Min(baseFee, m.GasFeeCap)
	premium := big.Min(m.GasPremium, big.Sub(m.GasFeeCap, fee))
	return GasCharge{
		Burn:     big.Mul(fee, big.NewInt(used)),
		OverBurn: big.Mul(fee, big.NewInt(overestimation(used, m.GasLimit))),
		Tip:      big.Mul(premium, big.NewInt(m.GasLimit)),
	}
}

// overestimation is the gas burnt beyond the use: nothing up to 110 % of the use, everything from 210 % on, linear between.
func overestimation(used, limit int64) int64 {
	if used == 0 {
		return limit
	}
	over := max(0, min(limit-used*11/10, used))
	burnt := big.Div(big.Mul(big.NewInt(limit-used), big.NewInt(over)), big.NewInt(used))
	return burnt.Int64()
}
