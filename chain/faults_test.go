package chain

import (
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// recordedErrors are the errors of the recorded node by the name of the exchange, as go-jsonrpc gives them to a client.
func recordedErrors(t *testing.T) map[string]error {
	t.Helper()
	raw, err := os.ReadFile("lotus/testdata/lotus-rpc.json")
	require.NoError(t, err)
	var file struct {
		Exchanges []struct {
			Name  string
			Error *jsonrpc.JSONRPCError
		}
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	out := map[string]error{}
	for _, x := range file.Exchanges {
		switch {
		case x.Error == nil:
		case x.Error.Code == lotus.CodeExecutionReverted:
			reverted := &lotus.ExecutionReverted{}
			require.NoError(t, reverted.FromJSONRPCError(*x.Error))
			out[x.Name] = reverted
		default:
			out[x.Name] = x.Error
		}
	}
	return out
}

// Every error that the recorded node gave has a class.
func TestClassifyRecorded(t *testing.T) {
	t.Parallel()
	want := map[string]struct {
		class jobs.FaultClass
		known error
	}{
		"sector-partition-missing":                {jobs.Rejected, nil},
		"seed-randomness-future":                  {jobs.Transient, nil},
		"search-msg-missing":                      {jobs.Transient, errNotFound},
		"push-signed-again":                       {jobs.Transient, errNonceLow},
		"estimate-precommit-again":                {jobs.Rejected, errOvertaken},
		"estimate-no-value":                       {jobs.Rejected, errOvertaken},
		"estimate-commit-again":                   {jobs.Deadline, errOvertaken},
		"estimate-bad-params":                     {jobs.Bug, nil},
		"estimate-huge-value":                     {jobs.Funds, nil},
		"estimate-unknown-method":                 {jobs.Rejected, nil},
		"unknown-method":                          {jobs.Rejected, nil},
		"bad-address":                             {jobs.Bug, nil},
		"unknown-miner":                           {jobs.Rejected, nil},
		"estimate-precommit-ticket-too-old":       {jobs.Deadline, nil},
		"estimate-precommit-ticket-future":        {jobs.Transient, nil},
		"estimate-precommit-expiration-too-short": {jobs.Rejected, nil},
		"estimate-precommit-expiration-too-long":  {jobs.Rejected, nil},
		"estimate-precommit-wrong-proof":          {jobs.Rejected, nil},
		"estimate-precommit-duplicate":            {jobs.Rejected, nil},
		"estimate-precommit-one-bad-of-two":       {jobs.Deadline, nil},
		"estimate-precommit-empty":                {jobs.Rejected, nil},
		"estimate-commit-not-precommitted":        {jobs.Deadline, errOvertaken},
		"tipset-by-height-future":                 {jobs.Transient, nil},
		"push-signed-twice":                       {jobs.Transient, errInMempool},
		"push-same-nonce-same-fee":                {jobs.Transient, errInMempool},
		"push-bad-signature":                      {jobs.Bug, nil},
		"push-low-fee":                            {jobs.Funds, nil},
		"search-replaced-allow":                   {jobs.Transient, errReplaced},
	}
	recorded := recordedErrors(t)
	require.Len(t, want, len(recorded))
	sentinels := []error{errInMempool, errNonceLow, errReplaced, errNotFound, errOvertaken}
	for name, w := range want {
		require.Contains(t, recorded, name)
		err := classify(Endpoint{}, "Method", recorded[name])
		var fault *jobs.Fault
		require.ErrorAs(t, err, &fault, name)
		require.Equal(t, w.class, fault.Class, "%s: %s", name, fault.Text)
		require.Contains(t, fault.Text, lotus.Cause("", recorded[name]), "the node's own words are kept")
		for _, s := range sentinels {
			require.Equal(t, s == w.known, errors.Is(err, s), "%s is %s", name, s)
		}
	}
	require.NoError(t, classify(Endpoint{}, "Method", nil))
}

func TestClassifyUnrecorded(t *testing.T) {
	t.Parallel()
	plain := func(text string) error { return &jsonrpc.JSONRPCError{Code: lotus.CodeError, Message: text} }
	for text, class := range map[string]jobs.FaultClass{
		"mpool push: not enough funds: 1 < 2":          jobs.Funds,
		"too many pending messages for actor":          jobs.Transient,
		"message too big: message size too big: 70000": jobs.Bug,
		"key not found": jobs.Rejected,
		"missing permission to invoke 'WalletSignMessage' (need 'sign')": jobs.Transient,
		"something nobody foresaw":                                       jobs.Transient,
	} {
		var fault *jobs.Fault
		require.ErrorAs(t, classify(Endpoint{}, "M", plain(text)), &fault)
		require.Equal(t, class, fault.Class, text)
	}
	for _, err := range []error{&lotus.OutOfGas{}, plain("GasEstimateMessageGas error: call ran out of gas")} {
		require.True(t, outOfGas(classify(Endpoint{}, "M", err)), "it tells no exit code: %s", err)
	}
	require.ErrorContains(t, classify(Endpoint{}, "M", &jsonrpc.RPCConnectionError{}), "transient")
}

func TestExitFault(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		method abi.MethodNum
		exit   exitcode.ExitCode
		part   bool
		late   bool
		class  jobs.FaultClass
	}{
		{preCommitBatch2, exitcode.SysErrInsufficientFunds, false, false, jobs.Funds},
		{preCommitBatch2, exitcode.SysErrOutOfGas, false, false, jobs.Transient},
		{preCommitBatch2, exitcode.ErrInsufficientFunds, false, false, jobs.Funds},
		{preCommitBatch2, exitcode.ErrIllegalArgument, false, false, jobs.Rejected},
		{preCommitBatch2, exitcode.ErrIllegalArgument, false, true, jobs.Deadline},
		{preCommitBatch2, exitcode.ErrForbidden, false, false, jobs.Rejected},
		{preCommitBatch2, exitcode.ErrIllegalState, false, false, jobs.Rejected},
		{proveCommit3, exitcode.ErrIllegalArgument, false, false, jobs.Input},
		{proveCommit3, exitcode.ErrNotFound, false, false, jobs.Deadline},
		{proveCommit3, exitcode.ErrNotFound, true, false, jobs.Rejected},
		{proveCommit3, exitcode.ErrForbidden, true, false, jobs.Rejected},
		{proveCommit3, exitcode.ErrIllegalArgument, true, false, jobs.Input},
		{proveCommit3, notificationRejected, false, false, jobs.Rejected},
		{proveCommit3, exitcode.SysErrOutOfGas, false, false, jobs.Transient},
		{proveCommit3, exitUnknown, false, false, jobs.Transient},
		{proveCommit3, exitcode.ErrUnhandledMessage, false, false, jobs.Rejected},
	} {
		f := exitFault(tc.method, tc.exit, tc.part, tc.late)
		require.Equal(t, tc.class, f.Class, "%s %d part=%v late=%v", methodName(tc.method), tc.exit, tc.part, tc.late)
		require.Contains(t, f.Text, methodName(tc.method))
	}
}
