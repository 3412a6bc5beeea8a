package devnet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/lpseal/lpseal/chain/lotus"
)

// abort is how an actor refuses: a code and its text, as they appear in a receipt and in the VM's backtrace.
type abort struct {
	code exitcode.ExitCode
	text string
}

func (a *abort) Error() string { return a.text }

func abortf(code exitcode.ExitCode, format string, args ...any) error {
	return &abort{code, fmt.Sprintf(format, args...)}
}

// vm executes messages as of one epoch. It changes only the state it is given.
type vm struct {
	epoch   abi.ChainEpoch
	baseFee abi.TokenAmount
	rules   rules
	random  func(crypto.DomainSeparationTag, abi.ChainEpoch, []byte) (abi.Randomness, error)
	proofs  *proofs
	broken  error // why the last message could be neither executed nor refused: no fault of its sender
}

// rules are what differs between networks.
type rules struct {
	challengeDelay abi.ChainEpoch
	sealProofs     map[abi.RegisteredSealProof]bool // that may be pre-committed
}

func (r rules) maxProveCommit() abi.ChainEpoch {
	return maxProveCommitDays*builtin.EpochsInDay + r.challengeDelay
}

// result is an executed message: its receipt, and the VM's text where it failed.
type result struct {
	receipt lotus.MessageReceipt
	failure string
	gas     lotus.GasCharge
}

// apply executes a signed message of a block: the sender pays and its nonce counts, whatever becomes of the call. One whose nonce is not the sender's
// next, or whose gas the sender cannot pay, leaves nothing but a receipt: a block may hold it, for only execution tells, and its producer is to blame.
func (v *vm) apply(ctx context.Context, s *state, m *lotus.SignedMessage) result {
	msg := &m.Message
	sender, _ := s.resolve(msg.From)
	if sender.nonce != msg.Nonce || sender.balance.LessThan(msg.RequiredFunds()) {
		return result{receipt: lotus.MessageReceipt{ExitCode: int64(exitcode.SysErrSenderStateInvalid)}}
	}
	sender.nonce++
	sender.balance = big.Sub(sender.balance, msg.RequiredFunds()) // the rest comes back below
	s.put(sender)
	r := v.call(ctx, s, sender.id, msg, storageGas(m))
	r.gas = lotus.ChargeGas(msg, r.receipt.GasUsed, v.baseFee)
	s.credit(sender.id, big.Sub(msg.RequiredFunds(), r.gas.Total())) // the tip leaves the chain: no account here mines
	s.credit(burntFunds, big.Add(r.gas.Burn, r.gas.OverBurn))
	return r
}

// call executes a message without charging for it. A failed one leaves the state as it was.
func (v *vm) call(ctx context.Context, s *state, sender abi.ActorID, msg *lotus.Message, base int64) result {
	attempt := *s
	ret, gas, err := v.send(ctx, &attempt, sender, msg)
	gas += base
	if err == nil && gas > msg.GasLimit {
		gas, err = msg.GasLimit, &abort{code: exitcode.SysErrOutOfGas}
	}
	if err != nil {
		var a *abort
		if !errors.As(err, &a) {
			v.broken = err
			a = &abort{exitcode.SysErrFatal, err.Error()}
		}
		return result{failure: backtrace(msg.To, msg.Method, a), receipt: lotus.MessageReceipt{ExitCode: int64(a.code), GasUsed: min(gas, msg.GasLimit)}}
	}
	*s = attempt
	r := result{receipt: lotus.MessageReceipt{Return: ret, GasUsed: gas}}
	if msg.Method != builtin.MethodSend {
		r.receipt.EventsRoot = eventsRoot(msg)
	}
	return r
}

// send moves the value, making an account for a new key, and runs the method.
func (v *vm) send(ctx context.Context, s *state, from abi.ActorID, msg *lotus.Message) ([]byte, int64, error) {
	sender, _ := s.actors.get(from)
	if sender.balance.LessThan(msg.Value) {
		return nil, gasFailed, abortf(exitcode.SysErrInsufficientFunds,
			"send::send -- sender does not have funds to transfer (balance %s, transfer %s) (5: insufficient funds)", fil(sender.balance), fil(msg.Value))
	}
	receiver, ok := s.resolve(msg.To)
	if !ok {
		if p := msg.To.Protocol(); p != address.SECP256K1 && p != address.BLS {
			return nil, gasFailed, abortf(exitcode.SysErrInvalidReceiver, "send::send -- actor does not exist: %s (6: not found)", msg.To)
		}
		receiver = s.account(s.nextID, msg.To, big.Zero())
		s.nextID++
	}
	s.transfer(from, receiver.id, msg.Value)
	if msg.Method == builtin.MethodSend {
		return nil, gasSend, nil
	}
	method, ok := methods[receiver.kind][msg.Method]
	if !ok {
		return nil, gasFailed, abortf(exitcode.ErrUnhandledMessage, "invalid method: %d", msg.Method)
	}
	ret, gas, err := method(&call{vm: v, ctx: ctx, state: s, caller: from, receiver: receiver.id}, msg.Params)
	if err != nil {
		return nil, gasFailed, err
	}
	return ret, gas, nil
}

// call is one invocation of an actor's method.
type call struct {
	*vm
	ctx              context.Context
	state            *state
	caller, receiver abi.ActorID
}

// method runs with CBOR parameters; it returns the CBOR result and the gas used.
type method func(c *call, params []byte) (ret []byte, gas int64, err error)

var methods = map[actorKind]map[abi.MethodNum]method{
	kindMiner: {
		builtin.MethodsMiner.PreCommitSectorBatch2: preCommitSectorBatch2,
		builtin.MethodsMiner.ProveCommitSectors3:   proveCommitSectors3,
	},
}

// backtrace is the VM's account of a failure. Failures of the system itself have no actor to name.
func backtrace(to address.Address, method abi.MethodNum, a *abort) string {
	var b strings.Builder
	b.WriteString("message failed with backtrace:\n")
	if a.code < exitcode.FirstActorErrorCode {
		fmt.Fprintf(&b, "--> caused by: %s\n", a.text)
	} else {
		fmt.Fprintf(&b, "00: f%s (method %d) -- %s (%d)\n", to.String()[1:], method, a.text, a.code)
	}
	fmt.Fprintf(&b, " (RetCode=%d)", a.code)
	return b.String()
}

// fil prints an amount as the VM does: in FIL, with at least one decimal.
func fil(amount abi.TokenAmount) string {
	whole, atto := big.Div(amount, builtin.TokenPrecision), big.Mod(amount, builtin.TokenPrecision)
	decimals := strings.TrimRight(fmt.Sprintf("%018s", atto), "0")
	if decimals == "" {
		decimals = "0"
	}
	return whole.String() + "." + decimals
}

// eventsRoot stands for the events of an actor's method; nothing here reads them.
func eventsRoot(msg *lotus.Message) *cid.Cid {
	c := digestCid("events", msg.Cid().Bytes())
	return &c
}

// digestCid names by the CID that Lotus would use for a CBOR object something that this node does not keep as one.
func digestCid(what string, parts ...[]byte) cid.Cid {
	data := []byte("lpseal/devnet/" + what)
	for _, p := range parts {
		data = append(data, p...)
	}
	h, err := multihash.Sum(data, multihash.BLAKE2B_MIN+31, 32)
	if err != nil {
		panic(fmt.Sprintf("devnet: blake2b-256: %v", err)) // registered by go-multihash itself
	}
	return cid.NewCidV1(cid.DagCBOR, h)
}
