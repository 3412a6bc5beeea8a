package chain

import (
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"

	"github.com/lpseal/lpseal/jobs"
)

// rule says what an error of the node means. All given conditions must hold; the first rule that fits decides.
type rule struct {
	what   string            // the situation, for people
	exit   exitcode.ExitCode // of a failed execution; 0: any error
	method abi.MethodNum     // of the message; 0: any
	text   string            // contained in the error; "": any
	class  jobs.FaultClass
	remedy string
	known  error // joined to the fault, for callers that act on it
	all    bool  // of a failed execution: the trouble of the whole message and not of a sector in it
	part   bool  // the exit code is a sector's own, in the result of a message that landed (BatchReturn)
}

// rules is the one table of what errors mean (design §5); docs/reference/recovery.md is made from it. Texts are those that Lotus v1.36 and the v18 actors
// give, as recorded where a recording exists.
var rules = []rule{
	// Mempool.
	{what: "the nonce is used", text: "message nonce too low", class: jobs.Transient, known: errNonceLow},
	{what: "the message is in the mempool", text: "message with nonce already exists", class: jobs.Transient, known: errInMempool},
	{what: "another version is in the mempool", text: "replace by fee has too low GasPremium", class: jobs.Transient, known: errInMempool},
	{what: "the base fee is above the fee cap", text: "gas fee cap too low", class: jobs.Funds, remedy: "raise the maximum fee"},
	{what: "the sender cannot pay the gas", text: "not enough funds", class: jobs.Funds, remedy: "send FIL to the sender"},
	{what: "the mempool holds too many of the sender's messages", text: "too many pending messages", class: jobs.Transient},
	{what: "the message is above 64 KiB", text: "message too big", class: jobs.Bug},
	{what: "the signature does not verify", text: "failed to validate signature", class: jobs.Bug},
	// Wallet and permissions.
	{what: "the wallet lacks the key", text: "key not found", class: jobs.Rejected, remedy: "import the sender's key into the node's wallet, then release the sector",
		known: errNoKey},
	{what: "the token may not sign", text: "missing permission", class: jobs.Transient, remedy: "give lpseal a token with sign permission"},
	{what: "the token is not known", text: "401 Unauthorized", class: jobs.Transient, remedy: "check the API token"},
	// Lookups.
	{what: "another message used the nonce", text: "message was replaced", class: jobs.Transient, known: errReplaced},
	{what: "the node has no such message", text: "failed to load message", class: jobs.Transient, known: errNotFound},
	{what: "the node is behind", text: "cannot draw randomness from the future", class: jobs.Transient},
	{what: "the sector was terminated", text: "not due at any deadline", class: jobs.Rejected, remedy: "the sector was terminated", known: errNotDue},
	{what: "there is no such deal", text: "not found - deal may not have completed", class: jobs.Rejected, remedy: "it was never published, or is over"},
	{what: "there is no such actor", text: "actor not found", class: jobs.Rejected, remedy: "check the address, and that the node follows the right network"},

	// Execution: money.
	{what: "the sender lacks the value", exit: exitcode.SysErrInsufficientFunds, class: jobs.Funds, remedy: "send FIL to the sender", known: errShort, all: true},
	{what: "the miner lacks deposit or pledge", exit: exitcode.ErrInsufficientFunds, class: jobs.Funds, remedy: "send FIL to the sender or to the miner", known: errShort, all: true},
	{what: "out of gas", exit: exitcode.SysErrOutOfGas, class: jobs.Transient, all: true},
	{what: "the sender's nonce or balance changed", exit: exitcode.SysErrSenderStateInvalid, class: jobs.Transient, known: errNotExecuted, all: true},
	// Execution: pre-commit.
	{what: "the miner is punished for a consensus fault", exit: exitcode.ErrForbidden, method: preCommitBatch2, text: "consensus fault", class: jobs.Rejected, all: true,
		remedy: "it may not pre-commit for 900 epochs after the fault was reported: release the sectors then"},
	{what: "the ticket is too old", exit: exitcode.ErrIllegalArgument, method: preCommitBatch2, text: "too old", class: jobs.Deadline},
	{what: "the ticket is of the future", exit: exitcode.ErrIllegalArgument, method: preCommitBatch2, text: "must be before now", class: jobs.Transient},
	{what: "the number is used", exit: exitcode.ErrIllegalArgument, method: preCommitBatch2, text: "already allocated", class: jobs.Rejected, known: errOvertaken,
		remedy: "the number is used on chain by another sector, or its pre-commitment expired: abandon this one"},
	{what: "the expiration is too near or too far", exit: exitcode.ErrIllegalArgument, method: preCommitBatch2, text: "expiration", class: jobs.Rejected,
		remedy: "its pieces or its duration ask for a life that the chain does not allow"},
	{what: "the proof type is wrong", exit: exitcode.ErrIllegalArgument, method: preCommitBatch2, text: "proof type", class: jobs.Rejected,
		remedy: "the miner seals sectors of another size, or the network takes no such proof"},
	// Execution: prove-commit. A pre-commitment that was at confidence and is gone has expired.
	{what: "an allocation is not there", exit: exitcode.ErrNotFound, method: proveCommit3, part: true, class: jobs.Rejected, remedy: unclaimable},
	{what: "an allocation cannot be claimed", exit: exitcode.ErrForbidden, method: proveCommit3, part: true, class: jobs.Rejected, remedy: unclaimable},
	{what: "there is no pre-commitment", exit: exitcode.ErrNotFound, method: proveCommit3, class: jobs.Deadline, known: errOvertaken},
	{what: "the seed is not drawn yet", exit: exitcode.ErrForbidden, method: proveCommit3, text: "too early", class: jobs.Transient},
	{what: "the pre-commitment expired", exit: exitcode.ErrIllegalArgument, method: proveCommit3, text: "expired", class: jobs.Deadline},
	{what: "the pre-commitment expired", exit: exitcode.ErrIllegalArgument, method: proveCommit3, text: "invalid pre-commit", class: jobs.Deadline},
	{what: "the pre-commitment expired", exit: exitcode.ErrIllegalArgument, method: proveCommit3, text: "no valid precommits", class: jobs.Deadline},
	{what: "the pieces do not make the pre-committed CommD", exit: exitcode.ErrIllegalArgument, method: proveCommit3, text: "unsealed CID", class: jobs.Data,
		remedy: "the record's pieces are not those that were sealed"},
	{what: "an allocation cannot be claimed", exit: exitcode.ErrIllegalArgument, method: proveCommit3, text: "data activations failed", class: jobs.Rejected, remedy: unclaimable},
	{what: "an allocation cannot be claimed", exit: exitcode.ErrIllegalArgument, method: proveCommit3, text: "claiming allocations", class: jobs.Rejected, remedy: unclaimable},
	{what: "the proof does not verify", exit: exitcode.ErrIllegalArgument, method: proveCommit3, class: jobs.Input},
	{what: "nobody is there to be notified", exit: notificationSendFailed, method: proveCommit3, class: jobs.Rejected, remedy: unnotified},
	{what: "who is notified fails", exit: notificationReceiverAborted, method: proveCommit3, class: jobs.Rejected, remedy: unnotified},
	{what: "who is notified does not answer", exit: notificationResponseInvalid, method: proveCommit3, class: jobs.Rejected, remedy: unnotified},
	{what: "who is notified refuses, such as a deal whose start has passed", exit: notificationRejected, method: proveCommit3, class: jobs.Rejected, remedy: unnotified},
	// Execution: the rest.
	{what: "the sender may not send for the miner", exit: exitcode.ErrForbidden, class: jobs.Rejected, all: true,
		remedy: "the sender must be owner, worker or control address of the miner"},
	{what: "the parameters do not decode", exit: exitcode.ErrSerialization, class: jobs.Bug, all: true},
	{what: "nobody kept the result", exit: exitUnknown, class: jobs.Transient},
	{what: "the network has no such method", exit: exitcode.ErrUnhandledMessage, class: jobs.Rejected, all: true,
		remedy: "the network version has no such method"},
	{what: "any other failure", text: executionFailed, class: jobs.Rejected},
}

// What a sector's data can be refused for when it is committed, and the miner actor's codes for it (FIP-0076; builtin-actors v18, actors/miner/src/lib.rs).
const (
	unclaimable = "an allocation of the sector cannot be claimed: it is over, was claimed already, or its term does not fit the sector's life"
	unnotified  = "who is to be notified of the sector's data refuses it: a deal that started, is active already, or outlives the sector"

	notificationSendFailed      = exitcode.ExitCode(1001)
	notificationReceiverAborted = exitcode.ExitCode(1002)
	notificationResponseInvalid = exitcode.ExitCode(1003)
	notificationRejected        = exitcode.ExitCode(1004)
)

// Recovery is one line of the recovery table: what an error of the node, or an exit code on chain, makes of a sector.
type Recovery struct {
	What   string            // the situation
	Method string            // of the message; empty: any, or none
	Exit   exitcode.ExitCode // 0: the error is not of an execution
	Text   string            // the node's words that tell it
	Class  jobs.FaultClass
	Remedy string // what a person can do; may be empty
	Part   bool   // the exit code is a sector's in the result of a message that landed
	Whole  bool   // the batch waits or is held together; else the member stays behind and the others go
}

// Recoveries gives the table, in the order in which it is searched.
func Recoveries() []Recovery {
	out := make([]Recovery, len(rules))
	for i, r := range rules {
		out[i] = Recovery{What: r.what, Exit: r.exit, Text: r.text, Class: r.class, Remedy: r.remedy, Part: r.part, Whole: r.all || r.exit == 0 && r.text != executionFailed}
		if r.method != 0 {
			out[i].Method = methodName(r.method)
		}
	}
	return out
}
