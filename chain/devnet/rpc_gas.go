package devnet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"

	"github.com/lpseal/lpseal/chain/lotus"
)

// GasEstimateMessageGas executes the message on the head, after what its sender has pending, and fills in what is zero of gas limit,
// premium and fee cap. A message that fails is refused with its exit code: the estimate is the real check.
func (a *api) GasEstimateMessageGas(ctx context.Context, in *lotus.Message, spec *lotus.MessageSendSpec, key lotus.TipSetKey) (*lotus.Message, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return nil, err
	}
	msg := *in
	fillAmounts(&msg)
	switch {
	case msg.To == address.Undef:
		return nil, errors.New("message To address is undefined")
	case msg.From == address.Undef:
		return nil, errors.New("message From address is undefined")
	}
	if msg.GasLimit == 0 {
		used, err := a.gasUsed(ctx, &msg)
		if err != nil {
			return nil, err
		}
		msg.GasLimit = min(int64(float64(used)*gasLimitOverestimation), lotus.BlockGasLimit)
	}
	if msg.GasPremium.IsZero() {
		msg.GasPremium = big.NewInt(minimumGasPremium)
	}
	if msg.GasFeeCap.IsZero() {
		msg.GasFeeCap = feeCapIn(20, ts.baseFee, msg.GasPremium)
	}
	capFees(&msg, spec)
	return &msg, nil
}

// fillAmounts makes amounts that were left out zero.
func fillAmounts(msg *lotus.Message) {
	for _, amount := range []*abi.TokenAmount{&msg.Value, &msg.GasFeeCap, &msg.GasPremium} {
		if amount.Int == nil {
			*amount = big.Zero()
		}
	}
}

// gasUsed executes a message for its gas, without charging for it.
func (a *api) gasUsed(ctx context.Context, msg *lotus.Message) (int64, error) {
	trial := *msg
	trial.GasLimit, trial.GasFeeCap, trial.GasPremium = lotus.BlockGasLimit, big.Zero(), big.Zero()
	head, _ := a.n.chain.at(lotus.EmptyTSK)
	s := head.post
	from, err := accountKey(&s, msg.From)
	if err != nil {
		return 0, fmt.Errorf("gas estimation failed: resolving sender %s (%w): sender validation failed", msg.From, err)
	}
	sender, ok := s.resolve(from)
	if !ok {
		return 0, fmt.Errorf("gas estimation failed: CallWithGas failed: sender %s not found on chain: sender validation failed", msg.From)
	}
	vm := a.n.vm(head, head.Height, head.baseFee)
	next := sender.nonce
	for _, m := range a.n.pool.of(from) {
		if m.Message.Nonce == msg.Nonce || m.Message.Nonce != next {
			break
		}
		vm.apply(ctx, &s, m)
		next++
	}
	r := vm.call(ctx, &s, sender.id, &trial, storageGas(placeholder(&trial, from)))
	switch {
	case vm.broken != nil:
		return 0, fmt.Errorf("gas estimation failed: %w", vm.broken)
	case exitcode.ExitCode(r.receipt.ExitCode) == exitcode.SysErrOutOfGas:
		return 0, &lotus.OutOfGas{}
	case r.receipt.ExitCode != 0:
		return 0, &lotus.ExecutionReverted{
			Message: fmt.Sprintf("message execution failed (exit=[%s], vm error=[%s])", exitcode.ExitCode(r.receipt.ExitCode), r.failure),
			Data:    "0x",
		}
	}
	return r.receipt.GasUsed, nil
}

// placeholder is the message with a signature of the length that it will have.
func placeholder(msg *lotus.Message, from address.Address) *lotus.SignedMessage {
	m := &lotus.SignedMessage{Message: *msg, Signature: crypto.Signature{Type: crypto.SigTypeBLS, Data: make([]byte, 96)}}
	if from.Protocol() == address.SECP256K1 {
		m.Signature = crypto.Signature{Type: crypto.SigTypeSecp256k1, Data: make([]byte, 65)}
	}
	return m
}

func (a *api) GasEstimateGasLimit(ctx context.Context, msg *lotus.Message, key lotus.TipSetKey) (int64, error) {
	if _, err := a.n.chain.at(key); err != nil {
		return 0, err
	}
	m := *msg
	fillAmounts(&m)
	used, err := a.gasUsed(ctx, &m)
	if err != nil {
		return 0, err
	}
	return used, nil
}

func (a *api) GasEstimateFeeCap(_ context.Context, msg *lotus.Message, epochs int64, key lotus.TipSetKey) (abi.TokenAmount, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return abi.TokenAmount{}, err
	}
	m := *msg
	fillAmounts(&m)
	return feeCapIn(epochs, ts.baseFee, m.GasPremium), nil
}

// GasEstimateGasPremium is the least that Lotus ever estimates: blocks here are never full for long.
func (a *api) GasEstimateGasPremium(_ context.Context, _ uint64, _ address.Address, _ int64, key lotus.TipSetKey) (abi.TokenAmount, error) {
	if _, err := a.n.chain.at(key); err != nil {
		return abi.TokenAmount{}, err
	}
	return big.NewInt(minimumGasPremium), nil
}

// StateCall executes a message on a tipset's state, after its messages, for nothing. Its trace knows one call and one charge.
func (a *api) StateCall(ctx context.Context, in *lotus.Message, key lotus.TipSetKey) (*lotus.InvocResult, error) {
	ts, err := a.n.chain.at(key)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	msg := *in
	fillAmounts(&msg)
	s := ts.post
	sender, ok := s.resolve(msg.From)
	if !ok {
		return nil, fmt.Errorf("sender %s not found on chain: sender validation failed", msg.From)
	}
	msg.Nonce, msg.GasLimit = sender.nonce, lotus.BlockGasLimit
	vm := a.n.vm(ts, ts.Height, big.Zero())
	r := vm.call(ctx, &s, sender.id, &msg, 0)
	if vm.broken != nil {
		return nil, vm.broken
	}
	zero := big.Zero()
	out := &lotus.InvocResult{
		MsgCid: msg.Cid(), Msg: &msg, MsgRct: &r.receipt, Error: r.failure, Duration: time.Since(begun),
		GasCost: lotus.MsgGasCost{GasUsed: zero, BaseFeeBurn: zero, OverEstimationBurn: zero, MinerPenalty: zero, MinerTip: zero, Refund: zero, TotalCost: zero},
		ExecutionTrace: lotus.ExecutionTrace{
			Msg: lotus.MessageTrace{
				From: idAddress(sender.id), To: msg.To, Value: msg.Value, Method: msg.Method, Params: msg.Params,
				ParamsCodec: cborCodec, GasLimit: uint64(msg.GasLimit),
			},
			MsgRct:     lotus.ReturnTrace{ExitCode: exitcode.ExitCode(r.receipt.ExitCode), Return: r.receipt.Return},
			GasCharges: []*lotus.GasTrace{{Name: "OnMethodInvocation", TotalGas: r.receipt.GasUsed, ComputeGas: r.receipt.GasUsed}},
			Subcalls:   []lotus.ExecutionTrace{},
		},
	}
	if receiver, ok := ts.post.resolve(msg.To); ok {
		out.ExecutionTrace.InvokedActor = &lotus.ActorTrace{Id: receiver.id, State: *receiver.wire(ts)}
	}
	return out, nil
}

// cborCodec is the multicodec of CBOR parameters.
const cborCodec = 0x51
