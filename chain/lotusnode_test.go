//go:build lotusnode

package chain_test

import (
	"os"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain"
	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// TestLotusRefusals asks of a Lotus node what TestRecoveryTable asks of the embedded one. It needs what CI has not, a running node of a private network with
// 2 KiB sectors, as in docs/how-to/lotus.md, whose wallet holds the owner's key of miner t01000; it pre-commits three sectors there that nobody proves.
//
//	FULLNODE_API_INFO=TOKEN:… LOTUS_STRANGER=t1… go test -tags lotusnode -run TestLotusRefusals ./chain
//
// LOTUS_STRANGER is an account that may not send for the miner.
func TestLotusRefusals(t *testing.T) {
	at, err := chain.ParseAPIInfo(os.Getenv("FULLNODE_API_INFO"))
	require.NoError(t, err)
	var api lotus.FullNode
	closer, err := jsonrpc.NewMergeClient(t.Context(), at[0].URL, lotus.Namespace, []any{&api}, at[0].Header(), jsonrpc.WithErrors(lotus.Errors()))
	require.NoError(t, err)
	t.Cleanup(closer)
	stranger, err := address.NewFromString(os.Getenv("LOTUS_STRANGER"))
	require.NoError(t, err)
	info, err := api.StateMinerInfo(t.Context(), idAddress(t, 1000), lotus.EmptyTSK)
	require.NoError(t, err)
	owner, err := api.StateAccountKey(t.Context(), info.Owner, lotus.EmptyTSK)
	require.NoError(t, err)
	allocated, err := api.StateMinerAllocated(t.Context(), idAddress(t, 1000), lotus.EmptyTSK)
	require.NoError(t, err)
	last, err := allocated.Last()
	require.NoError(t, err)
	free := abi.SectorNumber(max(last+1, 1_000_000)) // far from what anyone seals
	network, err := api.StateGetNetworkParams(t.Context())
	require.NoError(t, err)
	commD, err := jobs.CommD(abi.RegisteredSealProof_StackedDrg2KiBV1_1, []jobs.Piece{{CID: dataPiece, Size: 2048}})
	require.NoError(t, err)
	s := &refusals{
		t: t, api: &api, from: owner, stranger: stranger, replica: commR(t, 1), seen: map[string]bool{},
		used: abi.SectorNumber(last), empty: free, filled: free + 1, early: free + 2,
	}
	look := func() {
		head, err := api.ChainHead(t.Context())
		require.NoError(t, err)
		s.head = head.Height
	}
	land := func(number abi.SectorNumber, commD *cid.Cid, confidence abi.ChainEpoch) {
		look()
		m := s.preCommit(func(i *miner.SectorPreCommitInfo) { i.SectorNumber, i.UnsealedCid = number, commD })
		m.Value = big.Zero() // the miner pays
		signed, err := api.MpoolPushMessage(t.Context(), m, nil)
		require.NoError(t, err)
		found, err := api.StateWaitMsg(t.Context(), signed.Cid(), uint64(confidence), 100, true)
		require.NoError(t, err)
		require.Zero(t, found.Receipt.ExitCode)
	}
	land(s.empty, nil, 1)
	land(s.filled, &commD, network.PreCommitChallengeDelay+2)
	land(s.early, nil, 1)
	look()
	s.preCommits()
	s.commits()
	s.messages()
}
