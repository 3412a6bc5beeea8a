package chain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/filecoin-project/go-address"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
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
	infos := preCommitInfos(0, 10, []jobs.PreCommitRequest{{
		Seal:        jobs.Seal{ID: id, Proof: sector.SealProof, CommR: sector.SealedCID},
		TicketEpoch: sector.SealRandEpoch, CC: true, Expiration: sector.Expiration,
	}})
	params, err := preCommitParams(infos)
	require.NoError(t, err)
	require.Equal(t, recorded.Params, params)

	recorded = recordedMessage(t, "push-message-method-34")
	var prove miner.ProveCommitSectors3Params
	require.NoError(t, prove.UnmarshalCBOR(bytes.NewReader(recorded.Params)))
	params, err = commitParams([]jobs.CommitRequest{{Seal: jobs.Seal{ID: id}, Proof: prove.SectorProofs[0]}}, false, nil)
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
	}}, false, nil)
	require.NoError(t, err)
	var prove miner.ProveCommitSectors3Params
	require.NoError(t, prove.UnmarshalCBOR(bytes.NewReader(raw)))
	require.Equal(t, []abi.PaddedPieceSize{256, 128}, []abi.PaddedPieceSize{
		prove.SectorActivations[0].Pieces[0].Size, prove.SectorActivations[0].Pieces[1].Size,
	}, "pieces keep their order")
	require.False(t, prove.RequireActivationSuccess, "one bad sector must not fail the others")
	require.False(t, prove.RequireNotificationSuccess)

	_, err = preCommitParams(nil)
	require.Error(t, err)
	_, err = preCommitParams(make([]miner.SectorPreCommitInfo, 257))
	require.Error(t, err)
}

// The manifest of a verified deal, written out by FIP-0076's structures: nothing recorded has one.
func TestManifestBytes(t *testing.T) {
	t.Parallel()
	piece := cid.MustParse("baga6ea4seaqicoyiliijespbati3bqmuyubusdfbrk5hj6tuzqgkrvlvzdnwadi")
	raw, err := commitParams([]jobs.CommitRequest{{
		Seal: jobs.Seal{ID: jobs.SectorID{Number: 3}}, Proof: []byte{0xaa},
		Pieces: []jobs.Piece{
			{CID: piece, Size: 1024, Allocation: &jobs.Allocation{Client: 1001, ID: 7}, Notify: []jobs.Notification{jobs.NotifyMarket(300)}},
			{CID: piece, Size: 128},
		},
	}}, false, nil)
	require.NoError(t, err)
	cidBytes := "d82a5828" + "00" + hex.EncodeToString(piece.Bytes())
	require.Equal(t, "86"+ // six parameters
		"81"+"82"+"03"+"82"+ // one activation: sector 3 with two pieces
		"84"+cidBytes+"190400"+"82"+"1903e9"+"07"+ // 1,024 bytes for allocation 7 of client 1001
		"81"+"82"+"420005"+"43"+"19012c"+ // one notification: f05, deal 300 in CBOR
		"84"+cidBytes+"1880"+"f6"+"80"+ // 128 bytes, neither
		"81"+"41aa"+ // one proof
		"40"+"f6"+ // no aggregate
		"f4"+"f5", // activation not required of all, notification is
		hex.EncodeToString(raw))
}

// What jobs says a member adds to a message is what it adds, to the byte.
func TestBytesOfMembers(t *testing.T) {
	t.Parallel()
	piece := cid.MustParse("baga6ea4seaqicoyiliijespbati3bqmuyubusdfbrk5hj6tuzqgkrvlvzdnwadi")
	replica, err := commcid.ReplicaCommitmentV1ToCID(make([]byte, 32))
	require.NoError(t, err)
	for _, number := range []abi.SectorNumber{0, 23, 24, 255, 256, 65_535, 65_536, 1 << 33} {
		for _, cc := range []bool{true, false} {
			r := jobs.PreCommitRequest{
				Seal:        jobs.Seal{ID: jobs.SectorID{Number: number}, Proof: abi.RegisteredSealProof_StackedDrg32GiBV1_1, CommR: replica, CommD: piece},
				TicketEpoch: abi.ChainEpoch(number) - 900, CC: cc,
			}
			bytes := func(n int) int {
				params, err := preCommitParams(preCommitInfos(1_000_000, 150, slices.Repeat([]jobs.PreCommitRequest{r}, n)))
				require.NoError(t, err)
				return len(params)
			}
			require.Equal(t, bytes(3)-bytes(2), r.Bytes(), "pre-commit of %d, cc %v", number, cc)
		}
		for _, pieces := range [][]jobs.Piece{
			nil,
			{{CID: piece, Size: 128}, {CID: piece, Size: 1 << 35}},
			{{CID: piece, Size: 1024, Allocation: &jobs.Allocation{Client: 1001, ID: 70_000}, Notify: []jobs.Notification{jobs.NotifyMarket(300), jobs.NotifyMarket(1)}}},
			slices.Repeat([]jobs.Piece{{CID: piece, Size: 128}}, 30),
		} {
			for _, proof := range []int{192, 1920} {
				r := jobs.CommitRequest{Seal: jobs.Seal{ID: jobs.SectorID{Number: number}}, Pieces: pieces, Proof: make([]byte, proof)}
				bytes := func(n int) int {
					params, err := commitParams(slices.Repeat([]jobs.CommitRequest{r}, n), false, nil)
					require.NoError(t, err)
					return len(params)
				}
				require.Equal(t, bytes(3)-bytes(2), r.Bytes(), "commit of %d, %d pieces", number, len(pieces))
			}
		}
	}
}

// What a message has beside its members fits into what is kept for it.
func TestBytesOfMessage(t *testing.T) {
	t.Parallel()
	r := jobs.CommitRequest{Proof: make([]byte, 1920)}
	params, err := commitParams(slices.Repeat([]jobs.CommitRequest{r}, jobs.MaxBatchBytes/r.Bytes()), false, nil)
	require.NoError(t, err)
	most := lotus.SignedMessage{
		Message: lotus.Message{
			To: minerAddress(math.MaxInt64), From: longestAddress(t), Nonce: math.MaxUint64, GasLimit: math.MaxInt64, Method: proveCommit3, Params: params,
			Value: big.Lsh(big.NewInt(1), 127), GasFeeCap: big.Lsh(big.NewInt(1), 127), GasPremium: big.Lsh(big.NewInt(1), 127),
		},
		Signature: crypto.Signature{Type: crypto.SigTypeBLS, Data: make([]byte, 96)},
	}
	n, err := most.ChainLength()
	require.NoError(t, err)
	require.LessOrEqual(t, n, lotus.MaxMessageBytes)
}

func longestAddress(t *testing.T) address.Address {
	t.Helper()
	a, err := address.NewBLSAddress(make([]byte, 48))
	require.NoError(t, err)
	return a
}
