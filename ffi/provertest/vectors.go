package provertest

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

//go:embed testdata
var testdata embed.FS

// Vector is a sector that filecoin-ffi sealed.
type Vector struct {
	Name     string
	Proof    abi.RegisteredSealProof `json:"registered_seal_proof"`
	Size     abi.SectorSize          `json:"sector_size"`
	Miner    abi.ActorID             `json:"miner_actor_id"`
	Number   abi.SectorNumber        `json:"sector_number"`
	Ticket   string                  `json:"ticket_hex"`
	Seed     string                  `json:"seed_hex"`
	DataSeed string                  `json:"data_seed"`
	CommD    string                  `json:"comm_d_cid"`
	CommR    string                  `json:"comm_r_cid"`
	Files    map[string]string       `json:"sha256_of_cache_files"` // SHA-256 in hex
	Sealed   string                  `json:"sha256_of_sealed"`
	C1       string                  `json:"sha256_of_c1_output"`
}

// Vectors lists all of them.
func Vectors(t testing.TB) []Vector {
	raw, err := testdata.ReadFile("testdata/seal-vectors.json")
	require.NoError(t, err)
	var v struct{ Cases []Vector }
	require.NoError(t, json.Unmarshal(raw, &v))
	require.Len(t, v.Cases, 8)
	return v.Cases
}

// C1Output is filecoin-ffi's C1 output of vector 2k-data, kept whole so that a
// difference shows where it is.
func C1Output(t testing.TB) []byte {
	b, err := testdata.ReadFile("testdata/c1-2k-data.json")
	require.NoError(t, err)
	return b
}

// Named gives one of them.
func Named(t testing.TB, name string) Vector {
	for _, v := range Vectors(t) {
		if v.Name == name {
			return v
		}
	}
	require.Fail(t, "no vector", name)
	return Vector{}
}

// Seal is the vector's seal, with CommD and CommR as filecoin-ffi found them.
func (v Vector) Seal(t testing.TB) jobs.Seal {
	decode := func(s string) []byte {
		b, err := hex.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	return jobs.Seal{
		ID:     jobs.SectorID{Miner: v.Miner, Number: v.Number},
		Proof:  v.Proof,
		Ticket: decode(v.Ticket),
		Seed:   decode(v.Seed),
		CommD:  cid.MustParse(v.CommD),
		CommR:  cid.MustParse(v.CommR),
	}
}

// Data is the vector's unpadded data, all of the sector; nil for committed capacity.
func (v Vector) Data() []byte {
	if v.DataSeed == "" {
		return nil
	}
	size := int(abi.PaddedPieceSize(v.Size).Unpadded())
	var b []byte
	for i := 0; len(b) < size; i++ {
		h := sha256.Sum256(fmt.Appendf(nil, "%s/%d", v.DataSeed, i))
		b = append(b, h[:]...)
	}
	return b[:size]
}

// Pieces is the vector's data as one piece.
func (v Vector) Pieces() []jobs.PieceReader {
	data := v.Data()
	if data == nil {
		return nil
	}
	return []jobs.PieceReader{{
		Piece:  jobs.Piece{CID: cid.MustParse(v.CommD), Size: abi.PaddedPieceSize(v.Size), RawSize: uint64(len(data))},
		Reader: bytes.NewReader(data),
	}}
}

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
