package chain

import (
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
	errNotFound  = errors.New("the node has no such message")
	// errNotDue means that a sector is in no partition: it was terminated.
	errNotDue = errors.New("in no deadline")
	// errOvertaken means that what was asked for may be on chain or on its way already: the chain is asked again.
	errOvertaken = errors.New("overtaken")
)

// rule says what an error of the node means. All given conditions must hold; the first rule that fits decides.
type rule struct {
	exit   exitcode.ExitCode // of a failed execution; 0: any error
	method abi.MethodNum     // of the message; 0: any
	text   string            // contained in the error; "": any
	class  jobs.FaultClass
	remedy string
	known  error // joined to the fault, for callers that act on it
	all    bool  // of a failed execution: the trouble of the whole message and not of a sector in it
}

const (
	preCommitBatch2 = abi.MethodNum(28)
	proveCommit3    = abi.MethodNum(34)
)

// rules is the one table of what errors mean (design §5). Texts are those that Lotus v1.36 and the v18 actors give, as recorded where a
// recording exists.
var rules = []rule{
	// Mempool.
	{text: "message nonce too low", class: jobs.Transient, known: errNonceLow},
	{text: "message with nonce already exists", class: jobs.Transient, known: errInMempool},
	{text: "replace by fee has too low GasPremium", class: jobs.Transient, known: errInMempool},
	{text: "gas fee cap too low", class: jobs.Funds, remedy: "raise the maximum fee"},
	{text: "not enough funds", class: jobs.Funds, remedy: "send FIL to the sender"},
	{text: "too many pending messages", class: jobs.Transient},
	{text: "message too big", class: jobs.Bug},
	{text: "failed to validate signature", class: jobs.Bug},
	// Wallet and permissions.
	{text: "key not found", class: jobs.Rejected, remedy: "import the sender's key into the node's wallet, then release the sector"},
	{text: "missing permission", class: jobs.Transient, remedy: "give lpseal a token with sign permission"},
	{text: "401 Unauthorized", class: jobs.Transient, remedy: "check the API token"},
	// Lookups.
	{text: "message was replaced", class: jobs.Transient, known: errReplaced},
	{text: "failed to load message", class: jobs.Transient, known: errNotFound},
	{text: "cannot draw randomness from the future", class: jobs.Transient},
	{text: "not due at any deadline", class: jobs.Rejected, remedy: "the sector was terminated", known: errNotDue},
	{text: "not found - deal may not have completed", class: jobs.Rejected, remedy: "it was never published, or is over"},
	{text: "actor not found", class: jobs.Rejected, remedy: "check the address, and that the node follows the right network"},

	// Execution: money.
	{exit: exitcode.SysErrInsufficientFunds, class: jobs.Funds, remedy: "send FIL to the sender", all: true},
	{exit: exitcode.ErrInsufficientFunds, class: jobs.Funds, remedy: "send FIL to the sender or to the miner", all: true},
	{exit: exitcode.SysErrOutOfGas, class: jobs.Transient, all: true},
	{exit: exitcode.SysErrSenderStateInvalid, class: jobs.Transient, all: true},
	// Execution: pre-commit.
	{exit: exitcode.ErrIllegalArgument, method: preCommitBatch2, text: "too old", class: jobs.Deadline},
	{exit: exitcode.ErrIllegalArgument, method: preCommitBatch2, text: "must be before now", class: jobs.Transient},
	{exit: exitcode.ErrIllegalArgument, method: preCommitBatch2, text: "already allocated", class: jobs.Rejected, known: errOvertaken,
		remedy: "the number is used on chain by another sector: abandon this one"},
	// Execution: prove-commit. A pre-commitment that was at confidence and is gone has expired.
	{exit: exitcode.ErrNotFound, method: proveCommit3, class: jobs.Deadline, known: errOvertaken},
	{exit: exitcode.ErrForbidden, method: proveCommit3, text: "too early", class: jobs.Transient},
	{exit: exitcode.ErrIllegalArgument, method: proveCommit3, text: "expired", class: jobs.Deadline},
	{exit: exitcode.ErrIllegalArgument, method: proveCommit3, text: "data activations failed", class: jobs.Rejected, remedy: unclaimable},
	{exit: exitcode.ErrIllegalArgument, method: proveCommit3, text: "claiming allocations", class: jobs.Rejected, remedy: unclaimable},
	{exit: exitcode.ErrIllegalArgument, method: proveCommit3, class: jobs.Input},
	{exit: notificationSendFailed, method: proveCommit3, class: jobs.Rejected, remedy: unnotified},
	{exit: notificationReceiverAborted, method: proveCommit3, class: jobs.Rejected, remedy: unnotified},
	{exit: notificationResponseInvalid, method: proveCommit3, class: jobs.Rejected, remedy: unnotified},
	{exit: notificationRejected, method: proveCommit3, class: jobs.Rejected, remedy: unnotified},
	// Execution: the rest.
	{exit: exitcode.ErrForbidden, class: jobs.Rejected, remedy: "the sender must be owner, worker or control address of the miner", all: true},
	{exit: exitcode.ErrSerialization, class: jobs.Bug, all: true},
	{exit: exitUnknown, class: jobs.Transient},
	{exit: exitcode.ErrUnhandledMessage, class: jobs.Rejected, remedy: "the network version has no such method", all: true},
	{text: executionFailed, class: jobs.Rejected},
}

// What a sector's data can be refused for when it is committed, and the actor's codes for it (FIP-0076).
const (
	unclaimable = "an allocation of the sector cannot be claimed: it is over, was claimed already, or its term does not fit the sector's life"
	unnotified  = "who is to be notified of the sector's data refuses it: a deal that started, is active already, or outlives the sector"

	notificationSendFailed      = exitcode.FirstActorSpecificExitCode
	notificationReceiverAborted = exitcode.FirstActorSpecificExitCode + 1
	notificationResponseInvalid = exitcode.FirstActorSpecificExitCode + 2
	notificationRejected        = exitcode.FirstActorSpecificExitCode + 3
)

// executionFailed starts Lotus's text of a message that failed while its gas was estimated.
const executionFailed = "message execution failed"

var exitPattern = regexp.MustCompile(`exit=\[[^(\]]*\((\d+)\)|exit=\[(\d+)\]`)

// exitOf reads the exit code out of an estimation error; ok is false for any other error.
func exitOf(err error) (exitcode.ExitCode, bool) {
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

// classify turns an error of the node into a fault of the right class; a nil error stays nil.
func classify(method string, err error) error {
	if err == nil {
		return nil
	}
	if isUnreachable(err) && !strings.Contains(err.Error(), "401 Unauthorized") {
		return jobs.Failf(jobs.Transient, "node: %s: %w", method, err)
	}
	var wire *jsonrpc.JSONRPCError
	if errors.As(err, &wire) {
		switch wire.Code {
		case lotus.CodeMethodNotFound:
			return jobs.Failf(jobs.Rejected, "node: %s: %w; the node is too old or the token's API differs", method, err)
		case lotus.CodeParse:
			return jobs.Failf(jobs.Bug, "node: %s: %w", method, err)
		}
	}
	exit, executed := exitOf(err)
	var num abi.MethodNum
	if m := messageMethod.FindStringSubmatch(err.Error()); m != nil {
		n, _ := strconv.ParseUint(m[1], 10, 63) // digits by the pattern; too many of them is a method no rule names
		num = abi.MethodNum(n)
	}
	r := match(exit, executed, num, err.Error())
	fault := jobs.Failf(r.class, "node: %s: %w%s", method, err, r.advice())
	return &nodeFault{fault, r.known, executed && r.members(exit)}
}

// members tells whether a failed execution is the trouble of a sector in the message.
func (r rule) members(exit exitcode.ExitCode) bool {
	return !r.all && exit >= exitcode.FirstActorErrorCode
}

// memberTrouble tells whether a landed message that failed did so for a sector in it.
func memberTrouble(method abi.MethodNum, exit exitcode.ExitCode) bool {
	return match(exit, true, method, executionFailed).members(exit)
}

// match finds the rule of an error. What nobody foresaw is repeated, visibly: the node may be at fault, and no money is lost by asking again.
func match(exit exitcode.ExitCode, executed bool, method abi.MethodNum, text string) rule {
	for _, r := range rules {
		if (r.exit == 0 || executed && r.exit == exit) && (r.method == 0 || r.method == method) && strings.Contains(text, r.text) {
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
	known  error // a sentinel, or nil
	member bool  // a sector of the message is to blame
}

func (n *nodeFault) Error() string { return n.fault.Error() }

func (n *nodeFault) Unwrap() []error {
	if n.known == nil {
		return []error{n.fault}
	}
	return []error{n.fault, n.known}
}

// exitFault says what a landed message's exit code means. Receipts carry no text, so where the table needs one, when says what the epoch tells:
// a pre-commit that landed after its ticket's window failed for that.
func exitFault(method abi.MethodNum, exit exitcode.ExitCode, late bool) *jobs.Fault {
	text := executionFailed
	if late {
		text += ", seal challenge epoch too old or pre-commit expired"
	}
	r := match(exit, true, method, text)
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
