package chain

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	"github.com/filecoin-project/go-state-types/exitcode"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// errInMempool and errNonceLow mean that a message of this nonce was pushed before: what became of ours is looked up.
var (
	errInMempool = errors.New("already in the mempool")
	errNonceLow  = errors.New("nonce already used")
	errReplaced  = errors.New("another message used the nonce")
	errTooLong   = errors.New("more sectors than a message holds")
	errNoKey     = errors.New("the wallet lacks the key")
	errShort     = errors.New("more is to be paid than there is") // a smaller message may be payable
	errNotFound  = errors.New("the node has no such message")
	// errNotExecuted means that a block holds a message which was not executed and used no nonce: it may land still, and what used the nonce is told elsewhere.
	errNotExecuted = errors.New("not executed")
	// errNotDue means that a sector is in no partition: it was terminated.
	errNotDue = errors.New("in no deadline")
	// errOvertaken means that what was asked for may be on chain or on its way already: the chain is asked again.
	errOvertaken = errors.New("overtaken")
)

const (
	preCommitBatch2 = abi.MethodNum(28)
	proveCommit3    = abi.MethodNum(34)
)

// executionFailed starts Lotus's text of a message that failed while its gas was estimated.
const executionFailed = "message execution failed"

var exitPattern = regexp.MustCompile(`exit=\[[^(\]]*\((\d+)\)|exit=\[(\d+)\]`)

// exitOf reads the exit code out of an estimation error; ok is false for any other error.
func exitOf(err error) (exitcode.ExitCode, bool) {
	if strings.Contains(err.Error(), lotus.OutOfGasText) {
		return exitcode.SysErrOutOfGas, true
	}
	var reverted *lotus.ExecutionReverted
	if !errors.As(err, &reverted) && !strings.Contains(err.Error(), executionFailed) {
		return 0, false
	}
	m := exitPattern.FindStringSubmatch(err.Error())
	if m == nil {
		return 0, false
	}
	code, convErr := strconv.ParseInt(m[1]+m[2], 10, 32)
	return exitcode.ExitCode(code), convErr == nil
}

var messageMethod = regexp.MustCompile(`\(method (\d+)\)`)

// classify turns an error of a node's method into a fault of the right class; a nil error stays nil.
func classify(e Endpoint, method string, err error) error {
	if err == nil {
		return nil
	}
	why := lotus.Cause(e.URL, err)
	if isUnreachable(err) && !strings.Contains(why, "401 Unauthorized") {
		return jobs.Failf(jobs.Transient, "node %s: %s: %s", e, method, why)
	}
	var wire *jsonrpc.JSONRPCError
	if errors.As(err, &wire) {
		switch wire.Code {
		case lotus.CodeMethodNotFound:
			return jobs.Failf(jobs.Rejected, "node %s: %s: %s; the node is too old or the token's API differs", e, method, why)
		case lotus.CodeParse:
			return jobs.Failf(jobs.Bug, "node %s: %s: %s", e, method, why)
		}
	}
	f := failureOf(err)
	r := f.rule()
	fault := jobs.Failf(r.class, "node %s: %s: %s%s", e, method, why, r.advice())
	return &nodeFault{fault, r.known, f, f.member(r)}
}

// unended tells of a call that its caller had no time to wait for. That is no fault of the node's, but who waits for polls wants to know for whom they wait.
func unended(ctx context.Context, e Endpoint, method string) error {
	return fmt.Errorf("node %s: %s: no answer so far: %w", e, method, ctx.Err())
}

// failureOf reads an error that the node answered with.
func failureOf(err error) failure {
	f := failure{text: err.Error()}
	f.exit, f.executed = exitOf(err)
	if m := messageMethod.FindStringSubmatch(f.text); m != nil {
		n, _ := strconv.ParseUint(m[1], 10, 63) // digits by the pattern; too many of them is a method no rule names
		f.method = abi.MethodNum(n)
	}
	return f
}

// member tells whether a sector of the message is to blame, by the failure's rule.
func (f failure) member(r rule) bool { return f.executed && r.members(f.exit) }

// members tells whether a failed execution is the trouble of a sector in the message.
func (r rule) members(exit exitcode.ExitCode) bool {
	return !r.all && exit >= exitcode.FirstActorErrorCode
}

// memberTrouble tells whether a landed message that failed did so for a sector in it.
func memberTrouble(method abi.MethodNum, exit exitcode.ExitCode) bool {
	return failure{exit: exit, executed: true, method: method, text: executionFailed}.rule().members(exit)
}

// failure is what is known of an error of the node.
type failure struct {
	exit     exitcode.ExitCode // where executed
	executed bool
	part     bool // the code is a sector's own: see rule
	method   abi.MethodNum
	text     string
}

// rule finds the line of the table. What nobody foresaw is repeated, visibly: the node may be at fault, and no money is lost by asking again.
func (f failure) rule() rule {
	for _, r := range rules {
		if (r.exit == 0 || f.executed && r.exit == f.exit) && (!r.part || f.part) && (r.method == 0 || r.method == f.method) && strings.Contains(f.text, r.text) {
			return r
		}
	}
	return rule{class: jobs.Transient}
}

func (r rule) advice() string {
	if r.remedy == "" {
		return ""
	}
	return "; " + r.remedy
}

// nodeFault is a fault by the node's word, with what a sender of messages wants to know of it.
type nodeFault struct {
	fault  *jobs.Fault
	known  error   // a sentinel, or nil
	said   failure // in the node's own words, of which the fault's text tells less
	member bool    // a sector of the message is to blame
}

// execution gives the exit code of the execution that a fault by the node's word tells of; ok is false for any other error.
func execution(err error) (exit exitcode.ExitCode, ok bool) {
	var n *nodeFault
	if !errors.As(err, &n) {
		return 0, false
	}
	return n.said.exit, n.said.executed
}

func (n *nodeFault) Error() string { return n.fault.Error() }

func (n *nodeFault) Unwrap() []error {
	if n.known == nil {
		return []error{n.fault}
	}
	return []error{n.fault, n.known}
}

// exitFault says what an exit code on chain means: a message's, or with part one sector's in its result. Receipts carry no text, so where the table needs one,
// late says what the epoch tells: a pre-commit that landed after its ticket's window failed for that.
func exitFault(method abi.MethodNum, exit exitcode.ExitCode, part, late bool) *jobs.Fault {
	f := failure{exit: exit, executed: true, part: part, method: method, text: executionFailed}
	if late {
		f.text += ", seal challenge epoch too old or pre-commit expired"
	}
	r := f.rule()
	return jobs.Failf(r.class, "%s failed on chain with exit code %d (%s)%s", methodName(method), exit, exit, r.advice())
}

func methodName(m abi.MethodNum) string {
	switch m {
	case builtin.MethodsMiner.PreCommitSectorBatch2:
		return "PreCommitSectorBatch2"
	case builtin.MethodsMiner.ProveCommitSectors3:
		return "ProveCommitSectors3"
	case builtin.MethodSend:
		return "transfer"
	default:
		return fmt.Sprintf("method %d", m)
	}
}
