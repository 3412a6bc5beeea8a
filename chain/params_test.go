package chain

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/chain/lotus"
	"github.com/lpseal/lpseal/jobs"
)

// recordedMessage is the first parameter of a recorded exchange.
func recordedMessage(t *testing.T, name string) lotus.Message {
	t.Helper()
	raw, err := os.ReadFile("lotus/testdata/lotus-rpc.json")
	require.NoError(t, err)
	var file struct {
		Exchanges []struct {
			Name   string
			Params []json.RawMessage
		}
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	for _, x := range file.Exchanges {
		if x.Name == name {
			var m lotus.Message
			require.NoError(t, json.Unmarshal(x.Params[0], &m))
			return m
		}
	}
	t.Fatalf("no exchange %s", name)
	return lotus.Message{}
}

// Our parameters for the recorded sectors are the recorded bytes, which landed on a Lotus network.
func TestParamsEqualRecorded(t *testing.T) {
	t.Parallel()
	recorded := recordedMessage(t, "push-message-method-28")
	var batch miner.PreCommitSectorBatchParams2
	require.NoError(t, batch.UnmarshalCBOR(bytes.NewReader(recorded.Params)))
	sector := batch.Sectors[0]
	id := jobs.SectorID{Miner: 1000, Number: sector.SectorNumber}
	const maxProveCommit = 30*2880 + 10
	infos := preCommitInfos(0, maxProveCommit, []jobs.PreCommitRequest{{
		Seal:        jobs.Seal{ID: id, Proof: sector.SealProof, CommR: sector.SealedCID},
		TicketEpoch: sector.SealRandEpoch, CC: true, Expiration: sector.Expiration,
	}})
	params, err := preCommitParams(infos)
	require.NoError(t, err)
	require.Equal(t, recorded.Params, params)

	recorded = recordedMessage(t, "push-message-method-34")
	var prove miner.ProveCommitSectors3Params
	require.NoError(t, prove.UnmarshalCBOR(bytes.NewReader(recorded.Params)))
	params, err = commitParams([]jobs.CommitRequest{{Seal: jobs.Seal{ID: id}, Proof: prove.SectorProofs[0]}})
	require.NoError(t, err)
	require.Equal(t, recorded.Params, params)
}

func TestParamsWithData(t *testing.T) {
	t.Parallel()
	piece := recordedMessage(t, "push-message-method-28") // any CID serves as a piece's
	var batch miner.PreCommitSectorBatchParams2
	require.NoError(t, batch.UnmarshalCBOR(bytes.NewReader(piece.Params)))
	c := batch.Sectors[0].SealedCID

	infos := preCommitInfos(0, 0, []jobs.PreCommitRequest{{Seal: jobs.Seal{CommD: c}}, {Seal: jobs.Seal{CommD: c}, CC: true}})
	require.Equal(t, &c, infos[0].UnsealedCid)
	require.Nil(t, infos[1].UnsealedCid, "the actor knows a CC sector's CommD")

	raw, err := commitParams([]jobs.CommitRequest{{
		Seal: jobs.Seal{ID: jobs.SectorID{Number: 3}}, Proof: []byte{1}, Pieces: []jobs.Piece{{CID: c, Size: 256}, {CID: c, Size: 128}},
	}})
	require.NoError(t, err)
	var prove miner.ProveCommitSectors3Params
	require.NoError(t, prove.UnmarshalCBOR(bytes.NewReader(raw)))
	require.Equal(t, []abi.PaddedPieceSize{256, 128}, []abi.PaddedPieceSize{
		prove.SectorActivations[0].Pieces[0].Size, prove.SectorActivations[0].Pieces[1].Size,
	}, "pieces keep their order")
	require.False(t, prove.RequireActivationSuccess, "one bad sector must not fail the others")

	_, err = preCommitParams(nil)
	require.Error(t, err)
	_, err = preCommitParams(make([]miner.SectorPreCommitInfo, 257))
	require.Error(t, err)
}

func TestExpiration(t *testing.T) {
	t.Parallel()
	const (
		day            = 2880
		head           = 1_000_000
		maxProveCommit = 30*day + 150
		lowest         = head + 240 + maxProveCommit + 180*day
		highest        = head + 1278*day
	)
	for wanted, want := range map[abi.ChainEpoch]abi.ChainEpoch{
		0:           highest,
		head:        lowest,
		lowest - 1:  lowest,
		lowest:      lowest,
		lowest + 7:  lowest + 7,
		highest:     highest,
		highest + 1: highest,
	} {
		require.Equal(t, want, expirationFor(head, wanted, maxProveCommit), "wanted %d", wanted)
	}
}
