package native

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/jobs"
)

// The names of trees of one base tree, which all vectors have.
const (
	treeCFile = "sc-02-data-tree-c.dat"
	treeRFile = "sc-02-data-tree-r-last.dat"
)

// vector is a sector that filecoin-ffi sealed.
type vector struct {
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
	Files    map[string]string       `json:"sha256_of_cache_files"`
	Sealed   string                  `json:"sha256_of_sealed"`
	C1       string                  `json:"sha256_of_c1_output"`
}

func vectors(t testing.TB) []vector {
	raw, err := os.ReadFile("testdata/seal-vectors.json")
	require.NoError(t, err)
	var v struct{ Cases []vector }
	require.NoError(t, json.Unmarshal(raw, &v))
	require.Len(t, v.Cases, 6)
	return v.Cases
}

func vectorNamed(t testing.TB, name string) vector {
	for _, v := range vectors(t) {
		if v.Name == name {
			return v
		}
	}
	require.Fail(t, "no vector", name)
	return vector{}
}

// seal is the vector's seal with CommD and CommR as filecoin-ffi found them.
func (v vector) seal(t testing.TB) jobs.Seal {
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

// data is the vector's unpadded data, all of the sector; nil for committed capacity.
func (v vector) data() []byte {
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

// pieces is the vector's data as one piece.
func (v vector) pieces(t testing.TB) []jobs.PieceReader {
	data := v.data()
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

// sealed seals a vector into a fresh folder, up to CommR.
func sealed(t testing.TB, v vector) (*Prover, jobs.Seal, jobs.Folders) {
	dir := t.TempDir()
	p, s, f := New(Options{Threads: 2}), v.seal(t), jobs.Folders{Cache: dir, Sealed: filepath.Join(dir, "sealed")}
	commD, err := p.TreeD(t.Context(), s.Proof, f.Cache, v.pieces(t), nil)
	require.NoError(t, err)
	require.Equal(t, v.CommD, commD.String())
	require.NoError(t, p.SDR(t.Context(), s, f.Cache, nil))
	commR, err := p.TreeRC(t.Context(), s, f, nil)
	require.NoError(t, err)
	require.Equal(t, v.CommR, commR.String())
	return p, s, f
}

// TestSealsAsFilecoinFFI seals every vector, compares every byte of every file and of
// C1's output with filecoin-ffi's, and unseals the data again.
func TestSealsAsFilecoinFFI(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			p, s, f := sealed(t, v)
			for name, want := range v.Files {
				b, err := os.ReadFile(filepath.Join(f.Cache, name))
				require.NoError(t, err)
				require.Equal(t, want, digest(b), name)
			}
			b, err := os.ReadFile(f.Sealed)
			require.NoError(t, err)
			require.Equal(t, v.Sealed, digest(b), "sealed file")

			c1, err := p.C1(t.Context(), s, f)
			require.NoError(t, err)
			require.Equal(t, v.C1, digest(c1), "C1 output")
			require.NoError(t, VerifyVanilla(s, c1))

			if v.DataSeed == "" {
				return // zeros would not show a misplaced byte
			}
			want := v.data()
			var got bytes.Buffer
			require.NoError(t, p.Unseal(t.Context(), s, f.Sealed, t.TempDir(), 0, uint64(len(want)), &got, nil))
			require.True(t, bytes.Equal(want, got.Bytes()), "unsealed data")
		})
	}
}

// TestC1WholeExample compares with a C1 output kept whole, so that a difference
// shows where it is.
func TestC1WholeExample(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/c1-2k-data.json")
	require.NoError(t, err)
	p, s, f := sealed(t, vectorNamed(t, "2k-data"))
	got, err := p.C1(t.Context(), s, f)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestSealOnce(t *testing.T) {
	t.Parallel()
	v := vectorNamed(t, "2k-data")
	s := v.seal(t)
	s.CommD, s.CommR = cid.Undef, cid.Undef
	o := BenchOptions{Seal: s, Data: bytes.NewReader(v.data()), Dir: t.TempDir(), Threads: 1}
	res, err := SealOnce(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, v.Files, res.Files)
	require.Equal(t, v.Sealed, res.Sealed)
	require.Equal(t, v.C1, res.C1)

	line, err := json.Marshal(res)
	require.NoError(t, err)
	var keys map[string]any
	require.NoError(t, json.Unmarshal(line, &keys))
	require.Equal(t, v.CommD, keys["comm_d"])
	require.Equal(t, v.CommR, keys["comm_r"])

	o.Data, o.Dir = io.MultiReader(bytes.NewReader(v.data()), bytes.NewReader([]byte{1})), t.TempDir()
	_, err = SealOnce(t.Context(), o)
	require.ErrorContains(t, err, "larger than the sector")
	o.Data, o.Dir = nil, t.TempDir()
	res, err = SealOnce(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, vectorNamed(t, "2k-cc").CommD, res.CommD.String())
}

func BenchmarkSeal8MiB(b *testing.B) {
	v := vectorNamed(b, "8m-data")
	for b.Loop() {
		res, err := SealOnce(context.Background(), BenchOptions{Seal: v.seal(b), Data: bytes.NewReader(v.data()), Dir: b.TempDir(), Threads: 2})
		require.NoError(b, err)
		b.ReportMetric(res.Seconds.TreeD, "tree_d-s")
		b.ReportMetric(res.Seconds.SDR, "sdr-s")
		b.ReportMetric(res.Seconds.TreeRC, "tree_rc-s")
		b.ReportMetric(res.Seconds.C1, "c1-s")
	}
}
