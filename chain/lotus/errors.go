package lotus

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/filecoin-project/go-jsonrpc"
)

// JSON-RPC error codes of a Lotus node. A handler's plain error has CodeError; the negative ones are the protocol's own.
const (
	CodeError             jsonrpc.ErrorCode = 1
	CodeOutOfGas          jsonrpc.ErrorCode = 2
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

// OutOfGas is the error of a message that needs more gas than a block has, when its gas is estimated: Lotus tells neither exit code nor method.
type OutOfGas struct{}

func (*OutOfGas) Error() string { return OutOfGasText }

// OutOfGasText is all that Lotus says of it, in an error of its own or in that of a call which estimates on the way.
const OutOfGasText = "call ran out of gas"

// Errors returns the typed errors that client and server register with go-jsonrpc.
func Errors() jsonrpc.Errors {
	errs := jsonrpc.NewErrors()
	errs.Register(CodeOutOfGas, new(*OutOfGas))
	errs.Register(CodeExecutionReverted, new(*ExecutionReverted))
	return errs
}

// connectionLost is all that go-jsonrpc says of a WebSocket that closed under a call.
var connectionLost = new(jsonrpc.RPCConnectionError).Error()

// NoAnswer tells whether a call failed on the way, so that nothing is known of what was done, and not by the word of who was asked.
func NoAnswer(err error) bool {
	var (
		down *jsonrpc.RPCConnectionError
		cl   *jsonrpc.ErrClient
	)
	return errors.As(err, &down) || errors.As(err, &cl)
}

// Cause is what went wrong with a call to address: the cause alone, where go-jsonrpc and the packages under it tell of each step that led there, and
// name the address again.
func Cause(address string, err error) string {
	var (
		op   *net.OpError
		call *os.SyscallError
		post *url.Error
	)
	if errors.As(err, &op) && (op.Addr == nil || strings.Contains(address, op.Addr.String())) { // an address that is not known yet tells something
		if errors.As(op, &call) {
			return call.Err.Error()
		}
		return op.Err.Error()
	}
	if errors.As(err, &post) {
		return post.Err.Error()
	}
	switch text := err.Error(); {
	case text == connectionLost:
		return "the connection was lost"
	case strings.HasPrefix(text, "cannot dial address "):
		for inner := err; inner != nil; inner = errors.Unwrap(inner) {
			text = inner.Error()
		}
		return text
	default:
		for _, step := range []string{"RPC client error: ", "sendRequest failed: ", "request failed, "} {
			text = strings.TrimPrefix(text, step)
		}
		return oneLine(text)
	}
}

// executionError is how Lotus tells of a message that failed when it was tried: the exit code, then a line for each actor, the one that failed first.
var executionError = regexp.MustCompile(`(?s)^message execution failed \(exit=\[([^]]*)\], vm error=\[message failed with backtrace:\n(.*?)\n? ?\(RetCode=\d+\)\]\)$`)

var frameNumber = regexp.MustCompile(`(?m)^\d\d: `)

// oneLine is a node's text on one line, an execution's without its frame.
func oneLine(text string) string {
	if m := executionError.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("message execution failed: %s: %s", m[1], frameNumber.ReplaceAllString(m[2], ""))
	}
	return strings.Join(strings.Fields(text), " ")
}
