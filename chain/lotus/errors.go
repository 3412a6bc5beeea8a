package lotus

import (
	"fmt"

	"github.com/filecoin-project/go-jsonrpc"
)

// JSON-RPC error codes of a Lotus node. A handler's plain error has CodeError; the negative ones are the protocol's own.
const (
	CodeError             jsonrpc.ErrorCode = 1
	CodeExecutionReverted jsonrpc.ErrorCode = 3
	CodeMethodNotFound    jsonrpc.ErrorCode = -32601
	CodeParse             jsonrpc.ErrorCode = -32700
)

// ExecutionReverted is the error of a message whose execution failed while its gas was estimated. Message is Lotus's text, which
// names the exit code: "message execution failed (exit=[ErrNotFound(17)], vm error=[…])"; Data is hex.
type ExecutionReverted struct {
	Message string
	Data    string
}

func (e *ExecutionReverted) Error() string { return e.Message }

// FromJSONRPCError reads the wire form.
func (e *ExecutionReverted) FromJSONRPCError(wire jsonrpc.JSONRPCError) error {
	data, ok := wire.Data.(string)
	if !ok {
		return fmt.Errorf("execution reverted: data is %T, not a string", wire.Data)
	}
	e.Message, e.Data = wire.Message, data
	return nil
}

// ToJSONRPCError writes the wire form.
func (e *ExecutionReverted) ToJSONRPCError() (jsonrpc.JSONRPCError, error) {
	return jsonrpc.JSONRPCError{Code: CodeExecutionReverted, Message: e.Message, Data: e.Data}, nil
}

// Errors returns the typed errors that client and server register with go-jsonrpc.
func Errors() jsonrpc.Errors {
	errs := jsonrpc.NewErrors()
	errs.Register(CodeExecutionReverted, new(*ExecutionReverted))
	return errs
}
