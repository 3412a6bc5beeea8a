package native

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"path/filepath"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/stretchr/testify/require"

	"github.com/lpseal/lpseal/ffi/provertest"
	"github.com/lpseal/lpseal/jobs"
)

// The names of trees of one base tree, which all vectors have.
const (
	treeCFile = "sc-02-data-tree-c.dat"
	treeRFile = "sc-02-data-tree-r-last.dat"
)

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// sealed seals a vector into a fresh folder, up to CommR.
func sealed(t testing.TB, v provertest.Vector) (*Prover, jobs.Seal, jobs.Folders) {
	dir := t.TempDir()
	p, s, f := New(Options{Threads: 2}), v.Seal(t), jobs.Folders{Cache: dir, Sealed: filepath.Join(dir, "sealed")}
	commD, err := p.TreeD(t.Context(), s.Proof, f.Cache, v.Pieces(), nil)
	require.NoError(t, err)
	require.Equal(t, v.CommD, commD.String())
	require.NoError(t, p.SDR(t.Context(), s, f.Cache, nil))
	commR, err := p.TreeRC(t.Context(), s, f, nil)
	require.NoError(t, err)
	require.Equal(t, v.CommR, commR.String())
	return p, s, f
}

func TestSealOnce(t *testing.T) {
	t.Parallel()
	v := provertest.Named(t, "2k-data")
	s := v.Seal(t)
	s.CommD, s.CommR = cid.Undef, cid.Undef
	o := BenchOptions{Seal: s, Data: bytes.NewReader(v.Data()), Dir: t.TempDir(), Threads: 1}
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

	o.Data, o.Dir = io.MultiReader(bytes.NewReader(v.Data()), bytes.NewReader([]byte{1})), t.TempDir()
	_, err = SealOnce(t.Context(), o)
	require.ErrorContains(t, err, "larger than the sector")
	o.Data, o.Dir = nil, t.TempDir()
	res, err = SealOnce(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, provertest.Named(t, "2k-cc").CommD, res.CommD.String())
}

func BenchmarkSeal8MiB(b *testing.B) {
	v := provertest.Named(b, "8m-data")
	for b.Loop() {
		res, err := SealOnce(context.Background(), BenchOptions{Seal: v.Seal(b), Data: bytes.NewReader(v.Data()), Dir: b.TempDir(), Threads: 2})
		require.NoError(b, err)
		b.ReportMetric(res.Seconds.TreeD, "tree_d-s")
		b.ReportMetric(res.Seconds.SDR, "sdr-s")
		b.ReportMetric(res.Seconds.TreeRC, "tree_rc-s")
		b.ReportMetric(res.Seconds.C1, "c1-s")
	}
}
