package lotus

import (
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
)

// InvocResult is the answer of StateCall: a message executed without being sent. Error holds the actor's text when the exit
// code is not 0.
type InvocResult struct {
	MsgCid         cid.Cid
	Msg            *Message
	MsgRct         *MessageReceipt
	GasCost        MsgGasCost
	ExecutionTrace ExecutionTrace
	Error          string
	Duration       time.Duration
}

// MsgGasCost is what a message's gas cost, in attoFIL; all zero for StateCall.
type MsgGasCost struct {
	Message            *cid.Cid
	GasUsed            abi.TokenAmount
	BaseFeeBurn        abi.TokenAmount
	OverEstimationBurn abi.TokenAmount
	MinerPenalty       abi.TokenAmount
	MinerTip           abi.TokenAmount
	Refund             abi.TokenAmount
	TotalCost          abi.TokenAmount
}

// ExecutionTrace is one call and the calls it made.
type ExecutionTrace struct {
	Msg          MessageTrace
	MsgRct       ReturnTrace
	InvokedActor *ActorTrace
	GasCharges   []*GasTrace
	Subcalls     []ExecutionTrace
	Logs         []string      `json:",omitempty"`
	IpldOps      []TraceIpldOp `json:",omitempty"`
}

// MessageTrace is the message of one call.
type MessageTrace struct {
	From        address.Address
	To          address.Address
	Value       abi.TokenAmount
	Method      abi.MethodNum
	Params      []byte
	ParamsCodec uint64
	GasLimit    uint64
	ReadOnly    bool
}

// ReturnTrace is the result of one call.
type ReturnTrace struct {
	ExitCode    exitcode.ExitCode
	Return      []byte
	ReturnCodec uint64
}

// ActorTrace is the actor that one call reached.
type ActorTrace struct {
	Id    abi.ActorID
	State Actor
}

// GasTrace is one charge: total, compute and storage gas, and the time taken.
type GasTrace struct {
	Name       string
	TotalGas   int64         `json:"tg"`
	ComputeGas int64         `json:"cg"`
	StorageGas int64         `json:"sg"`
	TimeTaken  time.Duration `json:"tt"`
}

// TraceIpldOp is one block read or written.
type TraceIpldOp struct {
	Op   string
	Cid  cid.Cid
	Size uint64
}
